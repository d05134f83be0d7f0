"""What the state knows of one patient, and how it forgets all of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from screener.ledger import Ledger

_SEPARATOR = "\x1f"
# Their own rows, rows of studies that are theirs alone, and those of a shared study that name
# nobody: such a file is read again, and is nobody's or another's. The studies come as JSON: no
# temporary table of them ever lies on a disk.
_ROWS = (
    "({theirs} OR study_key IN (SELECT value FROM json_each(?))"
    " OR (patient_key = '' AND study_key IN (SELECT value FROM json_each(?))))"
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
        alone: Keys of the studies that are theirs alone.
        shared: Keys of the studies with images of others.
        study_uids: Of the studies that are theirs alone.
        object_uids: SOP Instance UIDs of the images.
        paths: Of the images.
        first_run: Number of the first run that saw one of the images; None where there are none.
        worklist: Study and patient key of the entries that stand in the worklist.
        sent: Objects that a PACS was given.
    """

    images: int
    alone: tuple[str, ...]
    shared: tuple[str, ...]
    study_uids: tuple[str, ...]
    object_uids: tuple[str, ...]
    paths: tuple[bytes, ...]
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
    """Find all that is theirs."""
    db = ledger.db
    theirs, values = patient.condition()
    rows = db.execute(
        f"SELECT DISTINCT study_key FROM images WHERE {theirs} AND study_key != ''", values
    )
    studies = [row[0] for row in rows]
    alone = tuple(key for key in studies if _only_theirs(ledger, key, patient))
    shared = tuple(sorted({*studies} - {*alone}))
    condition, values = _rows(patient, alone, shared)
    images, first = db.execute(
        f"SELECT count(*), min(first_run) FROM images WHERE {condition}", values
    ).fetchone()
    uids = db.execute(
        "SELECT DISTINCT study_instance_uid FROM images WHERE study_instance_uid != ''"
        " AND study_key IN (SELECT value FROM json_each(?))",
        (json.dumps(alone),),
    )
    files = db.execute(
        f"SELECT path, sop_instance_uid FROM images WHERE {condition} ORDER BY path", values
    ).fetchall()
    worklist = db.execute(
        "SELECT study_key, patient_key FROM deliveries"
        f" WHERE kind = 'worklist' AND state = 'DELIVERED' AND {condition}",
        values,
    )
    sent = db.execute(
        f"SELECT count(*) FROM deliveries WHERE done_at != '' AND uid != '' AND {condition}", values
    ).fetchone()[0]
    return Footprint(
        images=images,
        alone=alone,
        shared=shared,
        study_uids=tuple(row[0] for row in uids),
        object_uids=tuple(sorted({row[1] for row in files if row[1]})),
        paths=tuple(bytes(row[0]) for row in files),
        first_run=first,
        worklist=tuple((row[0], row[1]) for row in worklist),
        sent=sent,
    )


def _rows(
    patient: Patient, alone: tuple[str, ...], shared: tuple[str, ...]
) -> tuple[str, tuple[object, ...]]:
    theirs, values = patient.condition()
    studies = (json.dumps(alone), json.dumps(shared))
    return _ROWS.format(theirs=theirs), (*values, *studies)


def _only_theirs(ledger: Ledger, study_key: str, patient: Patient) -> bool:
    rows = ledger.db.execute(
        "SELECT DISTINCT patient_key FROM images WHERE study_key = ? AND patient_key != ''",
        (study_key,),
    )
    return all(_is_theirs(row[0], patient) for row in rows)


def forget(ledger: Ledger, patient: Patient, found: Footprint) -> None:
    """Delete what was found. No commit, so that it goes with the report that follows."""
    db = ledger.db
    shared = db.execute(
        "SELECT study_key, baseline FROM studies WHERE baseline IS NOT NULL"
        " AND study_key IN (SELECT value FROM json_each(?))",
        (json.dumps(found.shared),),
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
    rows, values = _rows(patient, found.alone, found.shared)
    for table in ("images", "reported", "told", "deliveries"):
        db.execute(f"DELETE FROM {table} WHERE {rows}", values)
    db.execute("DELETE FROM studies WHERE study_key NOT IN (SELECT study_key FROM images)")
    db.execute("DELETE FROM stale WHERE study_key NOT IN (SELECT study_key FROM studies)")
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
