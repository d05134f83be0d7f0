"""What the state knows of one patient, and how it forgets all of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from screener.ledger import Ledger

_SEPARATOR = "\x1f"
# Their own rows, rows of studies that are theirs alone, and those of a shared study that name
# nobody: such a file is read again, and is nobody's or another's.
_ROWS = (
    "({theirs} OR study_key IN (SELECT study_key FROM temp.purged WHERE alone)"
    " OR (patient_key = '' AND study_key IN (SELECT study_key FROM temp.purged)))"
)


@dataclass(frozen=True, slots=True)
class Patient:
    """Who is to be forgotten. `issuer` None: whoever gave out the number."""

    patient_id: str
    issuer: str | None = None

    def condition(self) -> tuple[str, tuple[object, ...]]:
        """SQL that is true of a `patient_key` of theirs, and its values."""
        start = f"{self.patient_id}{_SEPARATOR}"
        if self.issuer is not None:
            return "patient_key = ?", (start + self.issuer,)
        return "substr(patient_key, 1, ?) = ?", (len(start), start)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the state holds of a patient.

    Attributes:
        images: Rows of paths, those whose files are gone too.
        studies: How many.
        study_uids: Of the studies that are theirs alone.
        first_run: Number of the first run that saw one of the images; None where there are none.
        worklist: Study and patient key of the entries that stand in the worklist.
        sent: Objects that a PACS was given.
    """

    images: int
    studies: int
    study_uids: tuple[str, ...]
    first_run: int | None
    worklist: tuple[tuple[str, str], ...]
    sent: int


def issuers_of(ledger: Ledger, patient_id: str) -> list[str]:
    """Who gave out this number, as the known headers say; empty text where one does not say."""
    condition, values = Patient(patient_id).condition()
    rows = ledger.db.execute(
        f"SELECT DISTINCT patient_key FROM images WHERE {condition} ORDER BY 1", values
    )
    return [row[0].partition(_SEPARATOR)[2] for row in rows]


def footprint_of(ledger: Ledger, patient: Patient) -> Footprint:
    """Find all that is theirs, and note it for `forget`."""
    db = ledger.db
    theirs, values = patient.condition()
    # Nothing of it on the disk, not in a temporary file either.
    db.execute("DROP TABLE IF EXISTS temp.purged")
    db.execute("CREATE TEMP TABLE purged (study_key TEXT PRIMARY KEY, alone INTEGER)")
    db.execute(
        "INSERT INTO purged SELECT study_key, NOT EXISTS (SELECT 1 FROM"
        f" (SELECT study_key, patient_key FROM images WHERE patient_key != '' AND NOT ({theirs})) o"
        " WHERE o.study_key = i.study_key)"
        f" FROM images i WHERE {theirs} AND study_key != '' GROUP BY study_key",
        (*values, *values),
    )
    rows = _ROWS.format(theirs=theirs)
    images, first = db.execute(
        f"SELECT count(*), min(first_run) FROM images WHERE {rows}", values
    ).fetchone()
    uids = db.execute(
        "SELECT DISTINCT study_instance_uid FROM images WHERE study_instance_uid != ''"
        " AND study_key IN (SELECT study_key FROM purged WHERE alone)"
    )
    worklist = db.execute(
        "SELECT study_key, patient_key FROM deliveries"
        f" WHERE kind = 'worklist' AND state = 'DELIVERED' AND {rows}",
        values,
    )
    sent = db.execute(
        f"SELECT count(*) FROM deliveries WHERE done_at != '' AND uid != '' AND {rows}", values
    ).fetchone()[0]
    return Footprint(
        images=images,
        studies=db.execute("SELECT count(*) FROM purged").fetchone()[0],
        study_uids=tuple(row[0] for row in uids),
        first_run=first,
        worklist=tuple((row[0], row[1]) for row in worklist),
        sent=sent,
    )


def forget(ledger: Ledger, patient: Patient) -> None:
    """Delete what `footprint_of` found. No commit, so that it goes with the report that follows."""
    db = ledger.db
    theirs, values = patient.condition()
    rows = _ROWS.format(theirs=theirs)
    shared = db.execute(
        "SELECT study_key, baseline FROM studies WHERE baseline IS NOT NULL"
        " AND study_key IN (SELECT study_key FROM purged WHERE NOT alone)"
    ).fetchall()
    for study_key, baseline in shared:
        kept = {
            key: digest
            for key, digest in json.loads(baseline).items()
            if key and not _is_theirs(key, patient)
        }
        db.execute(
            "UPDATE studies SET baseline = ? WHERE study_key = ?", (json.dumps(kept), study_key)
        )
    for table in ("images", "reported", "told", "deliveries"):
        db.execute(f"DELETE FROM {table} WHERE {rows}", values)
    db.execute("DELETE FROM studies WHERE study_key NOT IN (SELECT study_key FROM images)")
    db.execute("DELETE FROM scores WHERE pixels_sha256 NOT IN (SELECT pixels_sha256 FROM images)")


def _is_theirs(patient_key: str, patient: Patient) -> bool:
    patient_id, _, issuer = patient_key.partition(_SEPARATOR)
    return patient_id == patient.patient_id and patient.issuer in (None, issuer)


def shred(ledger: Ledger) -> None:
    """Rewrite the state without what was deleted, its log too.

    Raises:
        RunError: from the caller's boundary, where the disk has no room for a second state.
    """
    db = ledger.db
    db.execute("COMMIT")
    db.execute("VACUUM")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("BEGIN")
