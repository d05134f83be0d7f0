"""`screener.row_sums`: faster ways of adding give the same bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screener.row_sums import sum_rows


def reduced(plane: np.ndarray, edges: np.ndarray) -> np.ndarray:
    runs = itertools.pairwise(edges)
    return np.stack(
        [np.add.reduce(plane[first:end], axis=0, dtype=np.float32) for first, end in runs]
    )


@st.composite
def planes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    runs, columns = draw(st.integers(1, 6)), draw(st.sampled_from([1, 7, 511, 600]))
    lengths = draw(st.lists(st.integers(1, 40), min_size=runs, max_size=runs))
    edges = np.cumsum([0, *lengths])
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    shape = int(edges[-1]), columns
    kind = draw(st.sampled_from(["u1", "u2", "i2", "i4", "f4", "f8"]))
    if kind[0] == "f":
        return (random.standard_normal(shape) * 3000).astype(kind), edges
    bits = draw(st.integers(1, min(8 * int(kind[1]), 20)))
    lowest = -(1 << (bits - 1)) if kind[0] == "i" else 0
    return random.integers(lowest, lowest + (1 << bits), shape).astype(kind), edges


@given(planes())
def test_the_bits_are_the_same(case: tuple[np.ndarray, np.ndarray]) -> None:
    plane, edges = case
    assert sum_rows(plane, edges).tobytes() == reduced(plane, edges).tobytes()


@pytest.mark.parametrize("kind", ["u1", "u2", "i2"])
def test_the_largest_values_do_not_overflow(kind: str) -> None:
    for value in (np.iinfo(kind).min, np.iinfo(kind).max):
        # 300 rows of the largest 16-bit value pass what float32 holds exactly.
        plane = np.full((300, 9), value, kind)
        edges = np.array([0, 1, 20, 300])
        assert sum_rows(plane, edges).tobytes() == reduced(plane, edges).tobytes()
