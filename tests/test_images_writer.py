"""`images.csv` of a large archive is written beside the rest, the same bytes, come what may."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from screener import children
from screener.durable import Access
from screener.log import EventLog
from screener.publication import verify_published
from screener.report import images
from screener.screening import scan
from screener.settings import Settings
from tests.films import TINY, night
from tests.test_scan import rows, without

SETTINGS = Settings(model=TINY, workers=1, settle=0.0)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A night, under a name that is no text."""
    return night(Path(os.fsdecode(os.fsencode(tmp_path) + b"/studies \xe9?%20")))


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every table is written beside; the processes that did it."""
    started = []
    start = children.start

    def noted(module: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        process = start(module, *arguments, **options)
        if module == "screener.report.images":
            started.append(process)
        return process

    monkeypatch.setattr(images, "BESIDE_FROM", 0)
    monkeypatch.setattr(children, "start", noted)
    return started


@pytest.mark.parametrize("identifiers", ["full", "pseudonym", "none"])
def test_the_same_table(
    identifiers: str,
    studies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    beside: list[subprocess.Popen[bytes]],
) -> None:
    out = tmp_path / "out"
    settings = replace(SETTINGS, identifiers=identifiers)
    scan([studies], out, settings)
    assert [process.returncode for process in beside] == [0]
    assert verify_published(out) == ()
    facts = json.loads((out / "run.json").read_bytes())["files"]
    assert list(facts) == ["triage.csv", "images.csv", "report.html"]
    assert facts["images.csv"]["rows"] == len(rows(out, "images.csv"))
    assert (out / "images.csv").stat().st_mode & 0o777 == 0o600
    written = without(rows(out, "images.csv"))
    monkeypatch.setattr(images, "BESIDE_FROM", 1_000_000)
    scan([studies], out, settings)
    assert len(beside) == 1
    assert without(rows(out, "images.csv")) == written


def test_a_small_table_needs_no_process(
    studies: Path, tmp_path: Path, beside: list[subprocess.Popen[bytes]], monkeypatch: Any
) -> None:
    monkeypatch.setattr(images, "BESIDE_FROM", 20_000)
    scan([studies], tmp_path / "out", SETTINGS)
    assert beside == []


def killed(process: subprocess.Popen[bytes], path: Path) -> None:
    process.kill()


def killed_at_work(process: subprocess.Popen[bytes], path: Path) -> None:
    process.kill()
    process.wait()
    path.write_text("schema_version,run_id,pa")


@pytest.mark.parametrize("end", [killed, killed_at_work])
def test_the_scan_writes_what_a_lost_process_did_not(
    end: Any,
    studies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, out, log = tmp_path / "whole", tmp_path / "out", tmp_path / "log.jsonl"
    scan([studies], whole, SETTINGS)
    monkeypatch.setattr(images, "BESIDE_FROM", 0)
    begin = images.ImagesWriter.begin

    def begun(self: images.ImagesWriter, path: Path, access: Access) -> None:
        begin(self, path, access)
        assert self._process is not None
        end(self._process, path)

    monkeypatch.setattr(images.ImagesWriter, "begin", begun)
    with EventLog(log) as events:
        scan([studies], out, SETTINGS, events=events)
    assert without(rows(out, "images.csv")) == without(rows(whole, "images.csv"))
    assert verify_published(out) == ()
    (lost,) = [
        event
        for event in map(json.loads, log.read_text().splitlines())
        if event["event"] == "images_process_lost"
    ]
    assert lost["how"] == f"status {-signal.SIGKILL}"


def test_words_of_the_site_are_not_taken_for_facts(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: list[object]
) -> None:
    """A `sitecustomize` that prints says so in every Python that starts."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("print('welcome')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    log = tmp_path / "log.jsonl"
    with EventLog(log) as events:
        scan([studies], tmp_path / "out", SETTINGS, events=events)
    assert len(beside) == 1
    assert verify_published(tmp_path / "out") == ()
    assert '"how": "status 0"' in log.read_text()


def test_no_process_can_be_had(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "BESIDE_FROM", 0)
    start = children.start

    def refused(module: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        if module == "screener.report.images":
            raise BlockingIOError("no more processes")
        return start(module, *arguments, **options)

    monkeypatch.setattr(children, "start", refused)
    log = tmp_path / "log.jsonl"
    with EventLog(log) as events:
        scan([studies], tmp_path / "out", SETTINGS, events=events)
    assert verify_published(tmp_path / "out") == ()
    assert '"how": "BlockingIOError"' in log.read_text()


def test_it_goes_when_the_report_cannot_be_written(
    studies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    beside: list[subprocess.Popen[bytes]],
) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("screener.report.page_guard.PageGuard.write", broken)
    with pytest.raises(Exception, match="No space left"):
        scan([studies], tmp_path / "out", SETTINGS)
    assert [process.poll() is None for process in beside] == [False]


def test_it_ends_with_the_scan(tmp_path: Path) -> None:
    """A scan that is killed leaves no process that writes on."""
    code = (
        "import os, subprocess, sys, time; from screener import children;"
        "child = children.start('screener.report.images', stdin=subprocess.PIPE);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    scan_like = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert scan_like.stdout is not None
    pid = int(scan_like.stdout.readline())
    deadline = time.monotonic() + 20
    while not _waits(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    scan_like.kill()
    scan_like.communicate()
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists() or _is_zombie(pid)


def _waits(pid: int) -> bool:
    """Whether it ignores SIGTERM already, which is the last before it asks for its order."""
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    return bool(ignored >> (signal.SIGTERM - 1) & 1)


def _is_zombie(pid: int) -> bool:
    return "Z (zombie)" in Path(f"/proc/{pid}/status").read_text()
