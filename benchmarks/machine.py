"""What the figures were taken on, and how a command is measured: its whole process tree."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "pydicom", "pillow", "imagecodecs", "onnxruntime-gpu", "onnxruntime", "torch")
SAMPLE_S = 0.2


@dataclass(frozen=True)
class Ran:
    """One command: seconds by the clock and of processors (children included), and the peak of
    the memory of its process tree at once: private pages each, shared ones once (PSS).
    """

    wall_s: float
    cpu_s: float
    peak_mib: int
    stdout: str


def environment() -> dict[str, str]:
    """For a command that is to find this program."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run_measured(command: list[str], *, sample_s: float = SAMPLE_S) -> Ran:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; with what it said.
    """
    before = os.times()
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    peak = _Peak(process.pid, sample_s)
    peak.start()
    stdout, stderr = process.communicate()
    wall_s = time.monotonic() - started
    peak.ended.set()
    peak.join()
    after = os.times()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{stderr[-2000:]}")
    cpu_s = after.children_user + after.children_system
    cpu_s -= before.children_user + before.children_system
    # A worker that is killed at the end is waited for by nobody: it counts as last seen.
    cpu_s = max(cpu_s, sum(peak.cpu_s.values()))
    return Ran(wall_s, cpu_s, peak.peak_kib // 1024, stdout)


def scan(paths: Path, out: Path, model: Path | None) -> tuple[Ran, dict[str, Any]]:
    """One whole scan into a new folder; what it measured and what its report says."""
    command = [sys.executable, "-m", "screener", "scan", str(paths), "--out", str(out), "--quiet"]
    if model is not None:
        command += ["--model", str(model)]
    ran = run_measured(command)
    return ran, json.loads((out / "run.json").read_text())


class _Peak(threading.Thread):
    """Samples the memory of a process and all below it."""

    def __init__(self, pid: int, sample_s: float) -> None:
        super().__init__(daemon=True)
        self.pid, self.sample_s, self.peak_kib = pid, sample_s, 0
        self.cpu_s: dict[int, float] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(self.sample_s):
            pids = _tree(self.pid)
            self.peak_kib = max(self.peak_kib, sum(map(_pss_kib, pids)))
            for pid in pids:
                self.cpu_s[pid] = max(self.cpu_s.get(pid, 0.0), _cpu_s(pid))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # proc(5): utime and stime, the 14th and 15th of all fields.
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _pss_kib(pid: int) -> int:
    """The proportional share of a process.

    Root alone may ask it of a worker, which dumps no core; of others' workers the private pages.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return next(int(x.split()[1]) for x in text.splitlines() if x.startswith("Pss:"))
    except (OSError, StopIteration):
        with contextlib.suppress(OSError):
            pages = Path(f"/proc/{pid}/statm").read_text().split()
            return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") // 1024
    return 0


def machine() -> dict[str, Any]:
    """The processor, the memory and the versions that decide the figures."""
    info = Path("/proc/cpuinfo").read_text()
    name = next((x.partition(":")[2].strip() for x in info.splitlines() if "model name" in x), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    flags = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")
    words = set(info.split())
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "processor": name,
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in flags if flag in words],
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "versions": versions,
    }
