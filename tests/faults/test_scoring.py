"""What goes wrong while films are scored beside the scan: it is told, nothing hangs, no row is
lost, no score goes to another film, and the next run gives the undisturbed report.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from screener.classifier import Classifier, Outputs, runtime_errors
from screener.domain import Score
from screener.errors import InterruptedRunError, RunError
from screener.screening import scan
from screener.settings import Settings
from screener.summary import RunSummary, Stop
from screener.workers import WorkerPool
from tests.faults.nights import Scene, check_aftermath, check_between, make_scene
from tests.films import TINY, dataset, draw, save

FILMS, TWINS = 30, 10
SETTINGS = Settings(model=TINY, workers=1, settle=0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scoring"))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Classifier.__init__

    def init(self: Classifier, *given: object, **named: object) -> None:
        real(self, *given, **named)
        self.batch, self.at_once = 2, 2

    monkeypatch.setattr(Classifier, "__init__", init)


def nth_batch(patch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    """Let `act` happen in the n-th batch, before it is computed."""
    real, batches = Classifier.score, count(1)

    def score(self: Classifier, pixels: np.ndarray) -> list[Score]:
        if next(batches) == number:
            act()
        return real(self, pixels)

    patch.setattr(Classifier, "score", score)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("kind", "number"), [("Fail", 1), ("RuntimeException", 2), ("MemoryError", 2)]
)
def test_a_runtime_that_fails_is_told_and_the_next_run_goes_on(
    kind: str, number: int, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = scene.start(tmp_path / "out")
    kinds = {each.__name__: each for each in (MemoryError, *runtime_errors())}
    real, batches = Classifier.run, count(1)

    def run(self: Classifier, pixels: np.ndarray) -> Outputs:
        if next(batches) >= number:
            raise kinds[kind]("CANARY: a name that a library read")
        return real(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "run", run)
        with pytest.raises(RunError, match=kind) as told:
            scan([scene.studies], out, SETTINGS)
    assert "CANARY" not in str(told.value)
    assert told.value.exit_code == 1
    check_aftermath(scene, out, check_between(scene, out))


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("number", [1, 2])
def test_a_signal_while_a_batch_is_computed(
    number: int, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, stop = scene.start(tmp_path / "out"), Stop()
    for each in range(40, 60):
        save(dataset(draw(each, size=160), each), tmp_path / "more" / f"{each}")

    def act() -> None:
        stop.signal_number = signal.SIGTERM
        time.sleep(0.3)

    with monkeypatch.context() as patch:
        nth_batch(patch, number, act)
        with pytest.raises(InterruptedRunError) as told:
            scan([scene.studies, tmp_path / "more"], out, SETTINGS, stop=stop)
    assert told.value.exit_code == 143
    assert not [each for each in threading.enumerate() if each.name.startswith("scoring")]
    check_aftermath(scene, out, check_between(scene, out))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Films, some of them twice under other names, and the score of each alone."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(FILMS):
        film = dataset(draw(number, size=160, severity=number % 6), number)
        save(film, folder / "studies" / f"{number:02}")
    for number in range(TWINS):
        shutil.copy(folder / "studies" / f"{number:02}", folder / "studies" / f"twin {number:02}")
    scan(folder / "studies", folder / "alone", Settings(model=TINY, workers=1))
    return folder / "studies", scores(folder / "alone")


def scores(out: Path) -> dict[str, str]:
    rows = csv.DictReader((out / "images.csv").read_text().splitlines())
    return {os.path.basename(row["path"]): row["logit"] for row in rows}


@pytest.mark.usefixtures("small_batches")
def test_each_film_gets_its_own_score_however_late_it_comes(
    many: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, alone = many
    assert len(set(alone.values())) > FILMS // 2
    chance, real = random.Random(5), Classifier.score

    def score(self: Classifier, pixels: np.ndarray) -> list[Score]:
        time.sleep(chance.random() / 20)
        return real(self, pixels)

    monkeypatch.setattr(Classifier, "score", score)
    summary = scan(studies, tmp_path / "out", Settings(model=TINY, workers=1))
    assert summary.paths == FILMS + TWINS
    assert scores(tmp_path / "out") == alone


@pytest.fixture
def own_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[WorkerPool]]:
    """The pools that scans start: real ones, not the module's."""
    pools: list[WorkerPool] = []

    def start(workers: int, settings: object) -> WorkerPool:
        pools.append(WorkerPool(workers, settings))
        return pools[-1]

    monkeypatch.setattr("screener.screening.WorkerPool", start)
    yield pools
    for pool in pools:
        assert pool._server.process.poll() is not None


@pytest.mark.usefixtures("small_batches")
def test_workers_that_all_die_while_a_batch_is_computed(
    many: tuple[Path, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_pool: list[WorkerPool],
) -> None:
    studies, alone = many

    def act() -> None:
        for worker in list(own_pool[0]._workers):
            os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.2)

    nth_batch(monkeypatch, 2, act)
    summary: RunSummary = scan(studies, tmp_path / "out", Settings(model=TINY, workers=2))
    assert summary.exit_code == 0
    assert scores(tmp_path / "out") == alone


@pytest.mark.usefixtures("small_batches")
def test_a_server_that_dies_while_a_batch_is_computed(
    many: tuple[Path, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_pool: list[WorkerPool],
) -> None:
    studies, alone = many

    def act() -> None:
        own_pool[0]._server.process.kill()
        time.sleep(0.2)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        # So few wait that the server is still needed.
        patch.setattr("screener.workers.QUEUED_PER_WORKER", 2)
        nth_batch(patch, 2, act)
        with pytest.raises(RunError, match="decoding processes"):
            scan(studies, out, Settings(model=TINY, workers=2))
    assert not (out / "triage.csv").exists()
    assert scan(studies, out, Settings(model=TINY, workers=2)).exit_code == 0
    assert scores(out) == alone
