"""What several test files share: how the program is run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_screener(tmp_path: Path) -> Run:
    """Run `python -m screener` in a process of its own, with nothing of the tester's settings."""

    def run(
        *arguments: str | os.PathLike[str],
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        names = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "screener", *(os.fspath(each) for each in arguments)],
            cwd=tmp_path,
            env=kept | {"HOME": str(tmp_path), "LC_ALL": "C.UTF-8", **(environment or {})},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout_s,
            check=False,
        )

    return run
