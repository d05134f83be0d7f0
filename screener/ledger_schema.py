"""The tables of the state file, and how it is opened.

`state.sqlite` is a database of one host on a local disk: write-ahead log, every commit synced. A
state of an older version is copied to `state.sqlite.v1` before it is brought up to date.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path

from screener.domain import Instance
from screener.durable import sync_folder, write_file, writer_of
from screener.errors import RunError, UsageError
from screener.ledger_errors import reason_and_mend, refuse_no_file

LEDGER_VERSION = 3
HEADER_COLUMNS = tuple(f.name for f in fields(Instance) if f.name != "warnings")

_SCHEMA = f"""
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, started_at TEXT NOT NULL,
    model_sha256 TEXT NOT NULL, published_at TEXT);
CREATE TABLE points (
    id INTEGER PRIMARY KEY, bundle_sha256 TEXT NOT NULL, content TEXT NOT NULL,
    UNIQUE (bundle_sha256, content));
CREATE TABLE bundles (
    sha256 TEXT PRIMARY KEY, name TEXT NOT NULL, findings TEXT NOT NULL,
    prevalence TEXT NOT NULL);
CREATE TABLE images (
    path BLOB PRIMARY KEY,
    first_run INTEGER NOT NULL, run INTEGER NOT NULL, seen_at TEXT NOT NULL,
    gone INTEGER NOT NULL DEFAULT 0, source TEXT NOT NULL,
    size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER,
    sha256 TEXT NOT NULL DEFAULT '', checked_run INTEGER NOT NULL DEFAULT 0,
    study_key TEXT NOT NULL DEFAULT '', patient_key TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL, reason_code TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0, judged_by TEXT NOT NULL DEFAULT '',
    failure_reported INTEGER NOT NULL DEFAULT 0,
    examined_at TEXT NOT NULL DEFAULT '', warnings TEXT NOT NULL DEFAULT '',
    {", ".join(f"{name} DEFAULT ''" for name in HEADER_COLUMNS)},
    pixels_sha256 TEXT NOT NULL DEFAULT '', voi_source TEXT NOT NULL DEFAULT '',
    levels_dropped INTEGER, decoder TEXT NOT NULL DEFAULT '', decode_ms REAL,
    points_id INTEGER REFERENCES points (id));
CREATE INDEX images_pixels ON images (pixels_sha256) WHERE pixels_sha256 != '';
CREATE INDEX images_patient ON images (patient_id) WHERE patient_id != '';
CREATE TABLE scores (
    pixels_sha256 TEXT NOT NULL, bundle_sha256 TEXT NOT NULL, preprocessing INTEGER NOT NULL,
    scores TEXT NOT NULL, logits TEXT NOT NULL, novelty REAL NOT NULL, cam BLOB NOT NULL,
    provider TEXT NOT NULL, software_version TEXT NOT NULL, scored_at TEXT NOT NULL,
    PRIMARY KEY (pixels_sha256, bundle_sha256, preprocessing)) WITHOUT ROWID;
CREATE TABLE studies (
    study_key TEXT PRIMARY KEY, first_seen_at TEXT NOT NULL, baseline TEXT) WITHOUT ROWID;
CREATE TABLE reported (
    study_key TEXT NOT NULL, patient_key TEXT NOT NULL, run INTEGER NOT NULL,
    triage TEXT NOT NULL, priority TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (study_key, patient_key, run)) WITHOUT ROWID;
