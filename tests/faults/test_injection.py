"""A scan that is killed, or whose disk fails or is full, at any of its system calls."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.faults.injection import READING, Fault, check_fault, faults_of, needs_strace
from tests.faults.nights import (
    Scene,
    check_aftermath,
    check_unread,
    command,
    environment,
    make_scene,
)

pytestmark = [needs_strace, pytest.mark.usefixtures("private_pool")]


@pytest.fixture(scope="module", params=[True, False], ids=["second night", "very first night"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("nights"), first=request.param)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Its `images.csv` is written by a process of its own, as that of a large archive is."""
    return make_scene(tmp_path_factory.mktemp("nights"), module="tests.faults.beside")


@pytest.fixture(scope="module")
def faults(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> list[Fault]:
    return faults_of(scene, tmp_path_factory.mktemp("traced"))


def changing(faults: list[Fault]) -> list[Fault]:
    return [fault for fault in faults if fault.call not in READING]


def test_kills_at_some_system_calls(scene: Scene, faults: list[Fault], tmp_path: Path) -> None:
    kills = [fault for fault in changing(faults) if fault.kind == "KILL"]
    for fault in kills[:: -(-len(kills) // 10)]:
        check_fault(scene, fault, tmp_path / "out")


def test_errors_at_some_system_calls(scene: Scene, faults: list[Fault], tmp_path: Path) -> None:
    errors = [fault for fault in changing(faults) if fault.kind != "KILL"]
    for fault in errors[5 :: len(errors) // 2]:
        check_fault(scene, fault, tmp_path / "out")


def test_a_disk_that_dies_before_the_workers_start(
    scene: Scene, faults: list[Fault], tmp_path: Path
) -> None:
    """Nothing can be opened from then on, no program either: told as what it is, not as a bug."""
    opens = [fault for fault in faults if fault.call == "openat" and fault.kind == "EIO"]
    # The state is open by then, and nothing of the studies was asked for.
    last = [fault for fault in opens if fault.lasting and "state.sqlite-shm" in fault.line][-1]
    assert check_fault(scene, last, tmp_path / "out") == 1


@pytest.mark.long
def test_faults_at_every_system_call(scene: Scene, faults: list[Fault], tmp_path: Path) -> None:
    cases = changing(faults)
    assert len(cases) > 400
    ended: dict[int, int] = {}
    for fault in cases:
        code = check_fault(scene, fault, tmp_path / "out")
        ended[code] = ended.get(code, 0) + 1
    print(f"{len(cases)} faults at {len({(f.call, f.number) for f in cases})} calls: {ended}")


@pytest.mark.parametrize("share", [40, pytest.param(1, marks=pytest.mark.long)])
def test_faults_while_another_process_writes(large: Scene, tmp_path: Path, share: int) -> None:
    """Of the scan's calls from the first one that writes the new report."""
    cases = changing(faults_of(large, tmp_path / "traced"))
    begun = next(place for place, fault in enumerate(cases) if ".writing" in fault.line)
    assert len(cases) - begun > 100
    for fault in cases[begun::share]:
        check_fault(large, fault, tmp_path / "out")


@pytest.mark.long
def test_a_mending_run_is_cut_at_the_same_place(
    scene: Scene, faults: list[Fault], tmp_path: Path
) -> None:
    for fault in [fault for fault in changing(faults) if fault.kind == "KILL"]:
        check_fault(scene, fault, tmp_path / "out", again=True)


@pytest.mark.parametrize("call", [pytest.param("openat", marks=pytest.mark.long), "read"])
def test_a_film_that_cannot_be_read_is_told_and_tried_again(
    scene: Scene, tmp_path: Path, call: str
) -> None:
    """In a worker, this time: strace follows the forks and sees this film alone."""
    out, film = scene.start(tmp_path / "out"), scene.studies / "new" / "IM0008"
    done = subprocess.run(
        [
            *("strace", "-qq", "-f", "-o", "/dev/null", "-P", str(film)),
            *(
                "-e",
                f"trace={call}",
                "-e",
                f"inject={call}:error=EIO",
                *command(scene.studies, out),
            ),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=300,
    )
    assert done.returncode == 3, done.stderr
    check_aftermath(scene, out, check_unread(out))
