"""Labelled images -> what a model says of them: read as `scan` reads, scored in one pass.

The audit's blanked copies are scored in the same pass, so that no more than one block of images is
in memory, however many there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from export.audit import VARIANTS
from export.calibration import make_sample
from export.figures import Measured
from export.pixels import header_columns, read_examined
from screener.domain import Rejection
from screener.errors import RunError, UsageError
from screener.outcomes import ReasonCode
from screener.preprocess import SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.dataset import LabelledImage
    from export.models import Model, ModelFacts
    from screener.classifier import Outputs

BLOCK = 64


def measure_images(
    model: Model,
    images: Sequence[LabelledImage],
    finding: int,
    tell: Callable[[str], None] = lambda _: None,
    *,
    with_audit: bool = True,
) -> Measured:
    """Read and score images; and their blanked copies for the audit.

    What a DICOM header states of the film joins the columns of its image.

    Raises:
        UsageError: not one image could be read.
        RunError: the model gave something that is no number.
    """
    batches = _Batches(model, len(images), finding, with_audit=with_audit)
    rejections: list[Rejection | None] = [None] * len(images)
    known = list(images)
    clock = Clock(len(images))
    for done, (at, examined) in enumerate(read_examined(images, model.facts.age_range), 1):
        if examined.instance is not None:
            headers = header_columns(examined.instance)
            known[at] = replace(known[at], columns=headers | known[at].columns)
        if isinstance(examined.result, Rejection):
            rejections[at] = examined.result
        elif batches.add(at, examined.result.pixels, positive=images[at].positive):
            tell(f"{done} of {len(images)} images, {clock.left(done)}")
    batches.flush()
    if not np.isfinite(batches.logit).any():
        raise UsageError(
            f"none of the {len(images)} images could be read",
            ", ".join(sorted({str(rejection.code) for rejection in rejections if rejection})),
            "`screener scan` says more of each",
        )
    _turn_away_novel(rejections, batches.novelty, model.facts.novelty_limit)
    positive = np.array([image.positive for image in images])
    accepted = np.array([rejection is None for rejection in rejections])
    sample = make_sample(positive, np.nan_to_num(batches.probability), accepted)
    return Measured(
        images=known,
        positive=positive,
        score=sample.score,
        probability=batches.probability,
        logit=batches.logit,
        novelty=batches.novelty,
        cam=batches.cam,
        rejections=rejections,
        variants=batches.variants,
        mean_films=batches.mean_films() if with_audit else None,
    )


class Clock:
    """Says how much longer it takes, from what was done so far."""

    def __init__(self, total: int) -> None:
        self._total, self._started = total, time.monotonic()

    def left(self, done: int) -> str:
        """The time left in words."""
        left_s = (time.monotonic() - self._started) / done * (self._total - done)
        return f"{left_s / 60:.0f} min left" if left_s >= 90 else f"{left_s:.0f} s left"


class _Batches:
    """Collects pixels to blocks, runs them, and keeps what came out; NaN where nothing was run."""

    def __init__(self, model: Model, n: int, finding: int, *, with_audit: bool) -> None:
        self._model, self._finding = model, finding
        self._index: list[int] = []
        self._pixels: list[NDArray[np.float32]] = []
        self.logit, self.probability, self.novelty = (np.full(n, np.nan) for _ in range(3))
        self.cam = np.zeros((n, 7, 7), np.float32)
        self.variants = {name: np.full(n, np.nan) for name in VARIANTS} if with_audit else {}
        self._sums, self._counts = np.zeros((2, SIZE, SIZE)), np.zeros(2)

    def mean_films(self) -> NDArray[np.float64]:
        """(2, 224, 224): of the negatives and the positives; zero where there was none."""
        means: NDArray[np.float64] = self._sums / np.maximum(self._counts, 1)[:, None, None]
        return means

    def add(self, at: int, pixels: NDArray[np.float32], *, positive: bool) -> bool:
        """Take an image; True where it filled a block, which was run."""
        self._sums[int(positive)] += pixels
        self._counts[int(positive)] += 1
        self._index.append(at)
        self._pixels.append(pixels)
        if len(self._pixels) < BLOCK:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Run what is there."""
        if not self._pixels:
            return
        pixels, finding = np.stack(self._pixels), self._finding
        outputs = self._run(pixels)
        a, c = _slope(self._model.facts, finding)
        self.logit[self._index] = a * outputs.logit[:, finding].astype(np.float64) + c
        self.probability[self._index] = outputs.score[:, finding]
        self.novelty[self._index] = outputs.novelty
        self.cam[self._index] = outputs.cam[:, finding]
        for name, logit in self.variants.items():
            logit[self._index] = self._run(VARIANTS[name](pixels)).logit[:, finding]
        self._index.clear()
        self._pixels.clear()

    def _run(self, pixels: NDArray[np.float32]) -> Outputs:
        outputs = self._model.run(pixels)
        if not (np.isfinite(outputs.logit).all() and np.isfinite(outputs.novelty).all()):
            raise RunError(
                "the model gave a logit or novelty that is no number",
                mend="run `screener model verify`, or with --device cpu",
            )
        return outputs


def _slope(facts: ModelFacts, finding: int) -> tuple[float, float]:
    if facts.card is None:
        return 1.0, 0.0
    calibration = facts.card.calibration[finding]
    return calibration.a, calibration.c


def _turn_away_novel(
    rejections: list[Rejection | None], novelty: NDArray[np.float64], limit: float | None
) -> None:
    if limit is None:
        return
    for at in np.flatnonzero(novelty > limit):
        rejections[at] = Rejection(ReasonCode.NOVEL, f"novelty {novelty[at]:.2f}")
