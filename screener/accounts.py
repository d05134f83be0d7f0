"""Whose account runs this and whose a folder is, and the words of commands for a shell."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from screener.errors import UsageError


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


def may_see_file(path: Path) -> bool:
    """Whether a regular file is there.

    Unlike `Path.is_file`, which takes some of what the account may not look at for nothing.

    Raises:
        OSError: It cannot be looked for.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def this_account() -> str:
    """Who runs this, for a command: `$USER` is root's own where root calls it by `runuser`."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def refuse_root(out: Path) -> None:
    """Refuse to write as root into the output folder of another account.

    Keys, logs and kept reports of root can neither be read nor linked by that account: each of its
    nights would fail from then on. A file is made to see whose it becomes, for on many a share
    (CIFS, NFS without root) every file has one owner.

    Raises:
        UsageError: this is root, and what it would write is not the folder's owner's.
    """
    if os.geteuid() != 0:
        return
    # What is missing or cannot be written is told by whoever makes or opens it.
    with suppress(OSError):
        owner = out.stat().st_uid
        # Its own folder is not touched: a file is made only where it decides.
        if owner == 0 or owner == _owner_of_new(out):
            return
        try:
            account = f"runuser -u {pwd.getpwuid(owner).pw_name} --"
        except KeyError:
            account = f"setpriv --reuid={owner} --clear-groups"
        raise UsageError(
            f"the output folder {str(out)!r} is another account's, and this is root",
            "that account could not read what root writes; nothing was written",
            f"put `{account}` before the command, or give the folder to root",
        )


def _owner_of_new(folder: Path) -> int:
    """Whose a file becomes that is made in a folder."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        return os.fstat(stream.fileno()).st_uid