CREATE TABLE tombstones (digest TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
# What the published reports say of each study, and what was sent of it and where to. With a study
# goes all of it, whoever forgets it, but for what still stands in a worklist and must be withdrawn.
_TOLD = """
CREATE TABLE told (
    study_key TEXT NOT NULL, patient_key TEXT NOT NULL, run INTEGER NOT NULL, row TEXT NOT NULL,
    urgency INTEGER, falling REAL, image BLOB, made_by TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (study_key, patient_key));
"""
_DELIVERIES = """
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY, study_key TEXT NOT NULL, patient_key TEXT NOT NULL,
    kind TEXT NOT NULL, door TEXT NOT NULL, identity TEXT NOT NULL,
    uid TEXT NOT NULL DEFAULT '', predecessor TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, code TEXT NOT NULL DEFAULT '',
    urgency INTEGER NOT NULL DEFAULT 0, queued_at TEXT NOT NULL, done_at TEXT NOT NULL DEFAULT '',
    payload TEXT NOT NULL DEFAULT '');
CREATE INDEX deliveries_study ON deliveries (study_key, patient_key, kind, door);
CREATE INDEX deliveries_uid ON deliveries (uid) WHERE uid != '';
CREATE INDEX deliveries_queue ON deliveries (state) WHERE state = 'QUEUED';
"""
_FORGOTTEN = """
CREATE TRIGGER study_forgotten AFTER DELETE ON studies BEGIN
    DELETE FROM told WHERE study_key = old.study_key;
    DELETE FROM deliveries WHERE study_key = old.study_key
        AND NOT (state = 'DELIVERED' AND kind = 'worklist');
END;
"""
_DELIVERY = _TOLD + _DELIVERIES + _FORGOTTEN
# What a quiet night rests on: a verdict is made anew only where the study is `stale`, which every
# change of what a verdict is made of makes it, whoever changes it, or where it was `made_by`
# another model, program or site file. Thumbnails stand apart: with them each row would fill a page.
_VERDICT_OF = (
    "source", "gone", "sha256", "study_key", "patient_key", "outcome", "reason_code", "detail",
    "examined_at", "warnings", *HEADER_COLUMNS, "pixels_sha256", "points_id",
)  # fmt: skip


def _stale(row: str) -> str:
    """In a trigger, where OR IGNORE gives way to the word of the statement that fired it."""
    return (
        f"INSERT INTO stale SELECT {row}.study_key WHERE {row}.study_key != ''"
        f" AND NOT EXISTS (SELECT 1 FROM stale WHERE study_key = {row}.study_key);"
    )


_QUIET = f"""
CREATE TABLE thumbnails (path BLOB PRIMARY KEY, jpeg BLOB NOT NULL);
CREATE TABLE notes (
    path BLOB PRIMARY KEY, duplicate_of BLOB, uid_conflict INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE stale (study_key TEXT PRIMARY KEY) WITHOUT ROWID;
DROP INDEX IF EXISTS images_study;
CREATE INDEX images_study ON images (study_key, path);
CREATE INDEX images_gone ON images (path) WHERE gone = 1;
CREATE INDEX images_failed ON images (path) WHERE outcome = 'FAILED';
CREATE INDEX images_checked ON images (checked_run, path) WHERE gone = 0 AND sha256 != '';
CREATE TRIGGER image_new AFTER INSERT ON images BEGIN
    {_stale("new")}
END;
CREATE TRIGGER image_changed AFTER UPDATE OF {", ".join(_VERDICT_OF)} ON images BEGIN
    {_stale("old")}
    {_stale("new")}
END;
CREATE TRIGGER image_forgotten AFTER DELETE ON images BEGIN
    {_stale("old")}
    DELETE FROM notes WHERE path = old.path;
    DELETE FROM thumbnails WHERE path = old.path;
END;
"""
_MOVED = f"""
INSERT INTO thumbnails SELECT path, thumbnail FROM images WHERE thumbnail IS NOT NULL;
UPDATE images SET thumbnail = NULL;
DROP TRIGGER study_forgotten;
ALTER TABLE told RENAME TO told_before;
{_TOLD}
INSERT INTO told (study_key, patient_key, run, row)
    SELECT study_key, patient_key, run, row FROM told_before;
DROP TABLE told_before;
{_FORGOTTEN}
"""
# Version -> what makes it of the one before.
_UPGRADES = {2: _DELIVERY, 3: _QUIET + _MOVED}
_ALL = _SCHEMA + _DELIVERY + _QUIET


def files_of_state(path: Path) -> list[Path]:
    """Every file that may stand for a state beside it: SQLite's own, the lock, copies."""
    copies = [copy_of(path, version) for version in range(1, LEDGER_VERSION)]
    copies += [_unfinished(copy) for copy in copies]
    ends = ("", "-wal", "-shm", "-journal", ".lock")
    return [*(path.with_name(path.name + end) for end in ends), *copies]


def copy_of(path: Path, version: int) -> Path:
    """The copy of a state of an older version that an upgrade leaves beside it."""
    return path.with_name(f"{path.name}.v{version}")


def _unfinished(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.writing")


def _copy_older(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy a state as it is before it is upgraded: private, synced, whole or not there.

    The older program goes on with the copy where the new one is taken back.
    """
    copy = copy_of(path, version)
    unfinished = _unfinished(copy)
    for each in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
        each.unlink(missing_ok=True)
    write_file(unfinished, writer_of(b""))
    with closing(sqlite3.connect(unfinished)) as target:
        db.backup(target)
        # The copy is one file: it needs no log of its own.
        target.execute("PRAGMA journal_mode = DELETE")
    with unfinished.open("rb") as stream:
        if os.geteuid() == 0:
            # As SQLite does with its log: root may be who only asks for one study.
            of = path.stat()
            os.fchown(stream.fileno(), of.st_uid, of.st_gid)
        os.fsync(stream.fileno())
    unfinished.replace(copy)
    sync_folder(copy.parent)


def _let_write(path: Path) -> None:
    """Give the owner what a copy from a backup, or from a disc, may lack.

    Before SQLite opens it: it makes its log with the mode of the state, and one that cannot be
    written stays beside a state that can.
    """
    for end in ("", "-wal", "-shm"):
        file = path.with_name(f"{path.name}{end}")
        with suppress(OSError):
            mode = file.stat().st_mode
            if stat.S_ISREG(mode) and mode & 0o600 != 0o600:
                file.chmod(stat.S_IMODE(mode) | 0o600)


def open_state(path: Path) -> sqlite3.Connection:
    """Open or create a state file; transactions are the caller's.

    Raises:
        UsageError: the state was written by a newer program.
        RunError: the file cannot be opened or is no state.
    """
    refuse_no_file(path)
    db: sqlite3.Connection | None = None
    strange = ""
    _let_write(path)
    try:
        db = sqlite3.connect(path, isolation_level=None, timeout=10)
        db.row_factory = sqlite3.Row
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version <= LEDGER_VERSION:
            path.chmod(0o600)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
        if version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            strange = "another program's database"
            raise sqlite3.DatabaseError
        if version == 0:
            db.executescript(f"BEGIN; {_ALL} PRAGMA user_version = {LEDGER_VERSION}; COMMIT;")
        elif version < LEDGER_VERSION:
            _copy_older(db, path, version)
        for step in range((version or LEDGER_VERSION) + 1, LEDGER_VERSION + 1):
            db.executescript(f"BEGIN; {_UPGRADES[step]} PRAGMA user_version = {step}; COMMIT;")
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        # SQLite's words quote the schema, and Python cannot decode them where it is damaged.
        if db is not None:
            db.close()
        raise _not_opened(path, error, strange) from error
    if version > LEDGER_VERSION:
        db.close()
        raise UsageError(
            f"the state {str(path)!r} has version {version}",
            f"this program knows versions up to {LEDGER_VERSION}; nothing was changed",
            "install the newer program again, or give another --state",
        )
    return db


def _not_opened(path: Path, error: Exception, strange: str) -> RunError:
    reason, mend = reason_and_mend(error)
    if strange:
        reason, mend = strange, "name another --state, or move that file away to start anew"
    return RunError(
        f"the state {str(path)!r} cannot be opened: {reason}", "the last report is intact", mend
    )


def kept_setting(path: Path, key: str) -> str | None:
    """A choice that an earlier run kept, before the state is opened to be written.

    None where there is no state yet or it cannot be read: `open_state` says what is wrong with it.
    """
    # Not of `Path`, which raises where this account may not look.
    if not os.path.isfile(path):
        return None
    _let_write(path)
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=10)
    except sqlite3.Error:
        return None
    with closing(db):
        try:
            row = db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        except (sqlite3.Error, UnicodeDecodeError):
            return None
    return None if row is None else str(row[0])
