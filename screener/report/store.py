"""What the ledger tells the report of each study, in order, and what the worklist was last told."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from screener.keys import under
from screener.ledger import Ledger
from screener.ledger_schema import HEADER_COLUMNS
from screener.report.paths import SCORED, dictionaries

if TYPE_CHECKING:
    from screener.report.verdicts import Verdict

_IMAGES = """
SELECT i.path, i.source, i.gone, i.run, i.sha256, i.study_key, i.patient_key, i.outcome,
    i.reason_code, i.detail, i.warnings, i.examined_at, i.pixels_sha256, i.voi_source,
    i.levels_dropped, i.decoder, i.decode_ms, i.points_id,
    {header}, p.bundle_sha256, s.scores, s.logits, s.novelty, s.cam, s.provider,
    s.software_version, s.scored_at
FROM images i {scored}""".format(
    header=", ".join(f"i.{name}" for name in HEADER_COLUMNS), scored=SCORED
)

_PLACE = "urgency, falling, study_key, patient_key"
_TOLD = (
    "LEFT JOIN told t ON v.row IS NULL AND t.study_key = v.study_key"
    " AND t.patient_key = v.patient_key"
)
_NOT_STALE = "NOT EXISTS (SELECT 1 FROM stale WHERE study_key = {})"
# Columns of a verdict that differ from night to night though nothing new is said.
_SAID = ("triage", "priority", "digest", "model_sha256", "operating_point", "threshold")
_OF_ONE_RUN = ("run_id", "is_new", "change", "previous_triage", "differs")


class ReportStore:
    """The report's side of an open ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.db

    def study_rows(self, roots: Sequence[bytes], made_by: str = "") -> Iterator[dict[str, Any]]:
        """Every known image of the studies with a path under `roots`, study by study.

        The query begins with the first row that is asked for: no table may be made under it.

        Args:
            roots: Paths.
            made_by: Leave out the studies whose statement still holds; empty for none of them.
        """
        condition, below = under(roots)
        values: list[bytes | str] = [*below]
        holds = ""
        if made_by:
            holds = (
                f" WHERE NOT ({_NOT_STALE.format('c.study_key')} AND EXISTS"
                " (SELECT 1 FROM told WHERE study_key = c.study_key AND made_by = ?))"
            )
            values = [*values, made_by]
        yield from dictionaries(
            self._db,
            _IMAGES + " WHERE i.study_key IN (SELECT c.study_key FROM (SELECT DISTINCT study_key"
            f" FROM images INDEXED BY images_study WHERE study_key != '' AND {condition}) c{holds})"
            " ORDER BY i.study_key, i.path",
            tuple(values),
        )

    def write_verdicts(self, verdicts: Iterable[Verdict]) -> None:
        """Collect new verdicts in a table of this connection, so that they can be read in order."""
        self._db.execute("DROP TABLE IF EXISTS temp.verdicts")
        # `row` is NULL where what was told before still holds.
        self._db.execute(
            "CREATE TEMP TABLE verdicts (urgency INTEGER, falling REAL, study_key TEXT,"
            " patient_key TEXT, image BLOB, row TEXT, baseline TEXT)"
        )
        study_key = ""
        for verdict in verdicts:
            if study_key != (study_key := str(verdict.row["study_key"])):
                self._db.execute(
                    "DELETE FROM notes WHERE path IN (SELECT path FROM images WHERE study_key = ?)",
                    (study_key,),
                )
            self._db.execute(
                "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*verdict.key, verdict.image, json.dumps(verdict.row), verdict.baseline),
            )
            self._db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", verdict.notes)

    def keep_verdicts(self, roots: Sequence[bytes], made_by: str) -> None:
        """Add the studies under `roots` of which what was told before still holds."""
        condition, values = under(roots)
        self._db.execute(
            "INSERT INTO verdicts SELECT t.urgency, t.falling, t.study_key, t.patient_key, t.image,"
            f" NULL, NULL FROM told t WHERE t.made_by = ? AND {_NOT_STALE.format('t.study_key')}"
            f" AND EXISTS (SELECT 1 FROM images WHERE study_key = t.study_key AND {condition})",
            (made_by, *values),
        )
        # Not sorted: a sorter would carry all the rows.
        self._db.execute(f"CREATE INDEX temp.verdicts_order ON verdicts ({_PLACE})")

    def read_verdicts(self, run_id: str) -> Iterator[dict[str, Any]]:
        """The collected verdicts in the order of the worklist."""
        place = ", ".join(f"v.{name}" for name in _PLACE.split(", "))
        rows = self._db.execute(f"SELECT v.row, t.row FROM verdicts v {_TOLD} ORDER BY {place}")
        return (_row_of(new, told, run_id) for new, told in rows)

    def pictured_verdicts(
        self, run_id: str, most: int
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The first verdicts in the order of the worklist, each with what is shown of its image."""
        place = ", ".join(f"v.{name}" for name in _PLACE.split(", "))
        rows = dictionaries(
            self._db,
            "SELECT v.row AS new, t.row AS told, j.jpeg AS thumbnail, i.rows, i.columns,"
            " i.burned_in_annotation, s.cam, b.findings"
            f" FROM (SELECT * FROM verdicts ORDER BY {_PLACE} LIMIT ?) v {_TOLD}"
            " LEFT JOIN images i ON i.path = v.image"
            f" LEFT JOIN thumbnails j ON j.path = v.image {SCORED}"
            " LEFT JOIN bundles b ON b.sha256 = p.bundle_sha256"
            f" ORDER BY {place}",
            (most,),
        )
        for facts in rows:
            yield _row_of(facts.pop("new"), facts.pop("told"), run_id), facts

    def thumbnails(self, study_key: str) -> dict[bytes, bytes]:
        """Path -> thumbnail, for the images of a study of which one is kept."""
        rows = self._db.execute(
            "SELECT path, jpeg FROM thumbnails WHERE path IN"
            " (SELECT path FROM images WHERE study_key = ?)",
            (study_key,),
        )
        return {row[0]: row[1] for row in rows}

    def last_reported(self, study_key: str, patient_key: str, run: int) -> sqlite3.Row | None:
        """What the last published report at or before a run said of a study.

        None where none did, or the last that covered the study said nothing under this patient.
        """
        row: sqlite3.Row | None = self._db.execute(
            "SELECT * FROM reported WHERE study_key = ? AND patient_key = ? AND run <= ?"
            " ORDER BY run DESC LIMIT 1",
            (study_key, patient_key, run),
        ).fetchone()
        return row if row is not None and row["triage"] else None

    def baseline(self, study_key: str, patient_key: str) -> str | None:
        """What the images of a study were when it was taken in without raising anything."""
        return self._baselines(study_key).get(patient_key)

    def _keep_baseline(self, study_key: str, patient_key: str, digest: str) -> None:
        kept = json.dumps(self._baselines(study_key) | {patient_key: digest})
        self._db.execute("UPDATE studies SET baseline = ? WHERE study_key = ?", (kept, study_key))

    def _baselines(self, study_key: str) -> dict[str, str]:
        row = self._db.execute(
            "SELECT baseline FROM studies WHERE study_key = ?", (study_key,)
        ).fetchone()
        found: dict[str, str] = json.loads(row[0]) if row is not None and row[0] else {}
        return found

    def mark_published(
        self, run: int, published_at: str, roots: Sequence[bytes], made_by: str
    ) -> None:
        """After the switch: what was reported, in a transaction of its own.

        A crash before it reports a study twice, never not at all.
        """
        self._db.execute("UPDATE runs SET published_at = ? WHERE number = ?", (published_at, run))
        self._db.execute(
            "INSERT OR REPLACE INTO reported"
            " SELECT study_key, patient_key, ?, json_extract(row, '$.triage'),"
            " json_extract(row, '$.priority'), json_extract(row, '$.reported') FROM verdicts"
            " WHERE row IS NOT NULL AND json_extract(row, '$.differs')",
            (run,),
        )
        taken_in = self._db.execute(
            "SELECT study_key, patient_key, baseline FROM verdicts WHERE baseline IS NOT NULL"
        )
        for study_key, patient_key, content in taken_in:
            self._keep_baseline(study_key, patient_key, content)
        self._keep_told(run, made_by)
        condition, values = under(roots)
        self._db.execute(
            "UPDATE images SET failure_reported = 1 - gone WHERE outcome = 'FAILED'"
            f" AND failure_reported = gone AND {condition}",
            values,
        )
        self._ledger.commit()

    def _keep_told(self, run: int, made_by: str) -> None:
        """Keep the newest statement on each study for `publish`; equal ones stay as they are."""
        this_run = ", ".join(f"'$.{name}'" for name in _OF_ONE_RUN)
        said = ", ".join(f"'$.{name}'" for name in _SAID)
        # A statement is as old as its content: a file that went away makes no new one.
        self._db.execute(
            f"INSERT INTO told (study_key, patient_key, run, row, urgency, falling, image, made_by)"
            " SELECT study_key, patient_key, ?, row, urgency, falling, image, ? FROM verdicts"
            " WHERE row IS NOT NULL"
            " ON CONFLICT DO UPDATE SET row = excluded.row, urgency = excluded.urgency,"
            " falling = excluded.falling, image = excluded.image, made_by = excluded.made_by,"
            f" run = CASE WHEN json_extract(row, {said}) IS json_extract(excluded.row, {said})"
            " THEN run ELSE excluded.run END"
            " WHERE made_by != excluded.made_by OR image IS NOT excluded.image"
            f" OR json_remove(row, {this_run}) IS NOT json_remove(excluded.row, {this_run})",
            (run, made_by),
        )
        # A study that is told by patient now is no longer told as a whole, and the reverse.
        new = "(SELECT study_key FROM verdicts WHERE row IS NOT NULL)"
        withdrawn = (
            f"FROM told WHERE study_key IN {new}"
            " AND (study_key, patient_key) NOT IN (SELECT study_key, patient_key FROM verdicts)"
        )
        # Told so again later it is new.
        kept = self._db.execute(
            "INSERT OR REPLACE INTO reported"
            f" SELECT study_key, patient_key, ?, '', '', '' {withdrawn}",
            (run,),
        )
        if kept.rowcount:
            # To find them is a walk through all that was told.
            self._db.execute(f"DELETE {withdrawn}")
        self._db.execute(f"DELETE FROM stale WHERE study_key IN {new}")

    def drop_thumbnails(self, before: str) -> None:
        """Drop old thumbnails, but for studies that were flagged or not screened."""
        self._db.execute(
            "DELETE FROM thumbnails WHERE path IN (SELECT i.path FROM verdicts v"
            " JOIN studies s USING (study_key) JOIN images i USING (study_key)"
            " WHERE v.urgency > 1 AND s.first_seen_at < ?)",
            (before,),
        )


def _row_of(new: str | None, told: str, run_id: str) -> dict[str, Any]:
    """A verdict; one that holds as the new run says it."""
    row: dict[str, Any] = json.loads(new or told)
    if new is None:
        row |= {"run_id": run_id, "is_new": False, "change": "SAME", "differs": False}
        row["previous_triage"] = row["triage"]
    return row
