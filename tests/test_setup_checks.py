"""What init tries: each test makes one thing wrong for real."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from screener import setup_checks
from screener.doctor import Line, State
from screener.setup_checks import check_setup


def check(tmp_path: Path, **changes: object) -> dict[str, Line]:
    """Lines by subject: everything is right but for `changes`."""
    for name in ("studies", "out"):
        (tmp_path / name).mkdir(exist_ok=True)
    given = {
        "program": Path("/bin/true"),
        "interpreter": Path("/bin/sh"),
        "studies": tmp_path / "studies",
        "out": tmp_path / "out",
        "cron": "0 2 * * * screener /bin/true || [ $? -eq 3 ]",
    }
    return {line.subject: line for line in check_setup(**(given | changes))}  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account of the nightly run is the one that runs the tests."""
    monkeypatch.setattr(setup_checks, "ACCOUNT", pwd.getpwuid(os.getuid()).pw_name)


def test_all_is_well(tmp_path: Path) -> None:
    lines = check(tmp_path)
    assert {line.state for line in lines.values()} == {State.WORKS}
    assert set(lines) == {"program", "account", "studies", "output", "cron line"}


def test_an_account_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_checks, "ACCOUNT", "nosuchaccount")
    line = check(tmp_path)["account"]
    assert line.state is State.FAILS
    assert line.mend.startswith("useradd --system ")


def test_an_output_folder_of_someone_else(tmp_path: Path) -> None:
    line = check(tmp_path, out=Path("/proc"))["output"]
    assert (line.state is State.FAILS) is (os.getuid() != 0)


def test_a_program_that_is_not_there_or_closed_to_others(tmp_path: Path) -> None:
    assert "cannot be run" in check(tmp_path, program=tmp_path / "none")["program"].found
    folder = tmp_path / "a b"
    folder.mkdir(mode=0o700)
    program = folder / "screener"
    shutil.copy("/bin/true", program)
    program.chmod(0o755)
    line = check(tmp_path, program=program)["program"]
    assert line.state is State.FAILS
    assert line.mend.startswith("chmod o+x ")
    # A Python in someone's home is closed to others, however open the script is.
    assert check(tmp_path, interpreter=program)["program"].state is State.FAILS


def test_a_cron_line_that_no_shell_can_read(tmp_path: Path) -> None:
    line = check(tmp_path, cron="0 2 * * * screener scan 'half")["cron line"]
    assert line.state is State.FAILS


def test_units_that_systemd_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = tmp_path / "screener.service"
    unit.write_text("[Service]\nType=nonsense\n", encoding="utf-8")
    if shutil.which("systemd-analyze"):
        line = check(tmp_path, cron="", units=[unit])["units"]
        assert line.state is State.FAILS
        assert line.mend == f"systemd-analyze verify {unit}"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check(tmp_path, cron="", units=[unit])["units"].state is State.ABSENT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another account")
def test_what_root_keeps_to_itself_is_closed_to_the_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A root whose umask is 077 makes a site file that no night can read."""
    monkeypatch.setattr(setup_checks, "ACCOUNT", "nobody")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        top = Path(name)
        top.chmod(0o755)
        folder = top / "etc"
        folder.mkdir(mode=0o700)
        config = folder / "site.toml"
        config.touch(0o600)
        studies = top / "studies"
        studies.mkdir(mode=0o700)
        program = top / "screener"
        program.write_text("#!/bin/sh\ntest -r /root\n", encoding="utf-8")
        program.chmod(0o755)
        lines = check(top, config=config, studies=studies, program=program)
        failing = {subject for subject, line in lines.items() if line.state is State.FAILS}
        assert failing == {"program", "studies", "output", "site file"}
        subprocess.run(["sh", "-euc", lines["site file"].mend], check=True)
        studies.chmod(0o755)
        program.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        lines = check(top, config=config, studies=studies, program=program)
        assert {subject for subject, line in lines.items() if line.state is State.FAILS} == {
            "output"
        }
        top.chmod(0o700)
        assert check(top, config=config)["site file"].mend.startswith(f"chmod o+x {top}, ")
