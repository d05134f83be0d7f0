"""The power goes at any moment of a scan: the next run publishes the undisturbed report."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from screener.publication import verify_published
from tests.faults.injection import needs_strace
from tests.faults.nights import (
    TABLES,
    Scene,
    check_aftermath,
    check_between,
    make_scene,
    normal,
    told_as_new,
)
from tests.faults.powerloss import LOSSES, Call, Disk, Tree, lay_out, record

pytestmark = [needs_strace, pytest.mark.usefixtures("private_pool")]


@pytest.fixture(scope="module")
def second_night(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("nights"))


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("nights"), first=False)


@pytest.fixture(params=["second_night", "first_night"])
def scene(request: pytest.FixtureRequest) -> Scene:
    found: Scene = request.getfixturevalue(request.param)
    return found


Keep = Callable[[Call], bool]


def states(
    scene: Scene, folder: Path, samples: int, keep: Keep
) -> Iterator[tuple[int, str, Tree, bool]]:
    """Distinct states after every call: its number, what was lost, the tree, whether it ended."""
    calls, out = record(scene, folder)
    calls = [call for call in calls if keep(call)]
    disk, seen = Disk(out, scene.before), set()
    shutil.rmtree(out)
    for number, call in enumerate(calls):
        disk.do(call)
        for sample in range(samples):
            how = LOSSES[min(sample, len(LOSSES) - 1)]
            tree = disk.after_loss(how, np.random.default_rng([number, sample]))
            # What is allowed on the way may be a broken promise at the end.
            state = _digest(tree), number == len(calls) - 1
            if state not in seen:
                seen.add(state)
                yield number, how, tree, state[1]


def _digest(tree: Tree) -> bytes:
    whole = hashlib.sha256()
    for name in sorted(tree):
        what = tree[name]
        whole.update(name.encode() + b"\0" + (what if isinstance(what, bytes) else _digest(what)))
    return whole.digest()


def check(
    scene: Scene, tmp_path: Path, samples: int, step: int = 1, keep: Keep = lambda _: True
) -> int:
    """Rerun in what is left of every `step`-th state, and of all at the end; their number."""
    count = 0
    for index, (number, how, tree, ended) in enumerate(states(scene, tmp_path, samples, keep)):
        if index % step and not ended:
            continue
        out = lay_out(tree, tmp_path / "out")
        try:
            told = check_between(scene, out)
            if ended:
                check_published(scene, out)
            check_aftermath(scene, out, told)
            if ended:
                assert told_as_new((out / "triage.csv").read_bytes()) == set()
        except BaseException as error:
            error.add_note(f"the power went after call {number}; lost: {how}")
            raise
        shutil.rmtree(out)
        count += 1
    return count


def check_published(scene: Scene, out: Path) -> None:
    """When a run has said that it is done, no power loss takes its report away."""
    assert verify_published(out) == ()
    assert json.loads((out / "run.json").read_bytes())["paths"] > 0
    for name in TABLES:
        assert normal((out / name).read_bytes()) == scene.expected[name]


def test_power_loss_at_some_moments(scene: Scene, tmp_path: Path) -> None:
    assert check(scene, tmp_path, samples=4, step=40) >= 8


@pytest.mark.parametrize("unsynced", ["triage.csv", "recorded"])
def test_a_sync_that_were_missing_would_be_found(
    second_night: Scene, tmp_path: Path, unsynced: str
) -> None:
    """The simulation is worth nothing if it cannot fail."""

    def keep(call: Call) -> bool:
        name = os.path.basename(call.paths[0]).removesuffix("-wal")
        return not ("sync" in call.name and name == unsynced)

    with pytest.raises((AssertionError, ValueError)):
        check(second_night, tmp_path, samples=3, step=10**9, keep=keep)


@pytest.mark.long
def test_power_loss_at_every_moment(scene: Scene, tmp_path: Path) -> None:
    count = check(scene, tmp_path, samples=60)
    print(f"{count} states after a power loss")
    assert count > 2000
