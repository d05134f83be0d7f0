"""Faults of the disk at chosen system calls of a whole scan, made by strace.

Only the scan's own thread writes into the output folder, so strace follows no other: the n-th call
of a kind stays the n-th. The workers' reading is disturbed by the path of a film.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.faults.nights import (
    Scene,
    check_aftermath,
    check_between,
    check_unread,
    environment,
)

CALLS = (
    "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "openat", "mkdir", "rename", "link",
    "unlink", "chmod", "fchmod", "getdents64", "flock", "fcntl", "mmap", "pread64", "read",
)  # fmt: skip
READING = frozenset({"getdents64", "pread64", "read", "mmap", "fcntl", "flock"})
"""Not in every sweep: they change nothing, and there are many."""
_NEEDS_ROOM = re.compile(r"^(write|pwrite64|mkdir|link|rename|ftruncate|openat.*O_CREAT)")
_STRACE = ("strace", "-qq")


@cache
def can_trace() -> bool:
    """Whether strace is here and this machine lets it trace."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode == 0


needs_strace = pytest.mark.skipif(
    not can_trace(), reason="strace is not installed, or this machine does not let it trace"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at the n-th call of a kind: KILL, or an error once or from then on."""

    call: str
    number: int
    line: str
    kind: str
    lasting: bool

    def of_input(self, scene: Scene) -> bool:
        """Whether the scan cannot read what it is to screen: it says so and goes on."""
        return self.kind != "KILL" and str(scene.studies) in self.line

    @property
    def option(self) -> str:
        """As strace is told."""
        what = "signal=SIGKILL" if self.kind == "KILL" else f"error={self.kind}"
        return f"inject={self.call}:{what}:when={self.number}{'+' if self.lasting else ''}"

    def __str__(self) -> str:
        """For the message of a failing test."""
        often = "lasting" if self.lasting else "once"
        return f"{self.kind} {often} at {self.call} {self.number}: {self.line[:120]}"


def faults_of(scene: Scene, folder: Path) -> list[Fault]:
    """Every fault that can happen where the second night touches its output or the studies."""
    # The first run after a change compiles modules: its calls are more than the next one's.
    words = scene.command(scene.start(folder / "warm"))
    subprocess.run(words, check=False, env=environment(), capture_output=True, timeout=120)
    shutil.rmtree(folder / "warm")
    out = scene.start(folder / "traced")
    faults = faults_in(scene.command(out), folder / "strace.log", out, scene.studies)
    shutil.rmtree(out)
    return faults


def faults_in(words: list[str], log: Path, *places: Path) -> list[Fault]:
    """Every fault that can happen where a command touches one of the places."""
    done = subprocess.run(
        [
            *(*_STRACE, "-y", "-s", "8", "-o", str(log), "-e", f"trace={','.join(CALLS)}"),
            *words,
        ],
        capture_output=True,
        check=False,
        env=environment(),
    )
    assert done.returncode in (0, 3), done.stderr
    counts: dict[str, int] = {}
    faults = []
    for line in log.read_text().splitlines():
        call = line.partition("(")[0]
        counts[call] = counts.get(call, 0) + 1
        if any(str(place) in line for place in places):
            faults += _at(call, counts[call], line)
    return faults


def _at(call: str, number: int, line: str) -> list[Fault]:
    faults = [Fault(call, number, line, "KILL", lasting=False)]
    kinds = ["EIO", "ENOSPC"] if _NEEDS_ROOM.match(line) else ["EIO"]
    return faults + [
        Fault(call, number, line, kind, lasting=lasting)
        for kind in kinds
        for lasting in (False, True)
    ]


def disturb(scene: Scene, fault: Fault, out: Path) -> subprocess.CompletedProcess[str]:
    """Run the second night with one fault."""
    return with_fault(scene.command(out), fault)


def with_fault(words: list[str], fault: Fault) -> subprocess.CompletedProcess[str]:
    """Run a command with one fault."""
    return subprocess.run(
        [
            *(*_STRACE, "-o", "/dev/null", "-e", f"trace={fault.call}", "-e", fault.option),
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=120,
    )


def check_fault(scene: Scene, fault: Fault, out: Path, *, again: bool = False) -> int:
    """Disturb the second night, look at what it left, and rerun it.

    Args:
        scene: Two nights.
        fault: Where and how.
        out: A folder that does not exist; removed where all is well.
        again: Disturb the mending run too, at the same place.

    Returns:
        How the disturbed run ended.
    """
    scene.start(out)
    done = disturb(scene, fault, out)
    allowed = {-9, 137} if fault.kind == "KILL" else {0, 1, 2, 3, 4}
    assert done.returncode in allowed, (str(fault), done.returncode, done.stderr)
    if fault.kind != "KILL":
        assert "a bug" not in done.stderr, (str(fault), done.stderr)
        assert "Traceback" not in done.stderr, (str(fault), done.stderr)
        # A lasting fault of write(2) takes the words away too.
        mute = fault.call == "write" and fault.lasting
        assert done.returncode in (0, 3) or mute or "error: " in done.stderr, str(fault)
    try:
        if fault.of_input(scene) and done.returncode in (0, 3):
            told = check_unread(out)
        else:
            told = check_between(scene, out)
        if again:
            disturb(scene, fault, out)
            told |= check_between(scene, out)
        check_aftermath(scene, out, told)
    except BaseException as error:
        error.add_note(f"{fault}; it ended with {done.returncode}: {done.stderr}")
        raise
    shutil.rmtree(out)
    return done.returncode
