"""The public interface: `from screener import scan`, its types, and that asking costs nothing."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import screener
from screener import Progress, ScreenerError, Settings, load_settings, scan
from tests.films import TINY, dataset, draw, save

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "onnxruntime", "onnx", "pandas", "numpy", "pydicom", "PIL", "typer", "rich")


def test_importing_the_package_loads_no_library() -> None:
    code = f"import sys, screener; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""


def test_all_that_it_offers_is_there() -> None:
    for name in screener.__all__:
        assert getattr(screener, name) is not None
    assert set(screener.__all__) <= set(dir(screener))
    with pytest.raises(AttributeError, match="'sacn'"):
        screener.sacn  # noqa: B018


def test_a_sample_film_is_screened(tmp_path: Path) -> None:
    seen: list[Progress] = []
    film = ROOT / "sample_data" / "studies" / "CR1"
    summary = scan(film, tmp_path / "out", Settings(device="cpu", workers=1), progress=seen.append)
    assert (summary.exit_code, summary.outcomes) == (0, {"SCORED": {"": summary.paths}})
    assert summary.paths == summary.new_studies == sum(summary.triage.values()) > 0
    assert seen[-1] == Progress(summary.paths, summary.paths, walked=True)
    with summary.triage_csv.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["run_id"] for row in rows} == {summary.run_id}
    assert len(summary.images_csv.read_text(encoding="utf-8").splitlines()) == summary.paths + 1
    assert summary.report_html.is_file()
    facts = json.loads(summary.run_json.read_bytes())
    for name in ("run_id", "triage", "outcomes", "paths", "exit_code", "provider"):
        assert facts[name] == getattr(summary, name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.exit_code = 1


def test_it_is_used_in_a_script_as_it_stands(tmp_path: Path) -> None:
    """No guard for `__main__`: the workers are no copies of the caller."""
    save(dataset(draw(1), 1), tmp_path / "studies" / "film")
    (tmp_path / "site.toml").write_text(f'model = "{TINY}"\nworkers = 2\n', encoding="utf-8")
    script = tmp_path / "morning.py"
    script.write_text(
        "import onnxruntime\n"
        "from screener import load_settings, scan\n"
        "summary = scan('studies', 'out', load_settings('site.toml'))\n"
        "print(summary.paths, summary.exit_code, summary.triage_csv.is_file())\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("1 0 True\n", "", 0)


def test_what_is_wrong_is_told_in_three_parts(tmp_path: Path) -> None:
    with pytest.raises(ScreenerError) as caught:
        scan(tmp_path / "nowhere", tmp_path / "out")
    assert caught.value.exit_code == 4
    assert all((caught.value.what, caught.value.why, caught.value.mend))
    (tmp_path / "site.toml").write_text("worker = 1\n", encoding="utf-8")
    with pytest.raises(ScreenerError, match="workers"):
        load_settings(tmp_path / "site.toml")


def test_its_types_are_those_that_callers_see(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "tests/data/api_use.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr
