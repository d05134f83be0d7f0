"""The report of the sample night: byte for byte with the tiny bundle, and what the demo shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import EXPECTED, GOLDEN, TABLES, TINY, report, rows

NUMBERS = {"score": 0.002, "logit": 0.02, "novelty": 0.02}
# Follows from a map whose neighbours may be equal but for rounding.
LOOSE = {"cam_peak_row", "cam_peak_column"}


def test_tiny_bundle_gives_the_same_report(tmp_path: Path) -> None:
    report(tmp_path, TINY)
    for name in TABLES:
        assert rows(tmp_path / name) == rows(GOLDEN / name), name


def test_demo_gives_the_expected_report(tmp_path: Path) -> None:
    report(tmp_path, None)
    for name in TABLES:
        found, expected = rows(tmp_path / name), rows(EXPECTED / name)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.keys() == theirs.keys()
            for column, value in theirs.items():
                if column in LOOSE:
                    continue
                if column in NUMBERS and value:
                    assert float(ours[column]) == pytest.approx(float(value), abs=NUMBERS[column])
                else:
                    assert ours[column] == value, (column, theirs["path"])


@pytest.mark.parametrize("folder", [EXPECTED, GOLDEN])
@pytest.mark.parametrize("name", TABLES)
def test_golden_files_hold_no_path_of_a_machine(folder: Path, name: str) -> None:
    for row in rows(folder / name):
        assert row["path"].startswith("sample_data/studies/")
