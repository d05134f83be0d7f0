"""Calibrated scores and operating points, end to end: what novelty turns away is never flagged.

Pure functions on arrays: export and a site's own `calibrate` fit thresholds by the same rules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from export.metrics import (
    NEVER,
    confusion_at,
    threshold_at_sensitivity,
    threshold_at_specificity,
)
from screener.domain import OperatingPoint
from screener.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from export.metrics import Estimate

DECIMALS = 4
TARGET_SENSITIVITY = 0.97
"""Of the operating point `default`, where nobody asks for another."""
SEED_SPECIFICITY = 0.956
"""Of the project's forerunner at its threshold of 0.5: operating points are compared there."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Labelled outputs of a model, one entry an image or a study.

    `positive`: whether the finding is there. `score`: in [0, 1], rounded to 4 decimals, or `NEVER`
    where nothing was scored: turned away by novelty, or refused before the model.
    """

    positive: NDArray[np.bool_]
    score: NDArray[np.float64]


def require_target(sensitivity: float) -> None:
    """Refuse a target that no sample of usual size can show.

    Raises:
        UsageError: it is not 0.5 to 0.999.
    """
    if not 0.5 <= sensitivity <= 0.999:
        raise UsageError(
            f"a target sensitivity of {sensitivity}", mend="give 0.5 to 0.999, say 0.97"
        )


def make_sample(
    positive: NDArray[np.bool_], score: NDArray[np.float32], accepted: NDArray[np.bool_]
) -> Sample:
    """The sample of single images.

    Args:
        positive: (n,) the labels.
        score: (n,) calibrated scores in [0, 1].
        accepted: (n,) False where novelty or the reader turned the image away.
    """
    rounded = np.array([round(float(value), DECIMALS) for value in score])
    return Sample(positive.copy(), np.where(accepted, rounded, NEVER))


def join_studies(sample: Sample, groups: Sequence[str]) -> Sample:
    """One entry a study: its highest score; a study with one positive image is positive."""
    order: dict[str, int] = {}
    index = np.array([order.setdefault(group, len(order)) for group in groups])
    score = np.full(len(order), NEVER)
    np.maximum.at(score, index, sample.score)
    positive = np.zeros(len(order), bool)
    np.logical_or.at(positive, index, sample.positive)
    return Sample(positive, score)


def fit_platt(logit: NDArray[np.float32], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit `score = sigmoid(a * logit + c)` by maximum likelihood (Platt 1999).

    The targets are drawn in by one image a class, as Platt does, so that separable classes still
    give a finite slope.

    Raises:
        UsageError: the logit does not rise with the finding.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Standardised, or Newton's first step could overflow.
    values = logit.astype(np.float64)
    centre, spread = float(values.mean()), float(values.std()) or 1.0
    design = np.stack([(values - centre) / spread, np.ones(len(values))], 1)
    weights = np.zeros(2)
    for _ in range(100):
        probability = 1 / (1 + np.exp(-np.clip(design @ weights, -60, 60)))
        gradient = design.T @ (probability - target)
        curvature = (design.T * (probability * (1 - probability))) @ design
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        weights -= step
        if np.abs(step).max() < 1e-10:
            break
    a, c = float(weights[0] / spread), float(weights[1] - weights[0] * centre / spread)
    if not a > 0 or not math.isfinite(a + c):
        raise UsageError(
            "the model's logit does not rise with the finding",
            f"the fitted slope is {a:.3g}",
            "train longer, or check the labels of the data",
        )
    return a, c


def measure(
    sample: Sample,
    name: str,
    finding: str,
    threshold: float,
    data: str,
    target: float | None = None,
) -> OperatingPoint:
    """What a threshold gives on a sample, with Wilson intervals."""
    confusion = confusion_at(sample.score, sample.positive, threshold)
    sensitivity, specificity = _rounded(confusion.sensitivity), _rounded(confusion.specificity)
    return OperatingPoint(
        name=name,
        finding=finding,
        threshold=threshold,
        target_sensitivity=target,
        sensitivity=sensitivity[0],
        sensitivity_interval=sensitivity[1:],
        specificity=specificity[0],
        specificity_interval=specificity[1:],
        data=data,
    )


def _rounded(estimate: Estimate | None) -> tuple[float, float, float]:
    if estimate is None:
        raise UsageError("a class is missing in the labelled data", mend="give images of both")
    value, low, high = (round(x, DECIMALS) for x in (estimate.value, estimate.low, estimate.high))
    return value, low, high


def fit_operating_points(
    sample: Sample, finding: str, target_sensitivity: float, data: str
) -> tuple[OperatingPoint, ...]:
    """The points of a new model: `default`, `seed-specificity` and `balanced`.

    Raises:
        UsageError: a class is missing, or novelty turns away so many positives that no threshold
            reaches the target.
    """
    default = threshold_at_sensitivity(sample.score, sample.positive, target_sensitivity)
    if default is None:
        scored = int((sample.score[sample.positive] > NEVER).sum())
        raise UsageError(
            f"no threshold reaches a sensitivity of {target_sensitivity}",
            f"{scored} of {int(sample.positive.sum())} positives are scored at all",
            "lower the target, or see why novelty turns them away",
        )
    specific = threshold_at_specificity(sample.score, sample.positive, SEED_SPECIFICITY)
    return (
        measure(sample, "default", finding, default, data, target_sensitivity),
        measure(sample, "seed-specificity", finding, 1.0 if specific is None else specific, data),
        measure(sample, "balanced", finding, _balanced(sample), data),
    )


def _balanced(sample: Sample) -> float:
    """The threshold with the largest sum of sensitivity and specificity (Youden 1950)."""
    candidates = np.unique(sample.score[sample.score > NEVER])
    flagged = sample.score[None] >= candidates[:, None]
    gain = flagged[:, sample.positive].mean(1) - flagged[:, ~sample.positive].mean(1)
    return float(candidates[int(gain.argmax())])
