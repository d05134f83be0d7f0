"""What a night knows of the paths that it meets again: unchanged ones cost no write.

Between `screener.night`, which walks, and the tables of `screener.ledger`. A row is written only
where something became of its path. That an unchanged one was seen is a bit in memory, and what has
no bit at the end of the walk is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from screener.domain import FileStamp
from screener.keys import under
from screener.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Known:
    """What a rescan needs to know of a path to leave it alone; `number` is its row's."""

    stamp: FileStamp | None
    sha256: str
    outcome: str
    reason_code: str
    attempts: int
    judged_by: str
    pixels_sha256: str
    study_key: str
    points_id: int | None
    gone: bool
    number: int


class Seen:
    """The numbers of the rows whose unchanged paths a run has seen: a bit each, no row written."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> None:
        """Note one."""
        place = number >> 3
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 4096 - len(self._bits)))
        self._bits[place] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        """Whether it was noted."""
        place = number >> 3
        return place < len(self._bits) and bool(self._bits[place] >> (number & 7) & 1)


class KnownPaths:
    """The rows of paths in an open ledger, as one run reads and keeps them.

    Attributes:
        seen: The unchanged ones of this run.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._db = ledger.db
        self.seen = Seen()

    def known(self, paths: Sequence[bytes]) -> dict[bytes, Known]:
        """What is known of some hundred paths; unknown ones are absent."""
        marks = ",".join("?" * len(paths))
        cursor = self._db.cursor()
        cursor.row_factory = None
        cursor.execute(
            "SELECT path, size, mtime_ns, ctime_ns, inode, sha256, outcome, reason_code, attempts,"
            f" judged_by, pixels_sha256, study_key, points_id, gone, rowid FROM images"
            f" WHERE path IN ({marks})",
            tuple(paths),
        )
        found = {}
        for path, size, mtime_ns, ctime_ns, inode, *rest in cursor:
            stamp = None if size is None else FileStamp(size, mtime_ns, ctime_ns, inode)
            found[path] = Known(stamp, *rest)
        return found

    def returned(self, paths: Iterable[bytes]) -> None:
        """Note that paths are there again, unchanged."""
        self._db.executemany(
            "UPDATE images SET gone = 0 WHERE path = ?", ((path,) for path in paths)
        )

    def confirm(self, run: int, seen_at: str, path: bytes, stamp: FileStamp) -> None:
        """Note that a path's content was hashed again and is the same."""
        self._db.execute(
            "UPDATE images SET run = ?, seen_at = ?, checked_run = ?, size = ?, mtime_ns = ?,"
            " ctime_ns = ?, inode = ? WHERE path = ?",
            (run, seen_at, run, stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.inode, path),
        )
        # Apart: to set it makes the verdict of the study stale, though it be the same as before.
        self._db.execute("UPDATE images SET gone = 0 WHERE path = ? AND gone != 0", (path,))

    def outdated(self, points_id: int, since: str) -> list[tuple[bytes, str]]:
        """Scored images of recent studies that are still judged by other points."""
        rows = self._db.execute(
            "SELECT path, pixels_sha256 FROM images WHERE points_id != ?"
            " AND study_key IN (SELECT study_key FROM studies WHERE first_seen_at >= ?)",
            (points_id, since),
        )
        return [(row[0], row[1]) for row in rows]

    def rejudge(self, path: bytes, points_id: int, outcome: str, reason_code: str) -> None:
        """Give a path whose model input is scored already the verdict of another model."""
        self._db.execute(
            "UPDATE images SET outcome = ?, reason_code = ?, points_id = ? WHERE path = ?",
            (outcome, reason_code, points_id, path),
        )

    def former_verdict(
        self, study_key: str, pixels_sha256: str, points_id: int, before: str
    ) -> tuple[int, str, str] | None:
        """Points, outcome and reason by which the same film of an older study was judged.

        None where the study was first seen later than `before`, or only `points_id` judged it.
        """
        row = self._db.execute(
            "SELECT i.points_id, i.outcome, i.reason_code FROM studies s CROSS JOIN images i"
            " WHERE s.study_key = ? AND s.first_seen_at < ? AND i.study_key = s.study_key"
            " AND i.pixels_sha256 = ? AND i.points_id != ? ORDER BY i.path LIMIT 1",
            (study_key, before, pixels_sha256, points_id),
        ).fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def recent_studies(self, since: str) -> set[str]:
        """Keys of the studies first seen at or after a time."""
        rows = self._db.execute("SELECT study_key FROM studies WHERE first_seen_at >= ?", (since,))
        return {row[0] for row in rows}

    def oldest_checked(
        self, run: int, share: int, roots: Sequence[bytes]
    ) -> list[tuple[bytes, str]]:
        """A `share`-th of the unchanged paths of this run, those hashed longest ago first."""
        condition, values = under(roots)
        unchanged = f"checked_run < ? AND sha256 != '' AND gone = 0 AND {condition}"
        count = self._db.execute(
            f"SELECT count(*) FROM images WHERE {unchanged}", (run, *values)
        ).fetchone()[0]
        rows = self._db.execute(
            f"SELECT path, sha256 FROM images WHERE {unchanged} ORDER BY checked_run, path LIMIT ?",
            (run, *values, -(-count // share)),
        )
        return [(row[0], row[1]) for row in rows]

    def saw_any(self, run: int, root: bytes) -> bool:
        """Whether a run saw a path that is or lies below a root."""
        condition, values = under([root])
        rows = self._db.execute(f"SELECT rowid, run FROM images WHERE {condition}", values)
        return any(row[0] in self.seen or row[1] == run for row in rows)

    def mark_gone(self, run: int, now: str, roots: Sequence[bytes]) -> None:
        """Mark the paths under `roots` that this run did not see."""
        condition, values = under(roots)
        rows = self._db.execute(f"SELECT rowid FROM images WHERE {condition}", values)
        missed = [row[0] for row in rows if row[0] not in self.seen]
        self._db.executemany(
            "UPDATE images SET gone = 1, seen_at = max(seen_at, ?)"
            " WHERE rowid = ? AND gone = 0 AND run < ?",
            ((now, number, run) for number in missed),
        )

    def forget_gone(self, before: str) -> None:
        """Forget paths that are gone since before a time, and what only they used.

        A failure that names no study goes with its file: there is nothing left to look for.
        """
        self._db.execute(
            "DELETE FROM images WHERE gone = 1 AND outcome = 'FAILED' AND study_key LIKE 'path:%'"
        )
        self._db.execute("DELETE FROM images WHERE gone = 1 AND seen_at < ?", (before,))
        changed = self._db.execute("SELECT EXISTS (SELECT 1 FROM stale)").fetchone()[0]
        if not changed:
            return
        for table in ("studies", "reported"):
            # Whatever loses an image is stale.
            self._db.execute(
                f"DELETE FROM {table} WHERE study_key IN (SELECT study_key FROM stale)"
                " AND study_key NOT IN (SELECT study_key FROM images)"
            )
        self._db.execute("DELETE FROM stale WHERE study_key NOT IN (SELECT study_key FROM studies)")
        self._db.execute(
            "DELETE FROM scores WHERE NOT EXISTS (SELECT 1 FROM images"
            " WHERE pixels_sha256 = scores.pixels_sha256 AND pixels_sha256 != '')"
        )
