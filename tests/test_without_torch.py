"""Measuring and calibrating a bundle where torch cannot be imported, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.films import TINY, dataset, draw, save, save_png

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Packages that stand before the real ones and fail, for the workers too."""
    folder = tmp_path_factory.mktemp("forbidden")
    for name in ("torch", "torchvision"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')\n")
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders as the public collection has them, of PNG and DICOM, masks beside."""
    folder = tmp_path_factory.mktemp("data")
    for i in range(6):
        label, severity = ("COVID", 3.0) if i < 3 else ("Normal", -0.5)
        film = draw(i, severity=severity + i / 5)
        images = folder / label / "images"
        if i % 2:
            save_png(film, images / f"{i}.png")
            save_png(film, folder / label / "masks" / f"{i}.png")
        else:
            save(dataset(film, i), images / f"{i}.dcm")
    return folder


def run(environment: dict[str, str], *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "screener", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_guard_works(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import torch"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "torch was imported" in done.stderr


def test_evaluate(environment: dict[str, str], data: Path, tmp_path: Path) -> None:
    site = ("--reading-minutes", "5", "--load", "0.5", "--prevalence", "0.02", "--no-films")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "worst_errors.jpg").write_bytes(b"of an earlier measurement")
    out = run(environment, "evaluate", TINY, data, "--out", tmp_path / "out", *site)
    assert "6 images, 3 positive, 6 scored" in out
    assert "positive: 0 of 3 turned away" in out
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["waiting"]["site"] == {"reading_minutes": 5, "load": 0.5, "prevalence": 0.02}
    first = found["waiting"]["operating_points"][0]
    assert first["waiting"]["in_order"] == pytest.approx(5)
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Films were left out" in report
    assert "image/jpeg" not in report
    assert not (tmp_path / "out" / "worst_errors.jpg").exists()
    assert (tmp_path / "out" / "audit.png").exists()


def test_calibrate(environment: dict[str, str], data: Path, tmp_path: Path) -> None:
    out = tmp_path / "site.onnx"
    options = ("--target-sensitivity", "0.5", "--out", out)
    assert "--operating-point site" in run(environment, "calibrate", TINY, data, *options)
    assert "site.threshold_interval" in run(environment, "model", "show", out)
