"""Root and the account of the nightly run: what root would leave in its folder stops its nights."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from screener import accounts, doctor
from screener.accounts import refuse_root
from screener.doctor import State, examine_machine
from screener.durable import disk_errors
from screener.errors import RunError, UsageError
from screener.lock import run_lock
from screener.pacs.doors import DicomWeb
from screener.pacs.pull import pull
from screener.settings import Settings
from tests.films import TINY, night

ACCOUNT = 65534


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output folder of another account, seen by root; for others as root would see it."""
    folder = tmp_path / "out"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(folder, ACCOUNT, ACCOUNT)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(accounts, "_owner_of_new", lambda _: 0)
    return folder


def test_root_writes_nothing_into_the_folder_of_another_account(foreign: Path) -> None:
    with (
        pytest.raises(UsageError, match="another account's") as raised,
        run_lock(foreign, foreign / "state.sqlite"),
    ):
        pass
    assert raised.value.mend.startswith(("put `runuser -u ", "put `setpriv --reuid="))
    assert list(foreign.iterdir()) == []


def test_the_command_makes_no_log_before_it_refuses(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from screener.cli import scan

    log = tmp_path / "scan.jsonl"
    monkeypatch.setattr(sys, "argv", ["screener", "scan"])
    with pytest.raises(UsageError, match="this is root"):
        scan([night(tmp_path / "studies")], foreign, log=log, model=TINY)
    assert not log.exists()


def test_root_fetches_nothing_into_the_studies_of_another_account(foreign: Path) -> None:
    settings = Settings(dicomweb=DicomWeb(url="http://127.0.0.1:9"))
    with pytest.raises(UsageError, match="this is root"):
        pull(foreign, settings)
    assert [each.name for each in foreign.parent.iterdir()] == [foreign.name]
    assert list(foreign.iterdir()) == []


def test_a_share_where_every_file_has_one_owner_is_written(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_owner_of_new", lambda folder: folder.stat().st_uid)
    refuse_root(foreign)


def test_other_accounts_and_missing_folders_are_left_to_the_system(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_root(tmp_path / "none")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    refuse_root(foreign)


def test_the_doctor_says_who_is_asked(foreign: Path) -> None:
    failed = [line for line in examine_machine(TINY, foreign) if line.state is State.FAILS]
    assert [line.found for line in failed] == ["another account's, and this is root"]
    assert failed[0].mend.startswith("put `")


def test_the_doctor_finds_what_another_account_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("state.sqlite", "state.sqlite-wal", ".lock"):
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "access", lambda path, _: path.name not in {"state.sqlite", ".lock"})
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 4711)
    failed = [line for line in doctor._folder(tmp_path) if line.state is State.FAILS]
    assert [line.found for line in failed] == [".lock, state.sqlite may not be written"]
    assert failed[0].mend == f"chown -R 4711 {tmp_path}"


@pytest.mark.parametrize(
    ("code", "mend"), [(errno.EACCES, "chown -R"), (errno.EPERM, "chown -R"), (errno.EIO, "disk")]
)
def test_what_is_denied_is_not_put_down_to_the_disk(code: int, mend: str) -> None:
    with pytest.raises(RunError, match="could not be written") as raised, disk_errors():
        raise OSError(code, "")
    assert mend in raised.value.mend


def test_nothing_is_tried_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(folder: Path) -> int:
        raise AssertionError(f"a file was made in {folder}")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(accounts, "_owner_of_new", tried)
    (tmp_path / "out").mkdir()
    status = os.stat(tmp_path / "out")
    monkeypatch.setattr(Path, "stat", lambda _: os.stat_result((*status[:4], 0, *status[5:10])))
    refuse_root(tmp_path / "out")
