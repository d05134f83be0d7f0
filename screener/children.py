"""Processes of the program's own: they run its files and nobody else's, and end when it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1


def start(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a module of the program; it gets this process's id as its last argument.

    What it prints as an error could hold what it read; it goes nowhere.

    Raises:
        OSError: No process can be had.
    """
    path = os.pathsep.join(part for part in sys.path if part)
    return subprocess.Popen(
        # Never from the working folder: a `pydicom.py` may lie among the studies.
        [sys.executable, "-P", "-m", module, *arguments, str(os.getpid())],
        pass_fds=pass_fds,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {}), "PYTHONPATH": path},
    )


def live_with(parent: int) -> None:
    """End when the parent ends, and not when a terminal or systemd signals the whole group.

    Asks the kernel for SIGKILL (prctl(2), PR_SET_PDEATHSIG). The parent decides when work ends.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with(parent)


def die_with(parent: int) -> None:
    """End when the parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
