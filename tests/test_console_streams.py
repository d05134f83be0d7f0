"""A stream that is closed, full or has no reader changes neither the report nor the exit code."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.films import TINY, dataset, draw, save


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "2>&-", "2>/dev/full", ">&- 2>&-"])
def test_scan_with_a_broken_stream(tmp_path: Path, redirection: str) -> None:
    save(dataset(draw(1), 1), tmp_path / "studies" / "a")
    words = [sys.executable, "-m", "screener", "scan", str(tmp_path / "studies")]
    words += ["--out", str(tmp_path / "out"), "--model", str(TINY)]
    ended = subprocess.run(
        f"{shlex.join(words)} {redirection}", shell=True, check=False, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out" / "run.json").exists()
    assert b"Traceback" not in ended.stderr
