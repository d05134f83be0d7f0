"""What one film costs the program itself, and whether that grows with the archive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.machine import Ran, scan
from tests.films import TINY, dataset, draw, save

REPEATED = 3
_FIRST = 10_000_000
"""So that all numbers of small films have as many digits as the template's."""


def measure_cost(folder: Path, fewer: int, large: int) -> dict[str, Any]:
    """Processor seconds a file at 1,000 and at many files, the start of the program taken off.

    A processor that others use too is at times half as fast as at others. So half of the short
    scans come before the long one and half behind it, and their least and most are told.
    """
    trees = {count: _small_films(folder / f"{count}", count) for count in (1, fewer, large)}
    os.sync()
    ran: dict[int, list[Ran]] = {count: [] for count in trees}
    short = [1, fewer] * REPEATED
    for number, count in enumerate([*short, large, *short]):
        out = folder / f"out-{number}"
        measured, facts = scan(trees[count], out, TINY)
        if facts["paths"] != count:
            raise SystemExit(f"{count} small films gave {facts['outcomes']}")
        ran[count].append(measured)
        shutil.rmtree(out)
    base = fmean(one.cpu_s for one in ran[1])
    each = {count: [1000 * (one.cpu_s - base) / (count - 1) for one in ran[count]]
            for count in (fewer, large)}  # fmt: skip
    small, much = fmean(each[fewer]), fmean(each[large])
    return {
        "counts": [fewer, large],
        "core_ms_a_file": [round(small, 3), round(much, 3)],
        "least_and_most": [round(min(each[fewer]), 3), round(max(each[fewer]), 3)],
        "ratio": round(much / small, 3),
        "peak_mib": [max(one.peak_mib for one in ran[count]) for count in (fewer, large)],
    }


def _small_films(tree: Path, count: int) -> Path:
    """Films of one template, each of an instance, series, study and window of its own."""
    film = dataset(draw(1), _FIRST, WindowCenter="2000.000000", WindowWidth=3600)
    template = save(film, tree.with_name(f"{tree.name}-template")).read_bytes()
    for number in range(count):
        inner = tree / f"{number // 1000:04d}"
        inner.mkdir(parents=True, exist_ok=True)
        window = f"{1900 + number * 0.002:011.6f}".encode()
        content = template.replace(b"2000.000000", window)
        for kind in (1000, 2000, 3000):
            own = f"2.25.{kind + _FIRST + number}".encode()
            content = content.replace(f"2.25.{kind + _FIRST}".encode(), own)
        (inner / f"{number:07d}").write_bytes(content)
    return tree
