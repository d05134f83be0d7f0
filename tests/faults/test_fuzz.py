"""A few seconds of what `make fuzz` does as long as one likes, and every length of a cut file."""

from __future__ import annotations

import os
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from screener.domain import Examined, Radiograph, Rejection
from screener.examine import examine
from screener.outcomes import Outcome
from tests.faults import fuzz_decoders, fuzz_headers
from tests.faults.mutation import mutant, scramble
from tests.faults.seeds import NAMES, SYNTAXES, seed


def test_seeds_are_many_and_all_are_read(tmp_path: Path) -> None:
    assert len(NAMES) >= 20
    assert set(SYNTAXES) <= set(NAMES)
    for name in NAMES:
        (tmp_path / name).write_bytes(seed(name))
        found = examine(os.fsencode(tmp_path / name))
        assert isinstance(found, Examined)
        assert not isinstance(found.result, Rejection), (name, found.result)


def test_a_mutant_is_always_the_same() -> None:
    for name in NAMES:
        assert mutant(name, 7) == mutant(name, 7)
        assert mutant(name, 7) != mutant(name, 8)


def test_mutants_of_every_syntax_end_as_one_row() -> None:
    tally = fuzz_decoders.fuzz(NAMES, iter(range(25)), seconds=60)
    assert tally.mutants == dict.fromkeys(NAMES, 25)


def test_scrambled_headers_break_no_promise() -> None:
    seeds = fuzz_headers.corpus()
    rng = np.random.default_rng(0)
    said = {fuzz_headers.check(scramble(seeds[number % len(seeds)], rng)) for number in range(1500)}
    assert len(said) > 5


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: extra `fuzz`")
def test_atheris_finds_nothing_in_a_moment(tmp_path: Path) -> None:
    done, fault = fuzz_headers.fuzz(30, 1000, tmp_path)
    assert fault == ""
    assert done >= 1000


def cut_at(lengths: range, name: str, path: Path) -> int:
    """Cut one file shorter and shorter; how often. None is scored, none is taken for no image."""
    path.write_bytes(seed(name))
    whole = examine(os.fsencode(path))
    assert isinstance(whole, Examined)
    for length in lengths:
        os.truncate(path, length)
        found = examine(os.fsencode(path))
        assert isinstance(found, Examined), (name, length)
        if length == len(seed(name)) - 8 and name.startswith(("jpeg-", "jpeg2000", "htj2k")):
            # Only the sequence delimiter is missing, as archives leave it out: a whole film.
            assert isinstance(found.result, Radiograph)
            assert isinstance(whole.result, Radiograph)
            assert found.result.pixels_sha256 == whole.result.pixels_sha256
            continue
        assert isinstance(found.result, Rejection), f"{name} cut to {length} bytes is scored"
        # A few bytes are no beginning of anything.
        if length > 132:
            assert found.result.outcome is Outcome.FAILED, (name, length, found.result)
    return len(lengths)


@pytest.mark.parametrize("name", NAMES)
def test_no_cut_file_is_scored(name: str, tmp_path: Path) -> None:
    whole = len(seed(name))
    cut_at(range(whole - 1, whole - 20, -1), name, tmp_path / "cut")
    cut_at(range(whole - 20, -1, -(whole // 60)), name, tmp_path / "cut")


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_no_file_cut_at_any_byte_is_scored(name: str, tmp_path: Path) -> None:
    done = cut_at(range(len(seed(name)) - 1, -1, -1), name, tmp_path / "cut")
    print(f"{name}: cut at {done} lengths, none scored")


@pytest.mark.long
def test_mutants_and_headers_for_minutes(tmp_path: Path) -> None:
    assert fuzz_decoders.fuzz(NAMES, count(1_000_000), seconds=240).total > 10_000
    if find_spec("atheris") is not None:
        done, fault = fuzz_headers.fuzz(120, 0, tmp_path, start=99)
        assert (fault, done > 10_000) == ("", True)
