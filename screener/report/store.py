"""What the ledger tells the report writers, in their order, and what the worklist was last told."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from screener.ledger import Ledger, under
from screener.ledger_schema import HEADER_COLUMNS

if TYPE_CHECKING:
    from screener.report.verdicts import Verdict

# The points that judged an image, and the score that it got from their model.
_SCORED = """
LEFT JOIN points p ON p.id = i.points_id
LEFT JOIN scores s ON i.pixels_sha256 != '' AND s.pixels_sha256 = i.pixels_sha256
    AND s.bundle_sha256 = p.bundle_sha256
    AND s.preprocessing = (SELECT max(preprocessing) FROM scores t
        WHERE t.pixels_sha256 = s.pixels_sha256 AND t.bundle_sha256 = s.bundle_sha256)
"""
_IMAGES = """
SELECT i.path, i.source, i.gone, i.run, i.sha256, i.study_key, i.patient_key, i.outcome,
    i.reason_code, i.detail, i.warnings, i.examined_at, i.pixels_sha256, i.voi_source,
    i.levels_dropped, i.decoder, i.decode_ms, i.points_id,
    {header}, p.bundle_sha256, s.scores, s.logits, s.novelty, s.cam, s.provider,
    s.software_version, s.scored_at
FROM images i {scored}""".format(
    header=", ".join(f"i.{name}" for name in HEADER_COLUMNS), scored=_SCORED
)

# Columns of a verdict that differ from night to night though nothing new is said.
_SAID = ("triage", "priority", "digest", "model_sha256", "operating_point", "threshold")
_OF_ONE_RUN = ("run_id", "is_new", "change", "previous_triage", "differs")


class ReportStore:
    """The report's side of an open ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.db

    def counts(self, run: int) -> dict[str, dict[str, int]]:
        """Paths seen in a run by outcome and reason code."""
        rows = self._db.execute(
            "SELECT outcome, reason_code, count(*) FROM images WHERE run = ? GROUP BY 1, 2"
            " ORDER BY 1, 2",
            (run,),
        )
        found: dict[str, dict[str, int]] = {}
        for outcome, code, count in rows:
            found.setdefault(outcome, {})[code] = count
        return found

    def new_failures(self, run: int) -> int:
        """Paths that failed in this run and had not failed in the last published report."""
        row = self._db.execute(
            "SELECT count(*) FROM images WHERE run = ? AND outcome = 'FAILED'"
            " AND failure_reported = 0",
            (run,),
        ).fetchone()
        return int(row[0])

    def image_rows(self, run: int) -> Iterator[dict[str, Any]]:
        """The paths seen in a run, with their scores, in the order of the paths."""
        query = _IMAGES.replace("FROM images i", ", n.duplicate_of, n.uid_conflict FROM images i")
        return self._rows(
            query + " LEFT JOIN temp.notes n ON n.path = i.path WHERE i.run = ? ORDER BY i.path",
            (run,),
        )

    def study_rows(self, roots: Sequence[bytes]) -> Iterator[dict[str, Any]]:
        """Every known image of the studies with a path under `roots`, study by study.

        The query begins with the first row that is asked for: no table may be made under it.
        """
        condition, values = under(roots)
        yield from self._rows(
            _IMAGES + f" WHERE i.study_key != '' AND i.study_key IN"
            f" (SELECT study_key FROM images WHERE {condition}) ORDER BY i.study_key, i.path",
            tuple(values),
        )

    def _rows(self, query: str, values: tuple[object, ...]) -> Iterator[dict[str, Any]]:
        """As dictionaries: `sqlite3.Row` looks a name up by comparing it with all before it."""
        cursor = self._db.cursor()
        cursor.row_factory = None
        cursor.execute(query, values)
        names = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(names, row, strict=True))

    def write_verdicts(self, verdicts: Iterable[Verdict]) -> None:
        """Collect verdicts in tables of this connection, so that they can be read in order."""
        self._db.execute("DROP TABLE IF EXISTS temp.verdicts")
        self._db.execute("DROP TABLE IF EXISTS temp.notes")
        self._db.execute(
            "CREATE TEMP TABLE verdicts (urgency INTEGER, falling REAL, study_key TEXT,"
            " patient_key TEXT, image BLOB, row TEXT)"
        )
        self._db.execute(
            "CREATE TEMP TABLE notes (path BLOB PRIMARY KEY, duplicate_of BLOB,"
            " uid_conflict INTEGER) WITHOUT ROWID"
        )
        for verdict in verdicts:
            self._db.execute(
                "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?)",
                (*verdict.key, verdict.image, json.dumps(verdict.row)),
            )
            self._db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", verdict.notes)

    def read_verdicts(self) -> Iterator[dict[str, Any]]:
        """The collected verdicts in the order of the worklist."""
        rows = self._db.execute(
            "SELECT row FROM verdicts ORDER BY urgency, falling, study_key, patient_key"
        )
        return (json.loads(row[0]) for row in rows)

    def pictured_verdicts(self, most: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The first verdicts in the order of the worklist, each with what is shown of its image."""
        place = "urgency, falling, study_key, patient_key"
        rows = self._rows(
            "SELECT v.row, i.thumbnail, i.rows, i.columns, i.burned_in_annotation, s.cam,"
            " b.findings"
            f" FROM (SELECT * FROM verdicts ORDER BY {place} LIMIT ?) v"
            f" LEFT JOIN images i ON i.path = v.image {_SCORED}"
            " LEFT JOIN bundles b ON b.sha256 = p.bundle_sha256"
            f" ORDER BY {', '.join(f'v.{name}' for name in place.split(', '))}",
            (most,),
        )
        return ((json.loads(facts.pop("row")), facts) for facts in rows)

    def thumbnails(self, study_key: str) -> dict[bytes, bytes]:
        """Path -> thumbnail, for the images of a study of which one is kept."""
        rows = self._db.execute(
            "SELECT path, thumbnail FROM images WHERE study_key = ? AND thumbnail IS NOT NULL",
            (study_key,),
        )
        return {row[0]: row[1] for row in rows}

    def failed_paths(self, run: int) -> Iterator[tuple[int, bytes, str, bool]]:
        """Row in `images.csv` from 1, path, reason code, whether the last report said so too."""
        # An own cursor's rows, one at a time: a wrecked archive may hold a million.
        rows = self._db.execute(
            "SELECT number, path, reason_code, failure_reported FROM (SELECT path, reason_code,"
            " failure_reported, outcome, row_number() OVER (ORDER BY path) AS number FROM images"
            " WHERE run = ?) WHERE outcome = 'FAILED'",
            (run,),
        )
        for number, path, code, reported in rows:
            yield number, path, code, bool(reported)

    def failures(self, run: int, most: int) -> list[dict[str, Any]]:
        """The first paths that failed in a run, those first that had not failed before."""
        return list(
            self._rows(
                "SELECT path, reason_code, detail FROM images WHERE run = ? AND outcome = 'FAILED'"
                " ORDER BY failure_reported, path LIMIT ?",
                (run, most),
            )
        )

    def last_reported(self, study_key: str, patient_key: str, run: int) -> sqlite3.Row | None:
        """What the last published report at or before a run said of a study."""
        row: sqlite3.Row | None = self._db.execute(
            "SELECT * FROM reported WHERE study_key = ? AND patient_key = ? AND run <= ?"
            " ORDER BY run DESC LIMIT 1",
            (study_key, patient_key, run),
        ).fetchone()
        return row

    def baseline(self, study_key: str, patient_key: str) -> str | None:
        """The digest under which a study was taken in without raising anything."""
        return self._baselines(study_key).get(patient_key)

    def keep_baseline(self, study_key: str, patient_key: str, digest: str) -> None:
        """Take a study in without raising it while its verdict and images stay the same."""
        kept = json.dumps(self._baselines(study_key) | {patient_key: digest})
        self._db.execute("UPDATE studies SET baseline = ? WHERE study_key = ?", (kept, study_key))

    def _baselines(self, study_key: str) -> dict[str, str]:
        row = self._db.execute(
            "SELECT baseline FROM studies WHERE study_key = ?", (study_key,)
        ).fetchone()
        found: dict[str, str] = json.loads(row[0]) if row is not None and row[0] else {}
        return found

    def mark_published(self, run: int, published_at: str) -> None:
        """After the switch: what was reported, in a transaction of its own.

        A crash before it reports a study twice, never not at all.
        """
        self._db.execute("UPDATE runs SET published_at = ? WHERE number = ?", (published_at, run))
        self._db.execute(
            "INSERT OR REPLACE INTO reported"
            " SELECT study_key, patient_key, ?, json_extract(row, '$.triage'),"
            " json_extract(row, '$.priority'), json_extract(row, '$.digest') FROM verdicts"
            " WHERE json_extract(row, '$.differs')",
            (run,),
        )
        self._keep_told(run)
        self._db.execute(
            "UPDATE images SET failure_reported = (outcome = 'FAILED') WHERE run = ?", (run,)
        )
        self._ledger.commit()

    def _keep_told(self, run: int) -> None:
        """Keep the newest statement on each study for `publish`; equal ones are not written."""
        this_run = ", ".join(f"'$.{name}'" for name in _OF_ONE_RUN)
        said = ", ".join(f"'$.{name}'" for name in _SAID)
        # A statement is as old as its content: a file that went away makes no new one.
        self._db.execute(
            "INSERT INTO told SELECT study_key, patient_key, ?, row FROM verdicts WHERE true"
            " ON CONFLICT DO UPDATE SET row = excluded.row, run = CASE"
            f" WHEN json_extract(row, {said}) IS json_extract(excluded.row, {said})"
            " THEN run ELSE excluded.run END"
            f" WHERE json_remove(row, {this_run}) IS NOT json_remove(excluded.row, {this_run})",
            (run,),
        )
        # A study that is told by patient now is no longer told as a whole, and the reverse.
        self._db.execute(
            "DELETE FROM told WHERE study_key IN (SELECT study_key FROM verdicts)"
            " AND (study_key, patient_key) NOT IN (SELECT study_key, patient_key FROM verdicts)"
        )

    def drop_thumbnails(self, before: str) -> None:
        """Drop old thumbnails, but for studies that were flagged or not screened."""
        self._db.execute(
            "UPDATE images SET thumbnail = NULL WHERE thumbnail IS NOT NULL AND study_key IN"
            " (SELECT v.study_key FROM verdicts v JOIN studies s USING (study_key)"
            "  WHERE v.urgency > 1 AND s.first_seen_at < ?)",
            (before,),
        )
