"""Runs that are killed, told to stop, doubled or run out of room; a clock that jumps."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path

import pytest

from screener.publication import verify_published
from tests.faults.nights import (
    TABLES,
    Scene,
    check_aftermath,
    check_between,
    command,
    environment,
    make_scene,
    normal,
    run,
    screen,
    told_as_new,
)

pytestmark = pytest.mark.usefixtures("private_pool")
Started = subprocess.Popen[str]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("nights"))


@pytest.fixture(scope="module")
def duration_s(scene: Scene) -> float:
    """From the lock to the end, undisturbed."""
    out = scene.start(scene.studies.parent / "timed")
    started = start(scene, out)
    begun = time.monotonic()
    started.communicate()
    shutil.rmtree(out)
    return time.monotonic() - begun


def start(scene: Scene, out: Path) -> Started:
    """Begin the second night as a user does; back when it holds the lock."""
    started = subprocess.Popen(
        command(scene.studies, out),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    while not (out / ".lock").exists() and started.poll() is None:
        time.sleep(0.001)
    return started


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [pid, *(found for child in children for found in family(int(child)))]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def await_true(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


# -- killed at random, told to stop ---------------------------------------------------------------


def check_signal(scene: Scene, out: Path, number: int, within_s: float, rng: random.Random) -> int:
    """Send a signal at a random moment, once in three also to the run that mends; then rerun.

    Returns:
        How the first run ended.
    """
    scene.start(out)
    told: set[str] = set()
    codes = []
    for _ in range(1 + (rng.random() < 0.3)):
        (out / ".lock").unlink(missing_ok=True)
        started = start(scene, out)
        time.sleep(rng.random() * within_s)
        processes = family(started.pid)
        started.send_signal(number)
        _, err = started.communicate(timeout=60)
        codes.append(started.returncode)
        assert "Traceback" not in err
        assert "a bug" not in err
        told |= check_between(scene, out)
        await_true(lambda: not any(map(lives, processes)), "a process outlived the scan")  # noqa: B023
    check_aftermath(scene, out, told)
    shutil.rmtree(out)
    return codes[0]


def test_a_kill_at_a_random_moment(scene: Scene, tmp_path: Path, duration_s: float) -> None:
    check_signal(scene, tmp_path / "out", signal.SIGKILL, duration_s, random.Random(1))


def test_told_to_stop_at_a_random_moment(scene: Scene, tmp_path: Path, duration_s: float) -> None:
    rng = random.Random(2)
    assert check_signal(scene, tmp_path / "out", signal.SIGTERM, duration_s, rng) in (0, 143)


def test_a_run_that_is_done_keeps_its_code(scene: Scene, tmp_path: Path) -> None:
    """Its report is out: a signal while the libraries are taken down must not say otherwise."""
    started = start(scene, scene.start(tmp_path / "out"))
    assert started.stdout is not None
    started.stdout.readline()
    started.terminate()
    started.communicate()
    assert started.returncode == 0


@pytest.mark.long
def test_two_hundred_random_kills(scene: Scene, tmp_path: Path, duration_s: float) -> None:
    rng = random.Random(time.time_ns())
    codes = [
        check_signal(scene, tmp_path / "out", signal.SIGKILL, duration_s, rng) for _ in range(200)
    ]
    print(f"200 kills: {codes.count(-signal.SIGKILL)} hit the run, the others came after its end")
    assert set(codes) <= {0, -signal.SIGKILL}
    assert codes.count(-signal.SIGKILL) > 60


@pytest.mark.long
def test_a_hundred_random_stops(scene: Scene, tmp_path: Path, duration_s: float) -> None:
    rng = random.Random(time.time_ns())
    codes = [
        check_signal(scene, tmp_path / "out", signal.SIGTERM, duration_s, rng) for _ in range(100)
    ]
    assert set(codes) <= {0, 143}
    assert codes.count(143) > 30


# -- two at once, orphans -------------------------------------------------------------------------


def test_a_second_run_exits_at_once_and_a_killed_one_frees_the_lock(
    scene: Scene, tmp_path: Path
) -> None:
    out = scene.start(tmp_path / "out")
    first = start(scene, out)
    first.send_signal(signal.SIGSTOP)
    before = {name: (out / name).read_bytes() for name in TABLES}
    done = run(scene.studies, out)
    assert (done.returncode, "another run is at work" in done.stderr) == (11, True)
    assert before == {name: (out / name).read_bytes() for name in TABLES}
    first.kill()
    first.communicate()
    assert run(scene.studies, out).returncode == 0
    check_aftermath(scene, out, set(scene.changed))


def test_an_orphaned_server_holds_no_lock(scene: Scene, tmp_path: Path) -> None:
    """Stopped before it could ask to die with the scan: it lives on, and is in nobody's way."""
    out = scene.start(tmp_path / "out")
    first = start(scene, out)
    await_true(lambda: len(family(first.pid)) > 1 or first.poll() is not None, "no server")
    server = family(first.pid)[1]
    os.kill(server, signal.SIGSTOP)
    first.kill()
    first.communicate()
    assert run(scene.studies, out).returncode == 0
    if lives(server):
        os.kill(server, signal.SIGCONT)
    await_true(lambda: not lives(server), "the orphan outlived its scan")
    check_aftermath(scene, out, set(scene.changed))


