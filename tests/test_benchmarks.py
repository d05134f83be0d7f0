"""What the speed and the score differences are measured on is read as it was meant."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import films, rescan, run, score_difference
from benchmarks.machine import machine, run_measured
from benchmarks.peers import practised
from screener.bundle import load_bundle
from screener.classifier import Classifier
from screener.domain import Examined, Radiograph
from screener.examine import examine
from tests.films import TINY


def read(path: Path) -> Radiograph:
    found = examine(os.fsencode(path))
    assert isinstance(found, Examined)
    assert isinstance(found.result, Radiograph), found.result
    return found.result


@pytest.mark.parametrize(
    "syntax",
    [films.UNCOMPRESSED, films.JPEG_2000, films.HTJ2K, films.JPEG_LS, films.JPEG_BASELINE],
)
def test_films_of_one_codestream_are_different_input(tmp_path: Path, syntax: str) -> None:
    paths = films.write_dicom(tmp_path, syntax, 3, distinct=1, rows=520, columns=460)
    found = [read(path) for path in paths]
    assert len({film.pixels_sha256 for film in found}) == 3
    if syntax not in {form.syntax for form in run.FORMS}:
        return
    small = practised.read(paths[0])
    # The peer shows the same film: its own window and filter, no stretch.
    assert np.corrcoef(small.ravel(), found[0].pixels.ravel())[0, 1] > 0.99


def test_pngs_are_different_input(tmp_path: Path) -> None:
    paths = films.write_pngs(tmp_path, 9, rows=260, columns=240)
    assert len({read(path).pixels_sha256 for path in paths}) == 9


def test_a_reduced_film_is_compared_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = score_difference.Film(films.make_film(3, 1000, 900), 12, {})
    monkeypatch.setitem(score_difference.MAKERS, "computed", lambda _: drawn)
    pairs = dict(score_difference.read_pairs("computed", "3", whole=True))
    assert set(pairs) == score_difference.REDUCED.keys() | score_difference.WHOLE.keys()
    for label, pair in pairs.items():
        same = np.array_equal(*pair)
        assert same == (label in score_difference.WHOLE), label
        assert np.abs(pair[0] - pair[1]).max() < 0.2, label


def test_a_change_of_side_is_found() -> None:
    classifier = Classifier(load_bundle(TINY), "cpu")
    film = np.random.default_rng(1).random((224, 224), dtype=np.float32)
    pairs = np.stack([np.stack([film, film[::-1]]), np.stack([film, film])])
    scores = [score.scores[0] for score in classifier.score(np.ascontiguousarray(pairs[0]))]
    low, high = sorted(scores)
    found = score_difference.compare(pairs, classifier, {"between": (low + high) / 2})
    assert found["largest"] == pytest.approx(high - low, abs=1e-5)
    assert found["changed_side"] == {"between": int(high - low > 0.02)}


def test_real_films_are_there() -> None:
    names = score_difference.real_names()
    assert len(names) >= 2
    film = score_difference.real_film(names[0])
    assert min(film.values.shape) >= 224


def test_a_quiet_night_is_measured(tmp_path: Path) -> None:
    found = rescan.measure_rescan(tmp_path, 60)
    assert (found["files"], found["examined"]) == (60, 0)
    assert found["peak_mib"] > 10


def test_processes_below_a_command_are_counted() -> None:
    ran = run_measured(["sh", "-c", "sleep 0.6 & wait; echo done"])
    assert ran.stdout == "done\n"
    assert machine()["cores"] >= 1


@pytest.mark.long
def test_all_of_it_runs_to_its_end(tmp_path: Path) -> None:
    results, plot = tmp_path / "results.json", tmp_path / "speed.svg"
    run.main(["--trial", "--work", str(tmp_path), "--out", str(results), "--plot", str(plot)])
    found = json.loads(results.read_text())
    assert [form["form"] for form in found["forms"]] == [form.name for form in run.FORMS]
    assert len(found["goals"]) == 3 * len(run.FORMS) + 5
    assert plot.stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "speed.svg"]
