"""What was fetched, what could not be and why, and how far: one SQLite file beside the folder.

Every change is a transaction of its own, made after the file it speaks of was renamed and synced: a
kill forgets nothing but the last file, which is then fetched once more under the same name.

States: STORED; MISSING, asked for again by the next pulls; GIVEN_UP, after `again_days`. Of an
object of a patient who was purged nothing is known but a keyed hash of its UID, by which it is not
fetched again; the key is a file of its own beside the state.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from screener.errors import UsageError
from screener.identifiers import pseudonym, read_or_make_key
from screener.ledger_errors import state_errors
from screener.pacs.archive import Film
from screener.pacs.window import stamp

VERSION = 1
OBJECT, STUDY = "object", "study"
"""Levels. That of a study bears a modality: its series of another may be listed well."""
_SCHEMA = """
CREATE TABLE marks (
    source TEXT NOT NULL, modality TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (source, modality)) WITHOUT ROWID;
CREATE TABLE things (
    source TEXT NOT NULL, level TEXT NOT NULL, uid TEXT NOT NULL,
    study_uid TEXT NOT NULL, series_uid TEXT NOT NULL, study_date TEXT NOT NULL,
    sop_class TEXT NOT NULL, state TEXT NOT NULL, code TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0, first_at TEXT NOT NULL, last_at TEXT NOT NULL,
    file TEXT NOT NULL DEFAULT '', PRIMARY KEY (source, level, uid)) WITHOUT ROWID;
