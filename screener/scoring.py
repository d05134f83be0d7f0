"""Batches of films that are scored beside the scan's own thread, and what is waiting for each.

Between `screener.night`, which collects films and keeps what was said of them, and
`screener.classifier`. While a batch is computed the scan goes on: it reads what the workers found,
hands them new paths and writes the rows of the batch before. Batches end in the order in which they
began, so that the same films leave the same state.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

    from screener.domain import Examined, Radiograph, Score
    from screener.workers import Task


class Scorer(Protocol):
    """What a night needs of a classifier; `screener.classifier` has the one that computes."""

    @property
    def provider(self) -> str:
        """What really computes."""

    @property
    def notice(self) -> str:
        """What the user should know of it; empty for nothing."""

    @property
    def batch(self) -> int:
        """How many films are scored at once."""

    @property
    def at_once(self) -> int:
        """How many threads may score at once and gain by it."""

    def score(self, pixels: NDArray[np.float32]) -> list[Score]:
        """Score films: float32 (n, 224, 224) in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A radiograph that waits for its score."""

    task: Task
    examined: Examined
    radiograph: Radiograph


@dataclass(frozen=True, slots=True)
class Scored:
    """What became of a batch: the films that waited, and the scores of those that were new."""

    films: tuple[Pending, ...]
    scores: dict[str, Score]


@dataclass(frozen=True, slots=True)
class _Batch:
    films: tuple[Pending, ...]
    keys: tuple[str, ...]
    future: Future[list[Score]] | None


class Batches:
    """The batches that are being scored; a context manager.

    One more is begun than are computed at once: a thread that has done one finds the next.
    """

    def __init__(self, classifier: Scorer, is_known: Callable[[str], bool]) -> None:
        """Score with `classifier` what `is_known` does not say that it was scored before."""
        self._classifier, self._is_known = classifier, is_known
        self._threads = ThreadPoolExecutor(classifier.at_once, "scoring")
        self._begun: deque[_Batch] = deque()
        self._computing: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    @property
    def is_full(self) -> bool:
        """Whether the oldest batch should be taken before another is begun."""
        return len(self._begun) > self._classifier.at_once

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to take."""
        return not self._begun

    def begin(self, films: list[Pending]) -> None:
        """Score films, each model input once."""
        new: dict[str, Radiograph] = {}
        for film in films:
            key = film.radiograph.pixels_sha256
            if key not in self._computing and not self._is_known(key):
                new[key] = film.radiograph
        future = None
        if new:
            pixels = np.stack([radiograph.pixels for radiograph in new.values()])
            future = self._threads.submit(self._classifier.score, pixels)
        self._computing |= new.keys()
        self._begun.append(_Batch(tuple(films), tuple(new), future))

    def take(self) -> Scored:
        """Wait for the oldest batch.

        Raises:
            RunError: the model gave something that is no number.
        """
        batch = self._begun.popleft()
        scores = batch.future.result() if batch.future is not None else []
        self._computing -= set(batch.keys)
        return Scored(batch.films, dict(zip(batch.keys, scores, strict=True)))
