"""Folders that the account may not enter: what is named in one is told as that, never as a bug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.nights import environment
from tests.films import TINY, night

# Root enters every folder by two capabilities (capabilities(7)): without them it is as others are.
WITHOUT_CAPABILITIES = """
import ctypes, os, sys
for number in (1, 2):
    ctypes.CDLL(None).prctl(24, number, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
# One process for all commands: each would load the libraries anew.
CALLS = """
import contextlib, io, json, sys
from screener.cli import main
told = []
for arguments in json.load(sys.stdin):
    sys.argv = ["screener", *arguments]
    words = io.StringIO()
    with contextlib.redirect_stderr(words), contextlib.redirect_stdout(words):
        try:
            main()
        except SystemExit as error:
            code = error.code
        except BaseException as error:
            code = f"a bug: {error!r}"
    told.append([code, words.getvalue()])
print(json.dumps(told))
"""


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    yield folder
    folder.chmod(0o700)


def test_what_lies_in_a_closed_folder_is_told(closed: Path, tmp_path: Path) -> None:
    studies, out = night(tmp_path / "studies"), tmp_path / "out"
    out.mkdir()
    site = tmp_path / "site.toml"
    site.write_text(
        f'state = "{closed}/state.sqlite"\nlog = "{closed}/log"\nidentifiers = "pseudonym"\n'
    )
    scan = ["scan", str(studies), "--quiet", "--model", str(TINY), "--out"]
    denied, folders = "Permission denied", ["--studies", f"{closed}/in", "--out", f"{closed}/out"]
    calls: list[tuple[list[str], object, str]] = [
        ([*scan, str(out), "--state", f"{closed}/state.sqlite"], 1, denied),
        ([*scan, f"{closed}/out"], 1, denied),
        (["scan", str(studies), "--out", str(out), "--model", f"{closed}/m.onnx"], 2, denied),
        (["scan", f"{closed}/deep", "--out", str(out), "--model", str(TINY)], 4, "no such file"),
        (["model", "show", f"{closed}/m.onnx"], 2, denied),
        (["explain", f"{closed}/out", "1"], 2, denied),
        (["explain", str(out), "1", "--state", f"{closed}/state.sqlite"], 2, denied),
        (["purge", "--patient", "1", "--out", f"{closed}/out"], 2, denied),
        (["init", str(tmp_path / "new.toml"), *folders, "--systemd", f"{closed}/units"], 2, denied),
        (["init", f"{closed}/new.toml", *folders], 2, denied),
        (["doctor", "--model", str(TINY), "--out", str(out), "--config", str(site)], 1, denied),
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CAPABILITIES, "-c", CALLS],
        input=json.dumps([arguments for arguments, _, _ in calls]),
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
        timeout=120,
    )
    for (arguments, code, words), (found, told) in zip(calls, json.loads(done.stdout), strict=True):
        assert (found, words in told, "a bug" in told) == (code, True, False), (arguments, told)
    assert os.listdir(out) == []
