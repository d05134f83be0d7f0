"""What `screener init` has set up, tried: each line that fails names the command that mends it."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from screener.accounts import quoted
from screener.doctor import Line, State
from screener.site_template import ACCOUNT

_PATIENCE_S = 60


def check_setup(
    program: Path,
    interpreter: Path,
    studies: Path,
    out: Path,
    cron: str,
    units: Sequence[Path] = (),
    config: Path | None = None,
) -> Iterator[Line]:
    """Try what the nightly run will need.

    Args:
        program: What cron or systemd will start.
        interpreter: The Python that runs it, which may lie in someone's home.
        studies: The folder that is scanned.
        out: The output folder.
        cron: The line for cron; empty where units are written.
        units: The unit files that were written.
        config: The site file that was written.
    """
    yield _program(program, interpreter)
    uid: int | None = None
    try:
        uid = pwd.getpwnam(ACCOUNT).pw_uid
    except KeyError:
        mend = f"useradd --system --create-home --home-dir /var/lib/{ACCOUNT} {ACCOUNT}"
        yield Line("account", State.FAILS, f"no account {ACCOUNT!r} here", mend)
    else:
        yield Line("account", State.WORKS, f"{ACCOUNT}, uid {uid}")
    yield _studies(studies)
    yield _output(out, uid)
    if config is not None and uid is not None:
        yield _site_file(config)
    if cron:
        yield _cron(cron)
    if units:
        yield _units(units)


def _program(program: Path, interpreter: Path) -> Line:
    if not os.access(program, os.X_OK):
        mend = "call init by the program's whole path, which cron will need"
        return Line("program", State.FAILS, f"{program} cannot be run", mend)
    closed = [
        place
        for file in (program.resolve(), interpreter.resolve())
        for place in (file, *file.parents)
        if not place.stat().st_mode & stat.S_IXOTH
    ]
    if closed:
        mend = f"chmod o+x {quoted(closed[-1])}, or install program and Python under /opt"
        return Line("program", State.FAILS, f"other accounts may not use {closed[-1]}", mend)
    if _as_account(program, "--version") is False:
        # A root whose files are its own alone (umask 077) has closed what the script loads.
        mend = f"chmod -R go+rX {quoted(Path(sys.prefix))}, and what is above it"
        return Line("program", State.FAILS, f"{ACCOUNT} cannot run {program}", mend)
    return Line("program", State.WORKS, f"{program}")


def _studies(studies: Path) -> Line:
    if not os.path.isdir(studies):
        return Line("studies", State.FAILS, f"no folder {studies}", f"mount {quoted(studies)}")
    if _as_account("test", "-r", studies, "-a", "-x", studies) is False:
        mend = f"let it, by the group of the studies for example: usermod -a -G GROUP {ACCOUNT}"
        return Line("studies", State.FAILS, f"{ACCOUNT} may not list {studies}", mend)
    return Line("studies", State.WORKS, f"{studies}")


def _site_file(config: Path) -> Line:
    if _as_account("test", "-r", config) is not False:
        return Line("site file", State.WORKS, f"{config}")
    folder = config.parent
    closed = [place for place in folder.parents if _as_account("test", "-x", place) is False]
    if closed:
        mend = f"chmod o+x {quoted(closed[-1])}, or have the file elsewhere"
    else:
        both = f"{quoted(folder)} {quoted(config)}"
        mend = f"chgrp {_group()} {both} && chmod g+rX {both}"
    return Line("site file", State.FAILS, f"{ACCOUNT} may not read {config}", mend)


def _group() -> str:
    """The account's own group, whose name is not always the account's."""
    gid = pwd.getpwnam(ACCOUNT).pw_gid
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _as_account(*command: str | Path) -> bool | None:
    """Whether a command succeeds as the account of the nights; None where that cannot be asked."""
    try:
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None
    become: dict[str, Any] = {}
    if os.geteuid() != account.pw_uid:
        if os.geteuid() != 0:
            return None
        groups = os.getgrouplist(ACCOUNT, account.pw_gid)
        become = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
    try:
        done = subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_PATIENCE_S,
            **become,
        )
    except OSError:
        return False
    return done.returncode == 0


def _output(out: Path, uid: int | None) -> Line:
    mend = f"install -d -o {ACCOUNT} -m 700 {quoted(out)}"
    if not os.path.isdir(out):
        return Line("output", State.FAILS, f"no folder {out}", mend)
    if uid is not None and out.stat().st_uid != uid:
        return Line("output", State.FAILS, f"{out} is not {ACCOUNT}'s", mend)
    return Line("output", State.WORKS, f"{out}")


def _cron(line: str) -> Line:
    """Whether the shell that cron starts can read the command."""
    *_, command = line.split(" ", 6)
    done = subprocess.run(
        ["/bin/sh", "-n", "-c", command.replace("\\%", "%")],
        capture_output=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    if done.returncode:
        mend = "give the folders names without quotes and signs"
        return Line("cron line", State.FAILS, "the shell cannot read it", mend)
    return Line("cron line", State.WORKS, "the shell can read it")


def _units(units: Sequence[Path]) -> Line:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        return Line("units", State.ABSENT, "not checked: systemd-analyze is not here")
    done = subprocess.run(
        [verify, "verify", *map(str, units)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=_PATIENCE_S,
    )
    said = (done.stderr or done.stdout).strip().splitlines()
    if done.returncode or said:
        mend = f"systemd-analyze verify {shlex.join(map(str, units))}"
        return Line("units", State.FAILS, said[0] if said else "not valid", mend)
    return Line("units", State.WORKS, "systemd-analyze finds nothing wrong")
