"""A scan sends nothing and leaves nothing outside its output folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.films import TINY, dataset, draw, save


def command(tmp_path: Path) -> list[str]:
    save(dataset(draw(1), 1), tmp_path / "studies" / "a")
    words = [sys.executable, "-m", "screener", "scan", str(tmp_path / "studies")]
    return [*words, "--out", str(tmp_path / "out"), "--model", str(TINY)]


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
        ["strace", "-f", "-e", "trace=socket,connect", "-o", str(trace), *command(tmp_path)],
        check=True,
        capture_output=True,
        env=environment,
    )
    assert "exited with 0" in trace.read_text()
    assert "AF_INET" not in trace.read_text()
