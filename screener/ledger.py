"""The state: what is known of every path, in one SQLite file; reports are ordered queries on it.

One row of `images` a path, with what its header said and what became of it; one row of `scores` a
model input and bundle, so that going back to an earlier model decodes nothing; `points` holds the
operating points of their time. What the worklist was told stands in `screener.report.store`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from screener.domain import FileStamp, Instance, OperatingPoint, Radiograph, Score
from screener.errors import UsageError
from screener.ledger_schema import HEADER_COLUMNS, open_state


@dataclass(frozen=True, slots=True)
class Known:
    """What a rescan needs to know of a path to leave it alone."""

    stamp: FileStamp | None
    sha256: str
    outcome: str
    reason_code: str
    attempts: int
    judged_by: str
    pixels_sha256: str
    study_key: str
    bundle_sha256: str | None
    points_id: int | None
    run: int


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
            RunError: the disk is full or failing; what was committed before is intact.
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
            "SELECT number FROM runs WHERE run_id = ? AND published_at IS NOT NULL", (run_id,)
        ).fetchone()
        if row is None:
            raise UsageError(
                f"no published run {run_id!r}", mend="the ids are the names of the folders in runs/"
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

    def known(self, paths: Sequence[bytes]) -> dict[bytes, Known]:
        """What is known of some hundred paths; unknown ones are absent."""
        marks = ",".join("?" * len(paths))
        rows = self.db.execute(
            "SELECT i.path, i.size, i.mtime_ns, i.ctime_ns, i.inode, i.sha256, i.outcome,"
            " i.reason_code, i.attempts, i.judged_by, i.pixels_sha256, i.study_key,"
            " p.bundle_sha256, i.points_id, i.run"
            " FROM images i LEFT JOIN points p ON p.id = i.points_id"
            f" WHERE i.path IN ({marks})",
            tuple(paths),
        )
        found = {}
        for row in rows:
            stamp = None if row[1] is None else FileStamp(row[1], row[2], row[3], row[4])
            found[row[0]] = Known(stamp, *tuple(row)[5:])
        return found

    def touch(self, run: int, seen_at: str, paths: Iterable[bytes]) -> None:
        """Note that unchanged paths were seen."""
        self.db.executemany(
            "UPDATE images SET run = ?, seen_at = ?, gone = 0 WHERE path = ?",
            ((run, seen_at, path) for path in paths),
        )

    def confirm(self, run: int, seen_at: str, path: bytes, stamp: FileStamp) -> None:
        """Note that a path's content was hashed again and is the same."""
        self.db.execute(
            "UPDATE images SET run = ?, seen_at = ?, gone = 0, checked_run = ?, size = ?,"
            " mtime_ns = ?, ctime_ns = ?, inode = ? WHERE path = ?",
            (run, seen_at, run, stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.inode, path),
        )

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
            "thumbnail": None,
        }
        for name in ("size", "mtime_ns", "ctime_ns", "inode"):
            values[name] = getattr(record.stamp, name) if record.stamp else None
        for name in HEADER_COLUMNS:
            values[name] = getattr(record.instance, name) if record.instance else ""
        if record.radiograph is not None:
            for name in ("pixels_sha256", "voi_source", "levels_dropped", "decoder", "thumbnail"):
                values[name] = getattr(record.radiograph, name)
        self._keep_former(record)
        kept = ("path", "first_run", "attempts")
        updates = ", ".join(f"{name} = excluded.{name}" for name in values if name not in kept)
        self.db.execute(
            f"INSERT INTO images ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
            f" ON CONFLICT (path) DO UPDATE SET {updates},"
            " attempts = CASE WHEN images.size IS excluded.size"
            " AND images.mtime_ns IS excluded.mtime_ns AND images.outcome = excluded.outcome"
            " THEN images.attempts + 1 ELSE 1 END,"
            " failure_reported = CASE WHEN excluded.outcome = 'FAILED'"
            " THEN images.failure_reported ELSE 0 END",
            tuple(values.values()),
        )
        if record.study_key:
            self.db.execute(
                "INSERT OR IGNORE INTO studies (study_key, first_seen_at) VALUES (?, ?)",
                (record.study_key, record.examined_at),
            )

    def _keep_former(self, record: ImageRecord) -> None:
        """Keep the scored image that a path is about to lose, as one whose file is gone.

        Its key is the path, a zero byte, which no path holds, and its hash. A flag never falls
        because a file was overwritten or could not be read for a night.
        """
        rest = ", ".join(name for name in self._columns if name not in ("path", "gone"))
        self.db.execute(
            f"INSERT OR REPLACE INTO images (path, gone, {rest})"
            f" SELECT CAST(path || x'00' || sha256 AS BLOB), 1, {rest} FROM images"
            " WHERE path = ? AND points_id IS NOT NULL AND (sha256 != ? OR ? = 'FAILED')",
            (record.path, record.sha256, record.outcome),
        )
        if record.outcome != "FAILED":
            self.db.execute(
                "DELETE FROM images WHERE path = CAST(? || x'00' || ? AS BLOB)",
                (record.path, record.sha256),
            )

    def outdated(self, run: int, points_id: int, since: str) -> list[tuple[bytes, str]]:
        """Scored images of recent studies that this run did not see, judged by other points."""
        rows = self.db.execute(
            "SELECT path, pixels_sha256 FROM images WHERE points_id != ? AND run < ?"
            " AND study_key IN (SELECT study_key FROM studies WHERE first_seen_at >= ?)",
            (points_id, run, since),
        )
        return [(row[0], row[1]) for row in rows]

    def rejudge(self, path: bytes, points_id: int, outcome: str, reason_code: str) -> None:
        """Give a path whose model input is scored already the verdict of another model."""
        self.db.execute(
            "UPDATE images SET outcome = ?, reason_code = ?, points_id = ? WHERE path = ?",
            (outcome, reason_code, points_id, path),
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

    def recent_studies(self, since: str) -> set[str]:
        """Keys of the studies first seen at or after a time."""
        rows = self.db.execute("SELECT study_key FROM studies WHERE first_seen_at >= ?", (since,))
        return {row[0] for row in rows}

    def oldest_checked(self, run: int, share: int) -> list[tuple[bytes, str]]:
        """A `share`-th of the unchanged paths of this run, those hashed longest ago first."""
        unchanged = "run = ? AND checked_run < ? AND sha256 != '' AND gone = 0"
        count = self.db.execute(
            f"SELECT count(*) FROM images WHERE {unchanged}", (run, run)
        ).fetchone()[0]
        rows = self.db.execute(
            f"SELECT path, sha256 FROM images WHERE {unchanged} ORDER BY checked_run, path LIMIT ?",
            (run, run, -(-count // share)),
        )
        return [(row[0], row[1]) for row in rows]

    def saw_any(self, run: int, root: bytes) -> bool:
        """Whether a run saw a path that is or lies below a root."""
        condition, values = under([root])
        row = self.db.execute(
            f"SELECT 1 FROM images WHERE run = ? AND {condition} LIMIT 1", (run, *values)
        ).fetchone()
        return row is not None

    def mark_gone(self, run: int, roots: Sequence[bytes]) -> None:
        """Mark the paths under `roots` that this run did not see."""
        condition, values = under(roots)
        self.db.execute(f"UPDATE images SET gone = 1 WHERE run < ? AND {condition}", (run, *values))

    def forget_gone(self, before: str) -> None:
        """Forget paths that are gone and were last seen before a time, and what only they used.

        A failure that names no study goes with its file: there is nothing left to look for.
        """
        self.db.execute(
            "DELETE FROM images WHERE gone = 1 AND outcome = 'FAILED' AND study_key LIKE 'path:%'"
        )
        self.db.execute("DELETE FROM images WHERE gone = 1 AND seen_at < ?", (before,))
        self.db.execute("DELETE FROM studies WHERE study_key NOT IN (SELECT study_key FROM images)")
        self.db.execute(
            "DELETE FROM reported WHERE study_key NOT IN (SELECT study_key FROM studies)"
        )
        self.db.execute(
            "DELETE FROM scores WHERE pixels_sha256 NOT IN (SELECT pixels_sha256 FROM images)"
        )


def under(roots: Sequence[bytes]) -> tuple[str, list[bytes]]:
    """The SQL condition that a path is one of `roots` or lies below one, and its values."""
    parts, values = [], []
    for root in roots:
        base = root.rstrip(b"/")
        # Below the root, the root itself, and the images that it held before.
        parts.append("(path = ? OR (path >= ? AND path < ?) OR (path >= ? AND path < ?))")
        values += [root, base + b"/", base + b"0", base + b"\0", base + b"\1"]
    return f"({' OR '.join(parts)})", values


def _point(item: dict[str, Any]) -> OperatingPoint:
    for name in ("sensitivity_interval", "specificity_interval"):
        item[name] = tuple(item[name]) if item[name] is not None else None
    return OperatingPoint(**item)
