"""What is said of a state that is none, or that fails, or of the disk that it lies on."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from screener.accounts import may_see_file
from screener.errors import RunError, UsageError

# The last two are what Python's module says of text that is no UTF-8.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "OperationalError", "UnicodeDecodeError")
_DENIED = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")
_HELD = ("SQLITE_BUSY", "SQLITE_LOCKED")


@contextmanager
def state_errors(path: Path) -> Iterator[None]:
    """Make of an error of a database what a user can act on.

    Raises:
        RunError: the state failed; names SQLite's code, for its words may hold values.
    """
    try:
        yield
    except sqlite3.Error as error:
        reason, mend = reason_and_mend(error)
        raise RunError(
            f"the state {str(path)!r} failed: {reason}", "what was done before is kept", mend
        ) from error


def reason_and_mend(error: Exception) -> tuple[str, str]:
    """Why a disk or a state on it failed, and what to do.

    Args:
        error: An OSError or one of SQLite, whose words may hold values and are not repeated.
    """
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
    else:
        reason = getattr(error, "sqlite_errorname", None) or type(error).__name__
    if reason.startswith(_DAMAGED):
        return reason, "the state is damaged: put its backup there, or move it away to start anew"
    mend = "free space or mend the disk"
    if reason.startswith(_DENIED) or getattr(error, "errno", None) in {errno.EACCES, errno.EPERM}:
        mend = (
            "give the folder and all in it to the account that runs this (chown -R), or mount it"
            " writable"
        )
    if reason.startswith(_HELD):
        mend = "wait for the program that holds the state (a backup, a shell), or end it"
    return reason, f"{mend}, then run the same command again"


def refuse_no_file(path: Path) -> None:
    """Refuse a state that is a folder, a pipe or a device; it may not be there yet.

    Raises:
        UsageError: as said.
    """
    # Not of `Path`, which raises where this account may not look.
    if os.path.exists(path) and not os.path.isfile(path):
        raise UsageError(f"the state {str(path)!r} is no regular file", mend="name another")


def require_state(path: Path) -> None:
    """Refuse to go on without a state.

    Raises:
        UsageError: there is none, or none that this account may see.
    """
    try:
        found = may_see_file(path)
    except OSError as error:
        raise UsageError(
            f"the state {str(path)!r} cannot be looked for",
            os.strerror(error.errno or 0),
            "run this as the account that scans",
        ) from None
    if not found:
        raise UsageError(
            f"no state {str(path)!r}", "it is written by `screener scan`", "name it with --state"
        )
