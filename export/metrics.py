"""Statistics of a score against a label: pure functions over arrays, the last step of measuring.

Throughout, `scores` are float (n,), higher is more suspect, and `positive` is bool (n,). An image
that the program turned away carries the score `NEVER`: it lies below every threshold, so that a
positive among them counts as missed in each figure made from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, rankdata  # type: ignore[import-untyped]

Scores = NDArray[np.floating]
Labels = NDArray[np.bool_]

NEVER = -1.0
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts at one threshold; a score at or above it is flagged."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int

    @property
    def sensitivity(self) -> Estimate | None:
        """Wilson's interval; None without positives."""
        return wilson(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> Estimate | None:
        """Wilson's interval; None without negatives."""
        return wilson(self.true_negative, self.true_negative + self.false_positive)

    @property
    def negative_predictive_value(self) -> Estimate | None:
        """At the prevalence of the sample, as the positive one."""
        return wilson(self.true_negative, self.true_negative + self.false_negative)

    @property
    def positive_predictive_value(self) -> Estimate | None:
        """At the prevalence of the sample, which is rarely that of a hospital."""
        return wilson(self.true_positive, self.true_positive + self.false_positive)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve in the order of its x axis."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


def wilson(successes: int, trials: int) -> Estimate | None:
    """A share with Wilson's score interval; None of nothing."""
    if trials == 0:
        return None
    interval = binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return Estimate(successes / trials, float(interval.low), float(interval.high))


def auc_delong(scores: Scores, positive: Labels) -> Estimate | None:
    """Area under the ROC curve with DeLong's interval (1988), by ranks (Sun and Xu 2014).

    None where a class is missing. The interval is Wald's, cut at 0 and 1; at an area of exactly 1
    it has no width, which says that the sample is too small for the question. One image of a class
    does not tell how far another would lie from it: then the interval is 0 to 1.
    """
    x, y = scores[positive], scores[~positive]
    m, n = len(x), len(y)
    if m == 0 or n == 0:
        return None
    joint = rankdata(np.concatenate([x, y]))
    v10 = (joint[:m] - rankdata(x)) / n
    v01 = 1 - (joint[m:] - rankdata(y)) / m
    area = float(v10.mean())
    if min(m, n) == 1:
        return Estimate(area, 0.0, 1.0)
    variance = float(v10.var(ddof=1)) / m + float(v01.var(ddof=1)) / n
    margin = float(norm.ppf(0.5 + LEVEL / 2)) * math.sqrt(variance)
    return Estimate(area, max(0.0, area - margin), min(1.0, area + margin))


def draw_groups(groups: Sequence[str], rounds: int, seed: int = 1) -> Iterator[NDArray[np.intp]]:
    """Samples of whole groups with repetition: for each round an index array into the sample."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(member, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
    generator = np.random.default_rng(seed)
    for _ in range(rounds):
        drawn = generator.integers(len(parts), size=len(parts))
        # Joining pieces of one image each is what takes the time.
        alone = len(parts) == len(order)
        yield order[drawn] if alone else np.concatenate([parts[i] for i in drawn])


def bootstrap_by_group(
    statistic: Callable[[NDArray[np.intp]], float | None],
    groups: Sequence[str],
    *,
    rounds: int = 1000,
    seed: int = 1,
) -> tuple[float, float] | None:
    """The 95 % percentile interval of a statistic when whole groups are drawn again.

    Images of one patient, or near-duplicates, say the same thing twice; drawing groups lets the
    interval know it.

    Args:
        statistic: Of an index array into the sample, repetitions included; None where the drawn
            sample does not allow it, which leaves the round out.
        groups: The group of each image.
        rounds: How many samples to draw.
        seed: The only source of randomness.

    Returns:
        None where fewer than half of the rounds gave a value.
    """
    values = []
    for index in draw_groups(groups, rounds, seed):
        value = statistic(index)
        if value is not None:
            values.append(value)
    if len(values) < rounds / 2:
        return None
    low, high = np.percentile(values, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return float(low), float(high)


def confusion_at(scores: Scores, positive: Labels, threshold: float) -> Confusion:
    """Count at a threshold."""
    flagged = scores >= threshold
    return Confusion(
        int((flagged & positive).sum()),
        int((~flagged & positive).sum()),
        int((flagged & ~positive).sum()),
        int((~flagged & ~positive).sum()),
    )


def threshold_at_sensitivity(scores: Scores, positive: Labels, target: float) -> float | None:
    """The highest threshold that flags at least `target` of the positives.

    None where too many were turned away to reach it by any threshold.
    """
    ordered = np.sort(scores[positive])[::-1]
    needed = math.ceil(target * len(ordered) - 1e-9)
    if len(ordered) == 0 or needed == 0 or ordered[needed - 1] <= NEVER:
        return None
    return float(ordered[needed - 1])


def threshold_at_specificity(scores: Scores, positive: Labels, target: float) -> float | None:
    """The lowest of the scores that, as threshold, leaves `target` of the negatives unflagged.

    None where no score of the sample is high enough.
    """
    negatives = np.sort(scores[~positive])[::-1]
    allowed = math.floor((1 - target) * len(negatives) + 1e-9)
    if len(negatives) == 0:
        return None
    floor = NEVER if allowed >= len(negatives) else float(negatives[allowed])
    above = scores[scores > max(floor, NEVER)]
    return float(above.min()) if len(above) else None


def _flagged(scores: Scores, positive: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many positives and negatives are flagged at each different score, from the highest."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    hits = np.cumsum(positive[order], dtype=np.float64)[last]
    return hits, last + 1 - hits


def roc_curve(scores: Scores, positive: Labels) -> Curve:
    """x: 1 - specificity, y: sensitivity; a point for each different score."""
    hits, false = _flagged(scores, positive)
    return Curve(np.append(0.0, false / false[-1]), np.append(0.0, hits / hits[-1]))


def roc_band(
    scores: Scores, positive: Labels, groups: Sequence[str], x: NDArray[np.float64], rounds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The 95 % band of the sensitivity at each `1 - specificity` of `x`, groups drawn again.

    Pointwise: each place has its own interval. None where fewer than half of the rounds had both
    classes.
    """
    drawn = []
    for index in draw_groups(groups, rounds):
        own = positive[index]
        if own.any() and not own.all():
            curve = roc_curve(scores[index], own)
            drawn.append(np.interp(x, curve.x, curve.y))
    if len(drawn) < rounds / 2:
        return None
    low, high = np.percentile(drawn, (50 * (1 - LEVEL), 50 * (1 + LEVEL)), axis=0)
    return low, high


def precision_curve(scores: Scores, positive: Labels) -> Curve:
    """x: sensitivity, y: positive predictive value, 1 where nothing is flagged."""
    hits, false = _flagged(scores, positive)
    return Curve(np.append(0.0, hits / hits[-1]), np.append(1.0, hits / (hits + false)))


def average_precision(scores: Scores, positive: Labels) -> float | None:
    """The area under the PR curve, as a step function; None where a class is missing."""
    if positive.all() or not positive.any():
        return None
    curve = precision_curve(scores, positive)
    return float((np.diff(curve.x) * curve.y[1:]).sum())
