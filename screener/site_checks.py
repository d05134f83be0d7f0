"""What a site file names, tried as the account that runs this: state, log, group, key.

For `screener doctor`, beside `screener.doctor`, which tries the machine and the output folder.
"""

from __future__ import annotations

import errno
import grp
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from screener.accounts import quoted, this_account
from screener.doctor import (
    NETWORK_FILE_SYSTEMS,
    Line,
    State,
    file_system,
    folder_of_account,
    write_in,
)
from screener.errors import ScreenerError
from screener.identifiers import command_for_key, key_path, read_key
from screener.log import LOG_FLAGS, holds_another

if TYPE_CHECKING:
    from screener.settings import Settings


def check_site(settings: Settings, out: Path | None) -> Iterator[Line]:
    """Try what the settings name.

    Args:
        settings: Of the site file.
        out: The output folder; None where it is not to be tried.
    """
    if settings.state is not None:
        yield _state(settings.state)
    if settings.log is not None:
        yield _log(settings.log)
    if settings.output.group:
        yield _group(settings.output.group)
    if settings.identifiers == "pseudonym" and out is not None:
        yield _key(out)


def _state(state: Path) -> Line:
    """The folder of the state, in which SQLite makes files beside it."""
    name, folder = f"state {state}", state.parent
    if os.path.exists(state) and not os.path.isfile(state):
        return Line(name, State.FAILS, "no regular file", "name another in the site file")
    try:
        write_in(folder)
    except OSError as error:
        return Line(name, State.FAILS, os.strerror(error.errno or 0), _made(folder))
    if state.exists() and not os.access(state, os.R_OK | os.W_OK):
        return Line(
            name, State.FAILS, "may not be written", f"chown {this_account()} {quoted(state)}"
        )
    kind = file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        found = f"on {kind}: SQLite needs a local disk"
        return Line(name, State.FAILS, found, "name a file on a local disk")
    return Line(name, State.WORKS, "its folder can be written")


def _log(log: Path) -> Line:
    name = f"log {log}"
    if holds_another(log):
        return Line(name, State.FAILS, "no log of this program", "name another in the site file")
    try:
        if os.path.lexists(log):
            os.close(os.open(log, LOG_FLAGS))
        else:
            write_in(log.parent)
    except OSError as error:
        if error.errno == errno.ELOOP:
            # A log is not written through a link, which may have been put there.
            return Line(name, State.FAILS, "a link", "name the file itself in the site file")
        return Line(name, State.FAILS, os.strerror(error.errno or 0), _made(log.parent))
    return Line(name, State.WORKS, "can be written")


def _group(group: str) -> Line:
    """Only a member, or root, may give a file to a group (chown(2))."""
    name, gid = f"group {group}", grp.getgrnam(group).gr_gid
    if os.geteuid() == 0 or gid in {os.getegid(), *os.getgroups()}:
        return Line(name, State.WORKS, "this account may give files to it")
    mend = f"usermod -a -G {group} {this_account()}"
    return Line(name, State.FAILS, "this account is not in it", mend)


def _key(out: Path) -> Line:
    path = key_path(out)
    name = f"key {path}"
    try:
        if path.exists():
            read_key(path, out)
            return Line(name, State.WORKS, "can be read, by this account alone")
        write_in(path.parent)
    except ScreenerError as error:
        return Line(name, State.FAILS, error.what, error.mend)
    except OSError as error:
        found = f"cannot be made: {os.strerror(error.errno or 0)}"
        return Line(name, State.FAILS, found, f"as root: {command_for_key(path)}")
    return Line(name, State.WORKS, "is made by the first scan")


def _made(folder: Path) -> str:
    if os.path.exists(folder):
        return f"let this account write in {folder}, or name another folder in the site file"
    return folder_of_account(folder)
