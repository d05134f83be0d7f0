"""Commands in a real terminal of a given size: what a person would see, as bytes and as text."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

STYLE = re.compile(r"\x1b\[[\d;]*m")
_CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


def in_terminal(
    *arguments: str | os.PathLike[str],
    cwd: Path,
    columns: int = 110,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 60,
) -> tuple[int, str]:
    """Run the program with a terminal as its standard streams: exit code, all that was written."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    names = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    surroundings = {"HOME": str(cwd), "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "screener", *map(os.fspath, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env=kept | surroundings | dict(environment or {}),
    )
    os.close(theirs)
    written = b""
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.5)[0]:
                continue
            try:
                part = os.read(ours, 65536)
            except OSError:
                # Linux says so of a terminal that its last process has closed.
                break
            if not part:
                break
            written += part
        return process.wait(timeout=10), written.decode().replace("\r\n", "\n")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


def plain(written: str) -> str:
    """What was written, without colours and movements."""
    return _CONTROL.sub("", written)