# -- no room, nothing to write on -----------------------------------------------------------------

IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


@cache
def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = [*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(
    not can_mount(), reason="the kernel refuses a mount namespace (unshare -Urm) to this account"
)


def in_a_namespace(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*IN_A_NAMESPACE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=600,
    )


FULL = """
import shutil, subprocess, sys
from pathlib import Path
before, studies, mount, saved, size = *map(Path, sys.argv[1:5]), sys.argv[5]
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", mount], check=True)
out = mount / "out"
shutil.copytree(before, out)
from tests.faults.nights import run
done = run(studies, out)
shutil.copytree(out, saved)
sys.stderr.write(done.stderr)
sys.exit(done.returncode)
"""


def check_full(scene: Scene, tmp_path: Path, size_kib: int) -> int:
    """Run on a disk of that size; the report must be whole, and right on a larger disk."""
    assert scene.before is not None
    mount, saved = tmp_path / "mount", tmp_path / "saved"
    mount.mkdir(exist_ok=True)
    done = in_a_namespace(
        *(sys.executable, "-c", FULL, str(scene.before), str(scene.studies)),
        *(str(mount), str(saved), str(size_kib)),
    )
    assert done.returncode in (0, 1), (size_kib, done.stderr)
    assert "Traceback" not in done.stderr, (size_kib, done.stderr)
    assert "a bug" not in done.stderr, (size_kib, done.stderr)
    told = check_between(scene, saved)
    if done.returncode == 1:
        assert "error: " in done.stderr
        assert verify_published(saved) == ()
    check_aftermath(scene, saved, told)
    shutil.rmtree(saved)
    return done.returncode


def used_kib(folder: Path) -> int:
    sizes = [path.stat().st_blocks // 2 for path in folder.rglob("*") if path.is_file()]
    return sum(sizes)


@needs_mount
def test_a_disk_that_fills(scene: Scene, tmp_path: Path) -> None:
    assert scene.before is not None
    used = used_kib(scene.before)
    assert check_full(scene, tmp_path, used + 120) == 1
    assert check_full(scene, tmp_path, used + 4000) == 0


@needs_mount
@pytest.mark.long
def test_a_disk_that_fills_at_any_size(scene: Scene, tmp_path: Path) -> None:
    assert scene.before is not None
    used = used_kib(scene.before)
    codes = [check_full(scene, tmp_path, used + more) for more in range(20, 420, 4)]
    print(f"{len(codes)} sizes of a disk: {codes.count(1)} too small")
    assert {0, 1} == set(codes)


READ_ONLY = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
if touch "$1/x" 2>/dev/null; then exit 99; fi
shift
exec "$@"
"""


@needs_mount
def test_studies_on_a_read_only_mount(scene: Scene, tmp_path: Path) -> None:
    out = scene.start(tmp_path / "out")
    done = in_a_namespace(
        "sh", "-c", READ_ONLY, "sh", str(scene.studies), *command(scene.studies, out)
    )
    assert done.returncode == 0, done.stderr
    for name in TABLES:
        assert normal((out / name).read_bytes()) == scene.expected[name]


# -- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [-4000, -1, 30])
def test_a_clock_that_jumps(
    scene: Scene, tmp_path: Path, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are ordered by their own counter: what is new is told once, whatever the clock says."""
    out = scene.start(tmp_path / "out")

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Jumped:
            found = datetime.now(tz) + timedelta(days=days)
            return cls.fromtimestamp(found.timestamp(), tz or UTC)

    with monkeypatch.context() as patch:
        patch.setattr("screener.night.datetime", Jumped)
        jumped = screen(scene.studies, out)
    for name in TABLES:
        assert normal((out / name).read_bytes()) == scene.expected[name]
    assert told_as_new((out / "triage.csv").read_bytes()) == scene.changed
    assert jumped.run_id.endswith("-000002")
    again = screen(scene.studies, out)
    assert told_as_new((out / "triage.csv").read_bytes()) == set()
    assert again.run_id.endswith("-000003")
    assert json.loads((out / "run.json").read_bytes())["run_id"] == again.run_id
    check_aftermath(scene, out, set(scene.changed))
