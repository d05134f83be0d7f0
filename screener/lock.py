"""One run at a time on a state and on an output folder, under the account that the folder is of.

`flock` frees itself when a run is killed. The descriptors are close-on-exec and no process is
forked from the scan, so an orphaned worker can never hold the lock on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from screener.accounts import refuse_root
from screener.errors import LockedError, RunError


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
