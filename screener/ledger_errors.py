"""What is said of a state, or of the disk that it lies on, when it fails."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from screener.errors import RunError

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
