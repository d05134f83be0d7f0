"""Memory and counts do not depend on how many files there are.

`long` runs 20,000 entries, `soak` a million; the figures of a soak are kept in
`tests/faults/RECORD.md` with date, commit and command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.films import TINY, dataset, draw, save

MEASURE = """
import resource, sys
from screener.screening import scan
from screener.settings import Settings
from pathlib import Path
scan([sys.argv[1]], sys.argv[2], Settings(model=Path(sys.argv[3])))
peak = max(resource.getrusage(who).ru_maxrss for who in (
    resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(peak // 1024)
"""


def populate(folder: Path, entries: int) -> dict[str, int]:
    """A tree of text files with 1 % faults: cut films, pipes, links, empty files, one each."""
    film = save(dataset(draw(1, size=160), 1), folder / "film").read_bytes()
    counts = {"SCORED": 1, "FAILED": 0, "NOT_AN_IMAGE": 0}
    for number in range(entries - 1):
        inner = folder / f"{number // 1000:04d}"
        if number % 1000 == 0:
            inner.mkdir()
        path = inner / f"{number:07d}"
        kind = number % 400
        if kind == 1:
            path.write_bytes(film[: 2000 + number % 1000])
            os.utime(path, (1, 1))
        elif kind == 2:
            os.mkfifo(path)
        elif kind == 3:
            path.symlink_to(folder / "film")
        elif kind == 4:
            path.touch()
        else:
            path.write_bytes(b"note %d\n" % number)
        counts["FAILED" if kind == 1 else "NOT_AN_IMAGE"] += 1
    return counts


def scan_tree(folder: Path, out: Path) -> tuple[int, float]:
    """Peak memory of the largest process in MiB, and seconds."""
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(out), str(TINY)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(ended.stdout), time.monotonic() - started


def check(tmp_path: Path, entries: int) -> None:
    small_mib, _ = _scan(tmp_path / "small", 1000)
    large_mib, elapsed_s = _scan(tmp_path / "large", entries)
    again_mib, again_s = scan_tree(tmp_path / "large" / "tree", tmp_path / "large" / "out")
    print(
        f"{entries} entries: {elapsed_s:.0f} s, {large_mib} MiB (1,000: {small_mib} MiB); "
        f"again {again_s:.0f} s, {again_mib} MiB"
    )
    assert max(large_mib, again_mib) < small_mib + 100


def _scan(folder: Path, entries: int) -> tuple[int, float]:
    folder.mkdir()
    (folder / "tree").mkdir()
    counts = populate(folder / "tree", entries)
    measured = scan_tree(folder / "tree", folder / "out")
    found = json.loads((folder / "out" / "run.json").read_text())["outcomes"]
    assert {outcome: sum(codes.values()) for outcome, codes in found.items()} == counts
    return measured


@pytest.mark.long
def test_twenty_thousand_entries(tmp_path: Path) -> None:
    check(tmp_path, 20_000)


@pytest.mark.soak
def test_a_million_entries(tmp_path: Path) -> None:
    check(tmp_path, 1_000_000)