CREATE INDEX things_state ON things (source, state) WHERE state != 'STORED';
"""
# Made when it is needed, so that a state without purged objects is that of an older program.
_PURGED = "CREATE TABLE IF NOT EXISTS purged (digest TEXT PRIMARY KEY) WITHOUT ROWID"
_CHECK, _UID = "purged check", "purged object"


class PullState:
    """The state of an archive named `source`. A context manager; every writing commits."""

    def __init__(self, path: Path, source: str) -> None:
        """Open or create it.

        Raises:
            UsageError: it was written by a newer program.
            RunError: it cannot be opened or is none.
        """
        self._path, self._source = path, source
        with state_errors(path):
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._db.row_factory = sqlite3.Row
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version > VERSION or (version == 0 and tables):
                self._db.close()
                raise UsageError(
                    f"{str(path)!r} is no state of this program's pull, or of a newer one",
                    "nothing was changed",
                    "give another --state",
                )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            if version == 0:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            self._key_file = path.with_name(f"{path.name}.key")
            self._key = b""
            self._purged = self._read_purged()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._db.close()

    # -- who was purged -----------------------------------------------------------------------

    def _read_purged(self) -> set[str]:
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'purged'").fetchone():
            return set()
        digests = {row[0] for row in self._db.execute("SELECT digest FROM purged")}
        if digests:
            self._key = read_or_make_key(self._key_file) if self._key_file.exists() else b""
            if not self._key or pseudonym(self._key, _CHECK, "") not in digests:
                self._db.close()
                raise UsageError(
                    f"the key {str(self._key_file)!r} of the purged objects is "
                    f"{'another one' if self._key else 'missing'}",
                    "without it they would be fetched again",
                    "restore it from the backup of the state",
                )
        return digests

    def is_purged(self, uid: str) -> bool:
        """Whether an object is of a patient who was purged."""
        return bool(self._purged) and pseudonym(self._key, _UID, uid) in self._purged

    def theirs(self, study_uids: Sequence[str], object_uids: Sequence[str]) -> dict[str, str]:
        """The objects of these studies, and these, of every source: UID -> file or empty text.

        And those that are kept out already: a purge that was cut had removed their files, which
        alone said whose they were.
        """
        rows = self._db.execute(
            "SELECT uid, file FROM things WHERE level = 'object' AND (study_uid IN"
            " (SELECT value FROM json_each(?)) OR uid IN (SELECT value FROM json_each(?)))"
            " ORDER BY file",
            (json.dumps(study_uids), json.dumps(object_uids)),
        )
        found = {row[0]: row[1] for row in rows}
        if self._purged:
            every = self._db.execute("SELECT uid, file FROM things WHERE level = 'object'")
            found |= {row[0]: row[1] for row in every if self.is_purged(row[0])}
        return found

    def keep_out(self, uids: Iterable[str]) -> None:
        """Never fetch these objects again.

        Raises:
            RunError: the key cannot be made.
        """
        self._key = self._key or read_or_make_key(self._key_file)
        digests = {pseudonym(self._key, _UID, uid) for uid in uids}
        digests.add(pseudonym(self._key, _CHECK, ""))
        self._db.execute("BEGIN")
        self._db.execute(_PURGED)
        self._db.executemany(
            "INSERT OR IGNORE INTO purged VALUES (?)", ((digest,) for digest in sorted(digests))
        )
        self._db.execute("COMMIT")
        self._purged |= digests

    def forget(self, study_uids: Sequence[str], object_uids: Sequence[str]) -> None:
        """Delete all that is known of them, and rewrite the file so that nothing stays in it."""
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute(
            "DELETE FROM things WHERE study_uid IN (SELECT value FROM json_each(?))"
            " OR uid IN (SELECT value FROM json_each(?))",
            (json.dumps(study_uids), json.dumps(object_uids)),
        )
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- the mark -----------------------------------------------------------------------------

    def mark(self, modality: str) -> datetime | None:
        """When the last pull began that left nothing out of its window; None for never."""
        row = self._db.execute(
            "SELECT at FROM marks WHERE source = ? AND modality = ?", (self._source, modality)
        ).fetchone()
        return None if row is None else datetime.fromisoformat(row[0])

    def move_mark(self, modality: str, at: datetime) -> None:
        """Everything up to there is stored or recorded as missing."""
        self._db.execute(
            "INSERT INTO marks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = excluded.at",
            (self._source, modality, stamp(at)),
        )

    # -- what is known ------------------------------------------------------------------------

    def file_of(self, uid: str) -> str | None:
        """The name of the file of a stored object; None where it is not stored."""
        row = self._db.execute(
            "SELECT file FROM things WHERE source = ? AND level = 'object' AND uid = ?"
            " AND state = 'STORED'",
            (self._source, uid),
        ).fetchone()
        return None if row is None else str(row[0])

    def is_recorded(self, level: str, uid: str) -> bool:
        """Whether it is stored, or known to be missing."""
        row = self._db.execute(
            "SELECT 1 FROM things WHERE source = ? AND level = ? AND uid = ?",
            (self._source, level, uid),
        ).fetchone()
        return row is not None

    def missing(self) -> list[Film]:
        """The objects to ask for again, the least often tried first."""
        rows = self._db.execute(
            "SELECT uid, series_uid, study_uid, study_date, sop_class FROM things"
            " WHERE source = ? AND level = 'object' AND state = 'MISSING' ORDER BY attempts, uid",
            (self._source,),
        )
        return [Film(*row) for row in rows]

    def missing_studies(self, modality: str) -> list[tuple[str, str]]:
        """The studies whose objects of a modality are to be listed again, with their dates."""
        rows = self._db.execute(
            "SELECT uid, study_date FROM things WHERE source = ? AND level = ?"
            " AND state = 'MISSING' ORDER BY attempts, uid",
            (self._source, f"{STUDY} {modality}"),
        )
        return [(row[0], row[1]) for row in rows]

    # -- what became of it --------------------------------------------------------------------

    def put(self, film: Film, state: str, now: datetime, *, code: str = "", file: str = "") -> None:
        """An object is STORED under a name, or MISSING and why."""
        self._put(
            OBJECT,
            film.sop_instance_uid,
            (film.study_instance_uid, film.series_instance_uid, film.study_date),
            film.sop_class_uid,
            (state, code, stamp(now), file),
        )

    def put_study(self, uid: str, modality: str, study_date: str, code: str, now: datetime) -> None:
        """The objects of a modality in a study could not be listed, and why."""
        became = ("MISSING", code, stamp(now), "")
        self._put(f"{STUDY} {modality}", uid, (uid, "", study_date), "", became)

    def _put(
        self,
        level: str,
        uid: str,
        place: tuple[str, str, str],
        sop_class: str,
        became: tuple[str, str, str, str],
    ) -> None:
        state, code, now, file = became
        self._db.execute(
            "INSERT INTO things VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET state = excluded.state, code = excluded.code,"
            " attempts = attempts + 1, last_at = excluded.last_at, file = excluded.file",
            (self._source, level, uid, *place, sop_class, state, code, now, now, file),
        )

    def study_listed(self, uid: str, modality: str) -> None:
        """A study that could not be listed was, now."""
        self._db.execute(
            "DELETE FROM things WHERE source = ? AND level = ? AND uid = ?",
            (self._source, f"{STUDY} {modality}", uid),
        )

    def give_up(self, before: datetime) -> None:
        """Ask no more for what was first missed before a moment."""
        self._db.execute(
            "UPDATE things SET state = 'GIVEN_UP' WHERE source = ? AND state = 'MISSING'"
            " AND first_at < ?",
            (self._source, stamp(before)),
        )

    def left(self) -> dict[tuple[str, str], int]:
        """How many are not stored, by state and code."""
        rows = self._db.execute(
            "SELECT state, code, count(*) FROM things WHERE source = ? AND state != 'STORED'"
            " GROUP BY 1, 2 ORDER BY 1, 2",
            (self._source,),
        )
        return {(row[0], row[1]): row[2] for row in rows}

    def stored_before(self, before: datetime) -> list[tuple[str, str]]:
        """UID and file of what was stored before a moment and not removed yet."""
        rows = self._db.execute(
            "SELECT uid, file FROM things WHERE source = ? AND state = 'STORED' AND file != ''"
            " AND last_at < ?",
            (self._source, stamp(before)),
        )
        return [(row[0], row[1]) for row in rows]

    def file_removed(self, uid: str) -> None:
        """Its file was removed because it is old; it stays known."""
        self._db.execute(
            "UPDATE things SET file = '' WHERE source = ? AND level = 'object' AND uid = ?",
            (self._source, uid),
        )
