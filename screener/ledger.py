"""The state: what is known of every path, in one SQLite file; reports are ordered queries on it.

One row of `images` a path, with what its header said and what became of it; one row of `scores` a
model input and bundle, so that going back to an earlier model decodes nothing; `points` holds the
operating points of their time. What the worklist was told stands in `screener.report.store`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from screener.domain import FileStamp, Instance, OperatingPoint, Radiograph, Score
from screener.errors import UsageError
from screener.ledger_errors import state_errors
from screener.ledger_schema import HEADER_COLUMNS, open_state


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One path's row as a run leaves it; `radiograph` is None where the path was rejected."""

    path: bytes
    source: str
    stamp: FileStamp | None
    sha256: str
    study_key: str
    patient_key: str
    outcome: str
    reason_code: str
    detail: str
    judged_by: str
    examined_at: str
    warnings: str
    instance: Instance | None
    radiograph: Radiograph | None
    decode_ms: float
    points_id: int | None


class Ledger:
    """An open state file. Writes are collected in a transaction that `commit` ends."""

    def __init__(self, path: Path) -> None:
        """Open or create the state; `UsageError` and `RunError` as `open_state` raises them."""
        self.path = path
        self.db = open_state(path)
        with state_errors(path):
            self._columns = [row[1] for row in self.db.execute("PRAGMA table_info(images)")]
            self.db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.db.close()

    def commit(self) -> None:
        """Make everything since the last commit durable.

        Raises:
            sqlite3.Error: the disk is full or failing; what was committed before is intact. The
                caller's boundary tells it, as `screener.ledger_errors.state_errors` does.
        """
        self.db.execute("COMMIT")
        self.db.execute("BEGIN")

    # -- runs and bundles ---------------------------------------------------------------------

    def start_run(
        self, stamp: str, started_at: str, model_sha256: str, published: int = 0
    ) -> tuple[int, str]:
        """Begin a run; its id orders by start, its number by the ledger's own counter.

        `published`: the highest number among the kept reports. A state that was put back counts
        on from there: no run id comes twice.
        """
        last = self.db.execute("SELECT coalesce(max(number), 0) FROM runs").fetchone()[0]
        number = max(int(last), published) + 1
        run_id = f"{stamp}-{number:06d}"
        self.db.execute(
            "INSERT INTO runs (number, run_id, started_at, model_sha256) VALUES (?, ?, ?, ?)",
            (number, run_id, started_at, model_sha256),
        )
        return number, run_id

    def run_number(self, run_id: str) -> int:
        """The number of a published run.

        Raises:
            UsageError: no published run has that id.
        """
        row = self.db.execute(
            "SELECT number FROM runs WHERE run_id = ? AND published_at IS NOT NULL",
            # What was typed may be no text.
            (run_id.encode("utf-8", "replace").decode(),),
        ).fetchone()
        if row is None:
            raise UsageError(
                f"no published run {run_id!r}",
                "the report is untouched",
                "the ids are the names of the folders in runs/",
            )
        return int(row[0])

    def register(
        self,
        bundle_sha256: str,
        name: str,
        findings: Sequence[str],
        prevalence: Sequence[float],
        points: Sequence[OperatingPoint],
    ) -> int:
        """Keep the facts of a bundle and the operating points in force; the latter's id."""
        self.db.execute(
            "INSERT OR REPLACE INTO bundles VALUES (?, ?, ?, ?)",
            (bundle_sha256, name, json.dumps(list(findings)), json.dumps(list(prevalence))),
        )
        content = json.dumps([asdict(point) for point in points], sort_keys=True)
        self.db.execute(
            "INSERT OR IGNORE INTO points (bundle_sha256, content) VALUES (?, ?)",
            (bundle_sha256, content),
        )
        row = self.db.execute(
            "SELECT id FROM points WHERE bundle_sha256 = ? AND content = ?",
            (bundle_sha256, content),
        ).fetchone()
        return int(row[0])

    def points(self) -> dict[int, tuple[str, tuple[OperatingPoint, ...]]]:
        """Every set of operating points by id, with the bundle that it belongs to."""
        return {
            row["id"]: (
                row["bundle_sha256"],
                tuple(_point(item) for item in json.loads(row["content"])),
            )
            for row in self.db.execute("SELECT * FROM points")
        }

    def bundles(self) -> dict[str, sqlite3.Row]:
        """Every bundle that a score in this ledger may come from, by SHA-256."""
        return {row["sha256"]: row for row in self.db.execute("SELECT * FROM bundles")}

    def setting(self, key: str) -> str | None:
        """A choice that was made once and is kept."""
        row = self.db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def keep_setting(self, key: str, value: str) -> None:
        """Keep a choice for the runs to come."""
        self.db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))

    # -- paths --------------------------------------------------------------------------------

    def put(self, run: int, record: ImageRecord) -> None:
        """Write what became of a path; attempts are counted while its content is the same."""
        values: dict[str, Any] = {
            "path": record.path,
            "first_run": run,
            "run": run,
            "seen_at": record.examined_at,
            "gone": 0,
            "source": record.source,
            "sha256": record.sha256,
            "checked_run": run,
            "study_key": record.study_key,
            "patient_key": record.patient_key,
            "outcome": record.outcome,
            "reason_code": record.reason_code,
            "detail": record.detail,
            "attempts": 1,
            "judged_by": record.judged_by,
            "examined_at": record.examined_at,
            "warnings": record.warnings,
            "decode_ms": record.decode_ms,
            "points_id": record.points_id,
            "pixels_sha256": "",
            "voi_source": "",
            "levels_dropped": None,
            "decoder": "",
        }
        for name in ("size", "mtime_ns", "ctime_ns", "inode"):
            values[name] = getattr(record.stamp, name) if record.stamp else None
        for name in HEADER_COLUMNS:
            values[name] = getattr(record.instance, name) if record.instance else ""
        if record.radiograph is not None:
            for name in ("pixels_sha256", "voi_source", "levels_dropped", "decoder"):
                values[name] = getattr(record.radiograph, name)
        self._keep_former(record.path, record.sha256, record.outcome, record.examined_at)
        kept = ("path", "first_run", "attempts")
        updates = ", ".join(f"{name} = excluded.{name}" for name in values if name not in kept)
        self.db.execute(
            f"INSERT INTO images ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
            f" ON CONFLICT (path) DO UPDATE SET {updates},"
            " attempts = CASE WHEN images.size IS excluded.size"
            " AND images.mtime_ns IS excluded.mtime_ns AND images.outcome = excluded.outcome"
            " THEN images.attempts + 1 ELSE 1 END,"
            # Another content or another reason under the same name is another failure.
            " failure_reported = CASE WHEN excluded.outcome = 'FAILED'"
            " AND images.reason_code = excluded.reason_code AND images.sha256 = excluded.sha256"
            " THEN images.failure_reported ELSE 0 END",
            tuple(values.values()),
        )
        if record.radiograph is not None:
            self.db.execute(
                "INSERT OR REPLACE INTO thumbnails VALUES (?, ?)",
                (record.path, record.radiograph.thumbnail),
            )
        else:
            self.db.execute("DELETE FROM thumbnails WHERE path = ?", (record.path,))
        if record.study_key:
            self.db.execute(
                "INSERT OR IGNORE INTO studies (study_key, first_seen_at) VALUES (?, ?)",
                (record.study_key, record.examined_at),
            )

    def vacate(self, path: bytes, now: str) -> None:
        """Take a path's row away; the scored image that it held is kept as one that is gone."""
        self._keep_former(path, "", "", now)
        self.db.execute("DELETE FROM images WHERE path = ?", (path,))

    def _keep_former(self, path: bytes, sha256: str, outcome: str, now: str) -> None:
        """Keep the scored image that a path is about to lose, as one whose file is gone.

        Its key is the path, a zero byte, which no path holds, and its hash. A flag never falls
        because a file was overwritten or could not be read for a night. It is gone from now on,
        however long ago its row was written.
        """
        rest = ", ".join(name for name in self._columns if name not in ("path", "gone", "seen_at"))
        lost = (
            " FROM images i LEFT JOIN thumbnails t USING (path) WHERE path = ?"
            " AND points_id IS NOT NULL AND (sha256 != ? OR ? = 'FAILED')"
        )
        values = (path, sha256, outcome)
        key = "CAST(path || x'00' || sha256 AS BLOB)"
        self.db.execute(
            f"INSERT OR REPLACE INTO images (path, gone, seen_at, {rest})"
            f" SELECT {key}, 1, max(seen_at, ?), {rest}{lost}",
            (now, *values),
        )
        self.db.execute(
            f"INSERT OR REPLACE INTO thumbnails SELECT {key}, jpeg{lost} AND jpeg IS NOT NULL",
            values,
        )
        if outcome != "FAILED":
            self.db.execute(
                "DELETE FROM images WHERE path = CAST(? || x'00' || ? AS BLOB)", (path, sha256)
            )

    def put_score(
        self,
        pixels_sha256: str,
        bundle_sha256: str,
        preprocessing: int,
        score: Score,
        provider: str,
        software_version: str,
        scored_at: str,
    ) -> None:
        """Keep what a model said of one input."""
        self.db.execute(
            "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                pixels_sha256,
                bundle_sha256,
                preprocessing,
                json.dumps(score.scores),
                json.dumps(score.logits),
                score.novelty,
                np.asarray(score.cam, dtype="<f2").tobytes(),
                provider,
                software_version,
                scored_at,
            ),
        )

    def novelty(self, pixels_sha256: str, bundle_sha256: str, preprocessing: int) -> float | None:
        """The novelty of a model input under a bundle, None where it was never scored."""
        row = self.db.execute(
            "SELECT novelty FROM scores WHERE pixels_sha256 = ? AND bundle_sha256 = ?"
            " AND preprocessing = ?",
            (pixels_sha256, bundle_sha256, preprocessing),
        ).fetchone()
        return None if row is None else float(row[0])


def _point(item: dict[str, Any]) -> OperatingPoint:
    for name in ("sensitivity_interval", "specificity_interval"):
        item[name] = tuple(item[name]) if item[name] is not None else None
    return OperatingPoint(**item)
