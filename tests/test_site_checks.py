"""What a site file names is tried by the doctor: each test breaks one for real."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from pathlib import Path

import pytest

from screener.doctor import Line, State, _folder
from screener.errors import UsageError
from screener.identifiers import read_or_make_key
from screener.log import EventLog
from screener.settings import Output, Settings
from screener.site_checks import check_site
from tests.conftest import Run

TINY = Path(__file__).parent / "data" / "tiny.onnx"


def only(settings: Settings, out: Path) -> Line:
    (line,) = check_site(settings, out)
    return line


def test_nothing_named_is_nothing_tried(tmp_path: Path) -> None:
    assert list(check_site(Settings(), tmp_path)) == []


def test_what_works_leaves_nothing_behind(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    settings = Settings(
        state=tmp_path / "state.sqlite",
        log=tmp_path / "scan.jsonl",
        identifiers="pseudonym",
        output=Output(group=group),
    )
    lines = list(check_site(settings, tmp_path / "report"))
    assert [line.subject.split()[0] for line in lines] == ["state", "log", "group", "key"]
    assert {line.state for line in lines} == {State.WORKS}
    assert list(tmp_path.iterdir()) == []
    for name in ("state.sqlite", "scan.jsonl"):
        (tmp_path / name).write_bytes(b"{}\n")
    read_or_make_key(tmp_path / "report.key")
    assert {line.state for line in check_site(settings, tmp_path / "report")} == {State.WORKS}
    assert (tmp_path / "scan.jsonl").read_bytes() == b"{}\n"


def test_a_state_or_log_in_no_folder_fails_with_the_command(tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "file"
    for settings in (Settings(state=nowhere), Settings(log=nowhere)):
        line = only(settings, tmp_path)
        assert line.state is State.FAILS
        assert line.mend.startswith(f"mkdir -p {nowhere.parent} ")
    assert only(Settings(state=tmp_path), tmp_path).found == "no regular file"
    assert only(Settings(log=tmp_path), tmp_path).mend.startswith("let this account write in")


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
def test_a_log_that_a_scan_would_not_open_fails(kind: str, tmp_path: Path) -> None:
    log = tmp_path / "scan.jsonl"
    if kind == "pipe":
        os.mkfifo(log)
    else:
        log.symlink_to(tmp_path / "other")
    if kind == "link":
        (tmp_path / "other").touch()
    line = only(Settings(log=log), tmp_path)
    assert line.state is State.FAILS
    assert line.mend
    # At once, though nobody reads the pipe.
    with pytest.raises(UsageError, match="cannot be written"):
        EventLog(log)


def test_a_key_that_cannot_be_made_or_read_fails(tmp_path: Path) -> None:
    settings = Settings(identifiers="pseudonym")
    line = only(settings, tmp_path / "none" / "report")
    assert line.state is State.FAILS
    assert "/dev/stdin" in line.mend
    (tmp_path / "none").mkdir()
    mend = line.mend.removeprefix("as root: ")
    subprocess.run(["bash", "-euc", mend], check=True)
    assert only(settings, tmp_path / "none" / "report").found.startswith("can be read")
    (tmp_path / "report.key").write_text("no key")
    (tmp_path / "report.key").chmod(0o600)
    assert "is no key" in only(settings, tmp_path / "report").found


def test_a_group_that_the_account_is_not_in_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    settings = Settings(output=Output(group=group))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert only(settings, tmp_path).state is State.WORKS
    monkeypatch.setattr(os, "getegid", lambda: 4711)
    monkeypatch.setattr(os, "getgroups", list)
    line = only(settings, tmp_path)
    assert line.state is State.FAILS
    assert line.mend.startswith(f"usermod -a -G {group} ")
    assert "$USER" not in line.mend


def test_a_share_holds_a_report_whose_state_is_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("screener.doctor", "screener.site_checks"):
        monkeypatch.setattr(f"{module}.file_system", lambda _: "nfs4")
    assert [line.state for line in _folder(tmp_path)][-2:] == [State.FAILS, State.WORKS]
    assert State.FAILS not in {line.state for line in _folder(tmp_path, state_elsewhere=True)}
    assert only(Settings(state=tmp_path / "s"), tmp_path).found.startswith("on nfs4")


def test_the_command_tries_the_site_file(run_screener: Run, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('state = "none/state.sqlite"\n', encoding="utf-8")
    done = run_screener("doctor", "--model", TINY, "--config", "site.toml")
    assert done.returncode == 1
    assert "mkdir -p none" in done.stdout


def test_a_log_that_is_another_file_fails(tmp_path: Path) -> None:
    film = tmp_path / "film"
    film.write_bytes(bytes(132))
    assert only(Settings(log=film), tmp_path).state is State.FAILS
    film.write_bytes(b"")
    assert only(Settings(log=film), tmp_path).state is State.WORKS


def test_what_mends_names_the_account_and_quotes_the_folder(tmp_path: Path) -> None:
    """`$USER` is root's where root runs the doctor as the account of the scans."""
    account = pwd.getpwuid(os.geteuid()).pw_name
    folder = tmp_path / "my report"
    (line,) = _folder(folder)
    assert line.mend == f"mkdir -p '{folder}' && chown {account} '{folder}' && chmod 700 '{folder}'"
    subprocess.run(["sh", "-euc", line.mend], check=True)
    assert [line.state for line in _folder(folder)] == [State.WORKS]
