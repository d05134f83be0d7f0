"""Statistics of a probability against a label: is 0.3 found in three of ten? Pure functions.

Throughout, `probability` is float (n,) in [0, 1] and `positive` bool (n,). Only images that the
program scores show a probability to anyone, so the calibration is theirs; net benefit is end to
end, where what was turned away carries `NEVER` and is never flagged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq  # type: ignore[import-untyped]
from scipy.special import expit  # type: ignore[import-untyped]
from scipy.stats import norm  # type: ignore[import-untyped]

from export.metrics import LEVEL, Estimate, Labels, Scores, confusion_at

BINS = 15


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
        p = expit(design @ beta)
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


def calibration_in_the_large(logit: Scores, positive: Labels) -> Estimate | None:
    """The intercept where the slope is held at 1: 0 where as many are positive as was said.

    Above 0 the scores are too low on average. By maximum likelihood, Wald's interval. None where
    a class is missing.
    """
    if positive.all() or not positive.any():
        return None
    x = logit.astype(np.float64)
    low, high = -float(x.max()) - 40, -float(x.min()) + 40
    wanted = float(positive.sum())
    shift = float(brentq(lambda b: float(expit(x + b).sum()) - wanted, low, high))
    p = expit(x + shift)
    margin = float(norm.ppf(0.5 + LEVEL / 2) / np.sqrt((p * (1 - p)).sum()))
    return Estimate(shift, shift - margin, shift + margin)


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
