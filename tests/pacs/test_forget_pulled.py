"""A purge reaches what a pull fetched and what it knows, and the next pull fetches none of it."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from pydicom import dcmread

from screener.errors import LockedError, RunError, UsageError
from screener.lock import state_lock
from screener.pacs.forget_pulled import forgetting_pulled
from screener.pacs.pull import pull
from screener.pacs.pull_state import PullState
from screener.purge import PurgeSummary, purge
from screener.settings import Settings
from tests.faults.injection import needs_strace
from tests.faults.nights import environment, screen
from tests.films import TINY
from tests.pacs.odd_archive import OddArchive, odd_archive
from tests.pacs.test_pull_faults import some, to

WHO = "PURGEME-4711"
THEIRS, OTHERS = (1, 2), (3, 4)


@pytest.fixture
def archive() -> Iterator[OddArchive]:
    with odd_archive(films=some(2, PatientID=WHO) + some(2, first=3)) as archive:
        yield archive


@pytest.fixture
def night(archive: OddArchive, tmp_path: Path) -> Path:
    """Pulled into `in` and scanned into `out`."""
    assert pull(tmp_path / "in", to(archive.url)).fetched.stored == 4
    assert screen(tmp_path / "in", tmp_path / "out").paths == 4
    return tmp_path


def forget(night: Path, folder: Path | None = None, state: Path | None = None) -> PurgeSummary:
    settings, unfetch = (
        Settings(model=TINY, workers=1),
        partial(forgetting_pulled, folder, state, lambda _: None),
    )
    return purge(night / "out", WHO, None, settings, lambda _: None, unfetch=unfetch)


def patients(night: Path) -> list[str]:
    return sorted(str(dcmread(path).PatientID) for path in (night / "in").rglob("*.dcm"))


def words_left(night: Path, numbers: tuple[int, ...] = THEIRS) -> list[str]:
    """The files of the pull's memory that hold a UID of these films, or their patient."""
    needles = [f"2.25.{start + number}".encode() for number in numbers for start in (1000, 2000)]
    needles += [WHO.encode()]
    states = list(night.glob("in.pull.sqlite*"))
    assert states
    return [path.name for path in states if any(needle in path.read_bytes() for needle in needles)]


def test_fetched_films_and_their_uids_go_and_are_not_fetched_again(
    night: Path, archive: OddArchive
) -> None:
    others = [f"T{number:05d}" for number in OTHERS]
    assert patients(night) == [WHO, WHO, *others]
    assert words_left(night)
    summary = forget(night)
    assert (summary.images, summary.fetched) == (2, 2)
    assert patients(night) == others
    assert words_left(night) == []
    assert words_left(night, OTHERS)
    key = night / "in.pull.sqlite.key"
    assert key.stat().st_mode & 0o777 == 0o600
    archive.fetched.clear()
    for changes in ({}, {"study_date": archive.films[0].StudyDate}):
        again = pull(night / "in", to(archive.url), **changes)
        assert (again.exit_code, again.fetched.stored, again.fetched.known) == (0, 0, 4)
    assert archive.fetched == []
    assert words_left(night) == []
    # Another film of theirs does come, for a list does not say whose it is: the scan keeps it out.
    archive.films += some(1, first=7, PatientID=WHO)
    assert pull(night / "in", to(archive.url)).fetched.stored == 1
    assert screen(night / "in", night / "out").outcomes["INELIGIBLE"]["PURGED"] == 1
    assert forget(night).fetched == 1
    assert patients(night) == others


def test_what_was_fetched_and_not_scanned_yet_goes_too(night: Path, archive: OddArchive) -> None:
    archive.films += some(1, first=5, PatientID=WHO) + some(1, first=6)
    assert pull(night / "in", to(archive.url)).fetched.stored == 2
    assert forget(night).fetched == 3
    assert patients(night) == ["T00003", "T00004", "T00006"]
    assert words_left(night, (*THEIRS, 5)) == []


def test_a_purge_that_was_cut_before_the_memory_went_is_completed(
    night: Path, archive: OddArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a film that no scan saw, its file alone said whose it is; and that is gone by then."""
    archive.films += some(1, first=5, PatientID=WHO)
    pull(night / "in", to(archive.url))

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "the disk")

    with monkeypatch.context() as patch:
        patch.setattr(PullState, "forget", refuse)
        with pytest.raises(RunError):
            forget(night)
    assert patients(night) == ["T00003", "T00004"]
    assert words_left(night, (5,))
    forget(night)
    assert words_left(night, (*THEIRS, 5)) == []
    assert pull(night / "in", to(archive.url)).fetched.stored == 0


def test_what_could_not_be_fetched_is_not_asked_for_again(
    archive: OddArchive, tmp_path: Path
) -> None:
    archive.films += some(1, first=1, PatientID=WHO, SOPInstanceUID="2.25.9", InstanceNumber=2)
    archive.wado["2.25.9"] = 404
    assert pull(tmp_path / "in", to(archive.url)).left
    screen(tmp_path / "in", tmp_path / "out")
    forget(tmp_path)
    again = pull(tmp_path / "in", to(archive.url))
    assert (again.exit_code, again.left, again.fetched.known) == (0, {}, 5)


def test_files_that_others_laid_there_stay(night: Path) -> None:
    theirs = next(path for path in (night / "in").rglob("*.dcm") if WHO in str(dcmread(path)))
    laid = night / "in" / "by hand.dcm"
    laid.write_bytes(theirs.read_bytes())
    screen(night / "in", night / "out")
    assert forget(night).fetched == 2
    assert laid.exists()
    assert screen(night / "in", night / "out").outcomes["INELIGIBLE"]["PURGED"] == 1


def test_a_state_elsewhere_is_named(archive: OddArchive, tmp_path: Path) -> None:
    elsewhere = tmp_path / "known" / "state"
    elsewhere.parent.mkdir()
    pull(tmp_path / "in", to(archive.url), state=elsewhere)
    screen(tmp_path / "in", tmp_path / "out")
    with pytest.raises(UsageError, match="no state of a pull"):
        forget(tmp_path, tmp_path / "in")
    assert forget(tmp_path, tmp_path / "in", elsewhere).fetched == 2


def test_a_pull_at_work_is_waited_for(night: Path) -> None:
    with state_lock(night / "in.pull.sqlite.lock"), pytest.raises(LockedError):
        forget(night)
    assert len(patients(night)) == 4
    with closing(sqlite3.connect(night / "out" / "state.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM tombstones").fetchone() == (0,)


def test_without_the_key_nothing_is_fetched(night: Path, archive: OddArchive) -> None:
    forget(night)
    (night / "in.pull.sqlite.key").unlink()
    with pytest.raises(UsageError, match="key"):
        pull(night / "in", to(archive.url))


@needs_strace
def test_the_command_says_what_went_and_a_kill_is_completed(night: Path) -> None:
    words = [
        *(sys.executable, "-m", "screener", "purge", "--patient", WHO),
        *("--out", str(night / "out")),
    ]
    # Killed where its first file goes: the same command goes on.
    traced = [
        *("strace", "-qq", "-o", "/dev/null", "-e", "trace=unlink"),
        *("-e", "inject=unlink:signal=SIGKILL:when=1", *words),
    ]
    killed = subprocess.run(traced, capture_output=True, env=environment(), check=False)
    assert killed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert "fetched files went" in done.stdout
    assert os.fspath(night / "in") in done.stderr
    assert patients(night) == ["T00003", "T00004"]
    assert words_left(night) == []
