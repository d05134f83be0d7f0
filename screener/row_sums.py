"""Sums over runs of rows, as the area filter of `screener.preprocess` needs them.

Each way of adding gives the bits of `np.add.reduce` in float32: sums of integers below 2**24 are
exact there, and floats are added in its order, one row after another.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

_EXACT = 1 << 24
"""Whole numbers below it are exact in float32."""
_NARROW = 512
"""Columns up to which a row of every run at once stays in the processor's cache."""


def sum_rows(plane: NDArray[np.generic], edges: NDArray[np.int64]) -> Plane:
    """Add up the rows of each run: (rows, columns) -> (runs, columns), float32.

    Args:
        plane: (rows, columns), integers or floats.
        edges: Where the runs begin, and where the last one ends; none is empty.
    """
    longest = int(np.diff(edges).max())
    if plane.dtype in (np.uint8, np.uint16, np.int16):
        found = _sum_integers(plane, edges, longest)
        if found is not None:
            return found
    elif plane.dtype == np.float32 and 1 < plane.shape[1] <= _NARROW:
        return _sum_side_by_side(plane.astype(np.float32, copy=False), edges, longest)
    sums = np.empty((len(edges) - 1, plane.shape[1]), np.float32)
    for run, (first, end) in enumerate(itertools.pairwise(edges)):
        # A sum over rows runs along memory: 15 times as fast as `reduceat` does it.
        np.add.reduce(plane[first:end], axis=0, dtype=np.float32, out=sums[run])
    return sums


def _sum_integers(
    plane: NDArray[np.generic], edges: NDArray[np.int64], longest: int
) -> Plane | None:
    """In 16 bits, several runs of rows a run where one would overflow: a third of the time.

    None where the values are too large for that.
    """
    words: NDArray[Any] = plane.astype(np.uint16) if plane.dtype == np.uint8 else plane
    largest = max(int(words.max()), -int(words.min()) if words.dtype == np.int16 else 0, 1)
    at_once = int(np.iinfo(words.dtype).max) // largest
    if at_once < 2 or longest * largest >= _EXACT:
        return None
    if longest <= at_once:
        whole = np.empty((len(edges) - 1, words.shape[1]), words.dtype)
        for run, (first, end) in enumerate(itertools.pairwise(edges)):
            np.add.reduce(words[first:end], axis=0, dtype=words.dtype, out=whole[run])
        return whole.astype(np.float32)
    sums = np.zeros((len(edges) - 1, words.shape[1]), np.float32)
    for run, (first, end) in enumerate(itertools.pairwise(edges)):
        for start in range(first, end, at_once):
            stop = min(start + at_once, end)
            sums[run] += np.add.reduce(words[start:stop], axis=0, dtype=words.dtype)
    return sums


def _sum_side_by_side(plane: Plane, edges: NDArray[np.int64], longest: int) -> Plane:
    """The first row of every run, then the second of every run that has one, and so on."""
    first, lengths = edges[:-1], np.diff(edges)
    sums = plane[first]
    for further in range(1, longest):
        has = lengths > further
        if has.all():
            sums += plane[first + further]
        else:
            sums[has] += plane[first[has] + further]
    return sums
