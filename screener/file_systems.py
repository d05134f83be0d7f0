"""Which file systems make inodes and change times up, so that they differ from night to night.

Between the walk and `screener.rescan`. Such a number must not make a million films look changed;
size and modification time still do, and a thirtieth of the content is hashed again each night.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MADE_UP = frozenset(
    {
        # FAT has neither: the kernel counts inodes as it looks them up.
        "vfat", "msdos", "exfat",
        # A driver in user space may number as it likes, and sshfs does so at each mount.
        "fuse", "fuseblk", "vboxsf", "vmhgfs",
    }
)  # fmt: skip
# Windows shares: the client makes inodes up unless it takes the server's (mount.cifs(8)).
_SHARES = frozenset({"cifs", "smb3", "smbfs"})
_MOUNTS = Path("/proc/self/mountinfo")
_NUMBERS = re.compile(r"\d+:\d+")


class FileSystems:
    """What is mounted where, asked once a run."""

    def __init__(self, mounts: Path = _MOUNTS) -> None:
        """Read the table of mounts; without one every file system is taken for a sound one."""
        self._made_up: set[int] = set()
        try:
            text = mounts.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        for line in text.splitlines():
            # proc(5): id, parent, major:minor, ..., "-", type, source, options.
            before, _, after = line.partition(" - ")
            fields = before.split()
            kind, *options = after.split() or [""]
            if len(fields) > 2 and _NUMBERS.fullmatch(fields[2]) and _makes_up(kind, options):
                major, minor = map(int, fields[2].split(":"))
                self._made_up.add(os.makedev(major, minor))

    def makes_up(self, device: int) -> bool:
        """Whether inodes and change times of this device (`st_dev`) mean nothing."""
        return device in self._made_up


def _makes_up(kind: str, options: list[str]) -> bool:
    if kind in _SHARES:
        return "serverino" not in options[-1].split(",") if options else True
    return kind in MADE_UP or kind.startswith("fuse.")
