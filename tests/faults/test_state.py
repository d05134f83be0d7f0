"""The state over the years: upgrades, steps back, copies that are put back."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest

from screener import ledger_schema
from screener.errors import RunError, ScreenerError, UsageError
from screener.ledger import Ledger
from screener.ledger_schema import (
    LEDGER_VERSION,
    copy_of,
    files_of_state,
    kept_setting,
    open_state,
)
from screener.publication import verify_published
from tests.faults.nights import go_on, populate, run, screen
from tests.films import dataset, draw, save

pytestmark = pytest.mark.usefixtures("private_pool")
CONNECT = sqlite3.connect
NOBODY = 65534
FIRST = "CREATE TABLE kept (word TEXT); INSERT INTO kept VALUES ('as it was');"


def older(path: Path) -> Path:
    """A state of the first version, as an older program left it, with its log not yet folded in."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        schema = ledger_schema._SCHEMA.replace("decode_ms REAL,", "decode_ms REAL, thumbnail BLOB,")
        db.executescript(f"{schema} {FIRST} PRAGMA user_version = 1;")
    return path


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT word FROM kept").fetchall() == [("as it was",)]
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_an_upgrade_leaves_a_copy_of_the_state_before_it(tmp_path: Path) -> None:
    state = older(tmp_path / "state.sqlite")
    before = os.umask(0o022)
    try:
        open_state(state).close()
    finally:
        os.umask(before)
    copy = copy_of(state, 1)
    assert copy.name == "state.sqlite.v1"
    assert [version_of(state), version_of(copy)] == [LEDGER_VERSION, 1]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {state.name, copy.name}
    changed = copy.stat().st_mtime_ns
    open_state(state).close()
    assert copy.stat().st_mtime_ns == changed


