"""One run at a time on a state and on an output folder, under the account that the folder is of.

`flock` frees itself when a run is killed. The descriptors are close-on-exec and no process is
forked from the scan, so an orphaned worker can never hold the lock on.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from screener.errors import LockedError, RunError, UsageError


@contextmanager
def run_lock(out: Path, state: Path) -> Iterator[None]:
    """Hold the locks of a run.

    Raises:
        LockedError: another run holds one of them.
        UsageError: as `refuse_root`.
        RunError: a lock file cannot be opened.
    """
    refuse_root(out)
    with state_lock(out / ".lock", state.with_name(state.name + ".lock")):
        yield


@contextmanager
def state_lock(*files: Path) -> Iterator[None]:
    """Hold locks on files that are made for it; as `run_lock`, which takes two of them.

    Raises:
        LockedError: another run holds one of them.
        RunError: a lock file cannot be opened.
    """
    with ExitStack() as stack:
        for path in sorted(set(files)):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise RunError(
                    f"{str(path)!r} cannot be written",
                    os.strerror(error.errno or 0),
                    "give the account that runs this write permission, or name another folder",
                ) from error
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LockedError(
                    f"another run is at work on {str(path.parent)!r}",
                    "nothing was done",
                    "wait for it, or look for a hung run with `ps`",
                ) from error
        yield


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
