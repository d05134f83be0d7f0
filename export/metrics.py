"""Statistics of a score against a label: pure functions over arrays, the last step of measuring.

Throughout, `scores` are float (n,), higher is more suspect, and `positive` is bool (n,). An image
that the program turned away carries the score `NEVER`: it lies below every threshold, so that a
positive among them counts as missed in each figure made from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, rankdata  # type: ignore[import-untyped]

Scores = NDArray[np.floating]
Labels = NDArray[np.bool_]

NEVER = -1.0
LEVEL = 0.95
BINS = 15


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
    def positive_predictive_value(self) -> Estimate | None:
        """At the prevalence of the sample, which is rarely that of a hospital."""
        return wilson(self.true_positive, self.true_positive + self.false_positive)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve in the order of its x axis."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DecisionCurve:
    """Net benefit (Vickers 2006) at each threshold, beside flagging everyone; no one is 0."""

    threshold: NDArray[np.float64]
    model: NDArray[np.float64]
    everyone: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images whose probability fell into one bin: how many, mean probability, share positive."""

    images: int
    probability: float
    observed: float


def wilson(successes: int, trials: int) -> Estimate | None:
    """A share with Wilson's score interval; None of nothing."""
    if trials == 0:
        return None
    interval = binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return Estimate(successes / trials, float(interval.low), float(interval.high))


def auc_delong(scores: Scores, positive: Labels) -> Estimate | None:
    """Area under the ROC curve with DeLong's interval (1988), by ranks (Sun and Xu 2014).

    None where a class is missing. The interval is Wald's, cut at 0 and 1; at an area of exactly 1
    it has no width, which says that the sample is too small for the question.
    """
    x, y = scores[positive], scores[~positive]
    m, n = len(x), len(y)
    if m == 0 or n == 0:
        return None
    joint = rankdata(np.concatenate([x, y]))
    v10 = (joint[:m] - rankdata(x)) / n
    v01 = 1 - (joint[m:] - rankdata(y)) / m
    area = float(v10.mean())
    variance = _variance(v10) / m + _variance(v01) / n
    margin = float(norm.ppf(0.5 + LEVEL / 2)) * math.sqrt(variance)
    return Estimate(area, max(0.0, area - margin), min(1.0, area + margin))


def _variance(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


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
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(member, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(rounds):
        drawn = generator.integers(len(parts), size=len(parts))
        value = statistic(np.concatenate([parts[i] for i in drawn]))
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


def roc_curve(scores: Scores, positive: Labels) -> Curve:
    """x: 1 - specificity, y: sensitivity."""
    from sklearn.metrics import roc_curve as by_library

    false_rate, true_rate, _ = by_library(positive, scores)
    return Curve(false_rate, true_rate)


def precision_curve(scores: Scores, positive: Labels) -> Curve:
    """x: sensitivity, y: positive predictive value."""
    from sklearn.metrics import precision_recall_curve

    value, sensitivity, _ = precision_recall_curve(positive, scores)
    return Curve(sensitivity[::-1], value[::-1])


def average_precision(scores: Scores, positive: Labels) -> float | None:
    """The area under the PR curve, as a step function; None where a class is missing."""
    from sklearn.metrics import average_precision_score

    if positive.all() or not positive.any():
        return None
    return float(average_precision_score(positive, scores))


def brier(probability: Scores, positive: Labels) -> float:
    """The mean squared distance of the probability from the label."""
    return float(np.square(probability - positive).mean())


def reliability(probability: Scores, positive: Labels) -> list[ReliabilityBin]:
    """15 bins of equal width; empty ones are left out."""
    index = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [
        ReliabilityBin(
            int(inside.sum()), float(probability[inside].mean()), float(positive[inside].mean())
        )
        for inside in (index == number for number in range(BINS))
        if inside.any()
    ]


def calibration_error(probability: Scores, positive: Labels) -> float:
    """Expected calibration error over `reliability`'s bins (Naeini 2015)."""
    bins = reliability(probability, positive)
    return sum(b.images * abs(b.probability - b.observed) for b in bins) / len(probability)


def calibration_line(logit: Scores, positive: Labels) -> tuple[Estimate, Estimate] | None:
    """Slope and intercept of the label's log odds on the calibrated logit (Cox 1958).

    1 and 0 are perfect; a slope under 1 means scores that are too extreme. Newton's steps on the
    likelihood, Wald's intervals. None where the classes do not overlap, for then any slope fits.
    """
    x, y = logit[positive], logit[~positive]
    if len(x) == 0 or len(y) == 0 or x.min() >= y.max() or y.min() >= x.max():
        return None
    design = np.column_stack([logit.astype(np.float64), np.ones(len(logit))])
    beta = np.array([1.0, 0.0])
    likelihood = _log_likelihood(design @ beta, positive)
    for _ in range(100):
        p = _sigmoid(design @ beta)
        information = (design * (p * (1 - p))[:, None]).T @ design
        step = np.linalg.lstsq(information, design.T @ (positive - p), rcond=None)[0]
        while True:
            trial = _log_likelihood(design @ (beta + step), positive)
            if trial >= likelihood - 1e-12 or np.abs(step).max() < 1e-12:
                break
            step /= 2
        beta, likelihood = beta + step, trial
        if np.abs(step).max() < 1e-9:
            break
    margin = norm.ppf(0.5 + LEVEL / 2) * np.sqrt(np.diag(np.linalg.pinv(information)))
    slope, intercept = (
        Estimate(float(b), float(b - w), float(b + w)) for b, w in zip(beta, margin, strict=True)
    )
    return slope, intercept


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    p: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
    return p


def _log_likelihood(logit: NDArray[np.float64], positive: Labels) -> float:
    return -float(np.logaddexp(0, np.where(positive, -logit, logit)).sum())


def decision_curve(probability: Scores, positive: Labels) -> DecisionCurve:
    """Net benefit at thresholds of 1 to 99 %."""
    thresholds = np.arange(1, 100) / 100
    odds = thresholds / (1 - thresholds)
    prevalence = float(positive.mean())
    model = []
    for threshold, weight in zip(thresholds, odds, strict=True):
        counts = confusion_at(probability, positive, float(threshold))
        net = counts.true_positive - weight * counts.false_positive
        model.append(net / len(positive))
    return DecisionCurve(thresholds, np.array(model), prevalence - (1 - prevalence) * odds)