def test_the_copy_is_the_accounts_whoever_upgrades(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may be the first to ask for a study after an update, and owns nothing of the folder."""
    state = older(tmp_path / "state.sqlite")
    owner = 65534 if os.geteuid() == 0 else os.geteuid()
    os.chown(state, owner, os.getegid())
    given = mock.Mock(wraps=os.fchown)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", given)
    open_state(state).close()
    given.assert_called_once_with(mock.ANY, owner, os.getegid())
    assert copy_of(state, 1).stat().st_uid == owner


def test_the_copy_goes_on_where_the_state_stood(tmp_path: Path) -> None:
    state = older(tmp_path / "state.sqlite")
    open_state(state).close()
    shutil.copy(copy_of(state, 1), state)
    open_state(state).close()
    assert [version_of(state), version_of(copy_of(state, 1))] == [LEDGER_VERSION, 1]


def test_a_new_state_has_nothing_to_copy(tmp_path: Path) -> None:
    Ledger(tmp_path / "state.sqlite").__exit__(None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["state.sqlite"]


@pytest.mark.parametrize("step", ["sqlite3.connect", "fsync", "replace", "executescript"])
def test_an_upgrade_that_breaks_off_is_done_again(step: str, tmp_path: Path) -> None:
    state = older(tmp_path / "state.sqlite")
    broken = {
        "sqlite3.connect": mock.patch.object(
            ledger_schema, "_copy_older", side_effect=sqlite3.OperationalError("disk full")
        ),
        "fsync": mock.patch.object(ledger_schema.os, "fsync", side_effect=OSError(28, "")),
        "replace": mock.patch.object(Path, "replace", side_effect=OSError(28, "")),
        "executescript": mock.patch.dict(ledger_schema._UPGRADES, {2: "CREATE TABLE kept (a);"}),
    }[step]
    with broken, pytest.raises(RunError, match="cannot be opened"):
        open_state(state)
    assert version_of(state) == 1
    assert copy_of(state, 1).exists() is (step == "executescript")
    open_state(state).close()
    assert [version_of(state), version_of(copy_of(state, 1))] == [LEDGER_VERSION, 1]
    assert {path.name for path in tmp_path.iterdir()} == {state.name, copy_of(state, 1).name}


def test_a_newer_state_is_refused_and_not_touched(tmp_path: Path) -> None:
    state = older(tmp_path / "state.sqlite")
    with closing(sqlite3.connect(state)) as db:
        db.execute(f"PRAGMA user_version = {LEDGER_VERSION + 1}")
    content = state.read_bytes()
    with pytest.raises(UsageError, match=f"version {LEDGER_VERSION + 1}"):
        open_state(state)
    assert state.read_bytes() == content
    assert not copy_of(state, LEDGER_VERSION).exists()


def test_copies_are_no_studies(tmp_path: Path) -> None:
    save(dataset(draw(1), 1), tmp_path / "studies" / "film")
    state = older(tmp_path / "studies" / "state.sqlite")
    with closing(sqlite3.connect(state)) as db:
        db.execute("DROP TABLE kept")
    summary = screen(tmp_path / "studies", tmp_path / "out", state=state)
    assert copy_of(state, 1) in files_of_state(state)
    assert copy_of(state, 1).exists()
    assert summary.paths == 1


def test_a_state_that_was_put_back_uses_no_run_id_twice(tmp_path: Path) -> None:
    """Within one second, which is all that the time in a run id tells apart."""
    studies, out = tmp_path / "studies", tmp_path / "out"
    save(dataset(draw(1), 1), studies / "film")
    with mock.patch("screener.night.datetime", wraps=datetime) as clock:
        clock.now.side_effect = lambda _zone: datetime(2026, 1, 1, tzinfo=UTC)
        screen(studies, out)
        shutil.copy(out / "state.sqlite", tmp_path / "kept")
        screen(studies, out)
        for suffix in ("", "-wal", "-shm"):
            (out / f"state.sqlite{suffix}").unlink(missing_ok=True)
        shutil.copy(tmp_path / "kept", out / "state.sqlite")
        screen(studies, out)
        screen(studies, out)
    runs = sorted(path.name for path in (out / "runs").iterdir())
    assert runs == [f"20260101T000000Z-00000{number}" for number in (1, 2, 3, 4)]


def _flip_in_a_page(state: Path) -> None:
    with closing(sqlite3.connect(state)) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'images'").fetchone()
    content = bytearray(state.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    state.write_bytes(content)


def _spoil_text(state: Path) -> None:
    with closing(sqlite3.connect(state)) as db, db:
        db.execute("UPDATE settings SET value = CAST(x'c3' AS TEXT)")
        db.execute("UPDATE images SET study_key = CAST(x'ff' AS TEXT)")


def _spoil_schema(state: Path) -> None:
    content = state.read_bytes()
    assert content.count(b"CREATE TABLE bundles") == 1
    state.write_bytes(content.replace(b"CREATE TABLE bundles", b"CREATE TABLE \xff\xfe dles"))


def _cut(state: Path) -> None:
    state.write_bytes(state.read_bytes()[:9000])


@pytest.mark.parametrize("damage", [_flip_in_a_page, _spoil_text, _spoil_schema, _cut])
def test_a_damaged_state_is_told_as_that(damage: Callable[[Path], None], tmp_path: Path) -> None:
    """Not as a bug, and not as a full disk; without the words of SQLite, which quote values."""
    save(dataset(draw(1, size=160), 1, PatientName="CANARY^X"), tmp_path / "studies" / "a")
    out = tmp_path / "out"
    screen(tmp_path / "studies", out)
    report = (out / "run.json").read_bytes()
    damage(out / "state.sqlite")
    done = run(tmp_path / "studies", out)
    assert done.returncode == 1
    assert "a bug" not in done.stderr
    assert "move" in done.stderr
    assert "anew" in done.stderr
    assert "CANARY" not in done.stderr
    assert (out / "run.json").read_bytes() == report


@pytest.mark.long
def test_a_state_with_changed_bytes_never_tears_the_report(tmp_path: Path) -> None:
    """What SQLite cannot see may still end in a bug; an importer is never given half a report."""
    studies, out, work = tmp_path / "studies", tmp_path / "out", tmp_path / "work"
    populate(studies)
    screen(studies, out)
    content = (out / "state.sqlite").read_bytes()
    go_on(studies)
    chance, ends = random.Random(11), Counter[str]()
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 3, 20))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        if chance.random() < 0.1:
            del changed[chance.randrange(len(changed)) :]
        shutil.copytree(out, work)
        (work / "state.sqlite").write_bytes(changed)
        try:
            screen(studies, work)
            ends["done"] += 1
        except ScreenerError:
            ends["told"] += 1
        except (ValueError, TypeError, LookupError):
            ends["bug"] += 1
        assert verify_published(work) == ()
        shutil.rmtree(work)
    print(dict(ends))
    assert ends["told"] > ends["bug"]


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder of an account to which modes mean something; root becomes it for a while."""
    privileged = os.geteuid() == 0
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        if privileged:
            os.chown(name, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            if privileged:
                os.seteuid(0)


def test_a_state_that_came_back_read_only_is_written_again() -> None:
    """From a backup or a disc: SQLite's log beside it would stay so, and stop every night."""
    with as_nobody() as folder:
        state = folder / "state.sqlite"
        open_state(state).close()
        state.chmod(0o400)
        assert kept_setting(state, "no such") is None
        with closing(open_state(state)) as db:
            db.execute("INSERT INTO settings VALUES ('a', 'b')")
            modes = {file.stat().st_mode & 0o777 for file in folder.iterdir()}
        assert modes == {0o600}
        # As it was left where it failed before.
        with closing(sqlite3.connect(state)) as other:
            other.execute("SELECT * FROM settings").fetchall()
            (folder / "state.sqlite-shm").chmod(0o400)
            with closing(open_state(state)) as db:
                db.execute("INSERT INTO settings VALUES ('c', 'd')")
        assert kept_setting(state, "c") == "d"


def test_a_denied_or_held_state_is_told_as_one() -> None:
    with as_nobody() as folder:
        state = folder / "state.sqlite"
        open_state(state).close()
        folder.chmod(0o500)
        with pytest.raises(RunError, match="cannot be opened: SQLITE_READONLY") as denied:
            open_state(state)
        folder.chmod(0o700)
        assert "chown -R" in denied.value.mend
        with closing(sqlite3.connect(state)) as db:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("BEGIN EXCLUSIVE")
            with (
                mock.patch.object(
                    ledger_schema.sqlite3,
                    "connect",
                    lambda path, **options: CONNECT(path, **options | {"timeout": 0}),
                ),
                pytest.raises(RunError, match="cannot be opened: SQLITE_BUSY") as held,
            ):
                open_state(state)
        assert "wait for the program that holds the state" in held.value.mend
        for error in (denied, held):
            assert "move" not in error.value.mend
