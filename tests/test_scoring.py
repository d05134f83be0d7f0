"""`screener.scoring`: each input once, batches in order, several at work, an error told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from screener.domain import Examined, Radiograph, Score
from screener.scoring import Batches, Pending
from screener.workers import Task


@dataclass
class Scorer:
    """Says of a film the value of its first pixel; a batch waits for `go` where there is one."""

    provider: str = "test"
    notice: str = ""
    batch: int = 4
    at_once: int = 2
    go: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    sizes: list[int] = field(default_factory=list)

    def score(self, pixels: np.ndarray) -> list[Score]:
        self.sizes.append(len(pixels))
        self.entered.release()
        assert self.go.wait(20)
        return [Score((float(each[0, 0]),), (0.0,), 0.5, np.zeros(1)) for each in pixels]


def film(value: float, number: int = 0) -> Pending:
    pixels = np.full((224, 224), value, np.float32)
    radiograph = Radiograph(pixels, f"{value}", "", 0, "", b"", frozenset())
    return Pending(Task(number, b"%d" % number), Examined(None, "", None, radiograph), radiograph)


def test_batches_overlap_and_end_in_order() -> None:
    scorer = Scorer()
    with Batches(scorer, lambda key: key == "9.0") as batches:
        batches.begin([film(1.0, 1), film(2.0, 2), film(1.0, 3)])
        batches.begin([film(2.0, 4), film(3.0, 5), film(9.0, 6)])
        assert not batches.is_full
        # Known, or on the way already: nothing to compute.
        batches.begin([film(3.0, 7), film(9.0, 8)])
        assert batches.is_full
        # Both are at work before either is done.
        assert all(scorer.entered.acquire(timeout=20) for _ in range(2))
        scorer.go.set()
        taken = [batches.take() for _ in range(3)]
        assert batches.is_empty
    assert sorted(scorer.sizes) == [1, 2]
    assert [[each.task.key for each in batch.films] for batch in taken] == [
        [1, 2, 3], [4, 5, 6], [7, 8],
    ]  # fmt: skip
    said = [{key: score.scores[0] for key, score in batch.scores.items()} for batch in taken]
    assert said == [{"1.0": 1.0, "2.0": 2.0}, {"3.0": 3.0}, {}]


def test_an_error_of_the_model_ends_the_scan_where_its_batch_is_taken() -> None:
    class Broken(Scorer):
        def score(self, pixels: np.ndarray) -> list[Score]:
            raise FloatingPointError(len(pixels))

    with Batches(Broken(), lambda _: False) as batches:
        batches.begin([film(1.0)])
        with pytest.raises(FloatingPointError):
            batches.take()


def test_what_has_not_begun_is_left_when_the_scan_ends() -> None:
    scorer = Scorer(at_once=1)
    batches = Batches(scorer, lambda _: False)
    batches.begin([film(1.0)])
    batches.begin([film(2.0), film(3.0)])
    assert scorer.entered.acquire(timeout=20)
    # The first batch goes on until the second is cancelled.
    threading.Timer(0.2, scorer.go.set).start()
    batches.__exit__(None, None, None)
    assert scorer.sizes == [1]
