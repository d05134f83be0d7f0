"""A scan sends nothing and leaves nothing outside its output folder."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.films import TINY, dataset, draw, save

TIMES = ("run_id", "decode_ms", "screened_at")


def command(tmp_path: Path) -> list[str]:
    save(dataset(draw(1), 1), tmp_path / "studies" / "a")
    words = [sys.executable, "-m", "screener", "scan", str(tmp_path / "studies")]
    return [*words, "--out", str(tmp_path / "out"), "--model", str(TINY)]


def has_namespaces() -> bool:
    """Whether this account may take the network away from a command of its own."""
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode == 0
    )


def test_home_stays_empty(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run(command(tmp_path), check=True, capture_output=True, env=environment)
    assert list(home.rglob("*")) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_socket_to_a_network_is_made(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    environment = dict(os.environ)
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run(
        ["strace", "-f", "-e", "trace=%network", "-o", str(trace), *command(tmp_path)],
        check=True,
        capture_output=True,
        env=environment,
    )
    text = trace.read_text()
    assert "exited with 0" in text
    # What is left is the socket pairs of the workers, which have no address.
    assert set(re.findall(r"(?:AF|PF)_\w+", text)) <= {"AF_UNIX"}
    assert not re.findall(r"\b(?:connect|bind|listen|sendto)\(\d+, \{", text)


@pytest.mark.parametrize("module", ["screener.examine", "screener.screening"])
def test_no_network_library_is_loaded(module: str) -> None:
    # The extra pacs brings requests, and pydicom would load it for a download that nobody wants.
    pytest.importorskip("requests")
    code = (
        f"import {module}, sys; loaded = {{'requests', 'urllib3'}} "
        "& set(sys.modules); import requests; print(*loaded)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.skipif(not has_namespaces(), reason="no network namespaces for this account")
def test_a_scan_is_the_same_with_the_network_taken_away(tmp_path: Path) -> None:
    words = command(tmp_path)
    rows = []
    for prefix in ([], ["unshare", "-rn"]):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        subprocess.run([*prefix, *words], check=True, capture_output=True)
        with (tmp_path / "out" / "images.csv").open(newline="") as stream:
            rows.append([row | dict.fromkeys(TIMES) for row in csv.DictReader(stream)])
    assert rows[0] == rows[1]
    assert [row["outcome"] for row in rows[0]] == ["SCORED"]
