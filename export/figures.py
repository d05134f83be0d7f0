"""Scored images -> the figures of `metrics.json`. Pure; `export.evaluate` feeds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from export import metrics, probability
from export.calibration import Sample, join_studies
from export.metrics import NEVER, Confusion
from export.subgroups import subgroups
from export.waiting import Site, flags, waiting
from screener.domain import OperatingPoint
from screener.outcomes import ReasonCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.dataset import LabelledImage
    from screener.domain import Rejection

SPECIFICITIES = (0.956, 0.97)
"""The first is that of the project's forerunner."""
TARGET_SENSITIVITY = 0.97
BOOTSTRAP_ROUNDS = 500
LISTED = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model said of labelled images; arrays of n entries in the order of `images`.

    `score`: calibrated, in [0, 1], 4 decimals, end to end: `NEVER` where the program turned the
    image away. `probability`: the same with novelty left aside, NaN where nothing could be read,
    as in `logit` (calibrated: a * logit + c) and `novelty`. `cam`: (n, 7, 7).
    `variants`: the logit of each of the audit's blanked images. `mean_films`: the mean film of
    the negatives and of the positives, (2, 224, 224); None where the audit was left out.
    """

    images: Sequence[LabelledImage]
    positive: NDArray[np.bool_]
    score: NDArray[np.float64]
    probability: NDArray[np.float64]
    logit: NDArray[np.float64]
    novelty: NDArray[np.float64]
    cam: NDArray[np.float32]
    rejections: Sequence[Rejection | None]
    variants: dict[str, NDArray[np.float64]]
    mean_films: NDArray[np.float64] | None = None

    @property
    def read(self) -> NDArray[np.bool_]:
        """The images that could be read and had a score, novelty aside."""
        return np.isfinite(self.logit)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """The images that `scan` would have scored."""
        return self.score > NEVER

    @property
    def ranked(self) -> NDArray[np.float64]:
        """The logit, below all others where the image was turned away: finer than 4 decimals."""
        return np.where(self.scored, self.logit, np.finfo(np.float64).min)


def figures(
    measured: Measured,
    points: Sequence[OperatingPoint],
    study_points: Sequence[OperatingPoint],
    group_by: Sequence[str],
    site: Site,
) -> dict[str, Any]:
    """All figures but the audit's.

    Args:
        measured: What the model said.
        points: The operating points that judge an image; subgroups are measured at the first.
        study_points: Those that judge a study.
        group_by: The columns whose subgroups are measured.
        site: The reading room whose waiting times are reckoned.
    """
    positive, score, scored = measured.positive, measured.score, measured.scored
    groups = [image.group for image in measured.images]
    read = measured.read
    images = Sample(positive, score)
    studies = join_studies(images, groups)
    return {
        "counts": {
            "images": len(positive),
            "positive": int(positive.sum()),
            "negative": int((~positive).sum()),
            "groups": len(set(groups)),
            "scored": int(scored.sum()),
        },
        "turned_away": {
            "positive": turned_away(measured, positive),
            "negative": turned_away(measured, ~positive),
        },
        "auc": metrics.auc_delong(measured.logit[read], positive[read]),
        "auc_end_to_end": metrics.auc_delong(measured.ranked, positive),
        "auc_interval_by_group": _interval(groups, lambda index: _area(measured, index)),
        "average_precision": metrics.average_precision(score, positive),
        "average_precision_interval_by_group": _interval(
            groups, lambda index: metrics.average_precision(score[index], positive[index])
        ),
        "prevalence": float(positive.mean()),
        "calibration": _calibration(measured),
        "operating_points": [_point(images, point) for point in points],
        **{
            f"at_specificity_{target}": _at(
                images, metrics.threshold_at_specificity(score, positive, target)
            )
            for target in SPECIFICITIES
        },
        f"at_sensitivity_{TARGET_SENSITIVITY}": _at(
            images, metrics.threshold_at_sensitivity(score, positive, TARGET_SENSITIVITY)
        ),
        "studies": {
            "count": len(studies.positive),
            "positive": int(studies.positive.sum()),
            "auc_end_to_end": metrics.auc_delong(studies.score, studies.positive),
            "operating_points": [_point(studies, point) for point in study_points],
        },
        "subgroups": {
            column: subgroups(measured, column, points[0].threshold if points else None)
            for column in group_by
        },
        "waiting": {
            "site": site,
            "operating_points": [_waiting(studies, point, site) for point in study_points],
        },
        "not_scored": not_scored(measured)[:LISTED],
    }


def _interval(
    groups: Sequence[str], statistic: Callable[[NDArray[np.intp]], float | None]
) -> tuple[float, float] | None:
    return metrics.bootstrap_by_group(statistic, groups, rounds=BOOTSTRAP_ROUNDS)


def _area(measured: Measured, index: NDArray[np.intp]) -> float | None:
    estimate = metrics.auc_delong(measured.ranked[index], measured.positive[index])
    return estimate.value if estimate else None


def turned_away(measured: Measured, among: NDArray[np.bool_]) -> dict[str, Any]:
    """How many of these images `scan` would not score, by reason."""
    codes = [
        rejection.code
        for rejection, chosen in zip(measured.rejections, among, strict=True)
        if chosen and rejection is not None
    ]
    total = int(among.sum())
    return {
        "images": total,
        "turned_away": len(codes),
        "share": metrics.wilson(len(codes), total),
        "share_by_novelty": metrics.wilson(codes.count(ReasonCode.NOVEL), total),
        "reasons": dict(sorted(Counter(str(code) for code in codes).items())),
    }


def not_scored(measured: Measured) -> list[dict[str, Any]]:
    """What `scan` would not score: the row in `predictions.csv`, label and reason, no name."""
    return [
        {
            "number": number,
            "label": image.label,
            "outcome": str(rejection.outcome),
            "reason_code": str(rejection.code),
        }
        for number, (image, rejection) in enumerate(
            zip(measured.images, measured.rejections, strict=True)
        )
        if rejection is not None
    ]


def _calibration(measured: Measured) -> dict[str, Any] | None:
    """Of the images that `scan` would score: only they show a probability to anyone."""
    scored = measured.scored
    if not scored.any():
        return None
    said, positive = measured.score[scored], measured.positive[scored]
    groups = [image.group for image, here in zip(measured.images, scored, strict=True) if here]
    line = probability.calibration_line(measured.logit[scored], positive)
    return {
        "images": int(scored.sum()),
        "brier": probability.brier(said, positive),
        "brier_interval_by_group": _interval(
            groups, lambda index: probability.brier(said[index], positive[index])
        ),
        "ece15": probability.calibration_error(said, positive),
        "slope": line[0] if line else None,
        "intercept": line[1] if line else None,
        "in_the_large": probability.calibration_in_the_large(measured.logit[scored], positive),
        "mean_probability": float(said.mean()),
        "observed": float(positive.mean()),
        "reliability": probability.reliability(said, positive),
    }


def _point(sample: Sample, point: OperatingPoint) -> dict[str, Any]:
    stated = asdict(point)
    return {
        "name": point.name,
        **_at(sample, point.threshold),
        "stated_in_card": {
            key: stated[key]
            for key in (
                "target_sensitivity",
                "sensitivity",
                "sensitivity_interval",
                "specificity",
                "specificity_interval",
                "data",
            )
        },
    }


def _at(sample: Sample, threshold: float | None) -> dict[str, Any]:
    """Sensitivity, specificity and counts at a threshold; all None where there is none."""
    if threshold is None:
        return dict.fromkeys(
            (
                *("threshold", "sensitivity", "specificity", "positive_predictive_value"),
                *("negative_predictive_value", "confusion", "missed_turned_away"),
            )
        )
    counts: Confusion = metrics.confusion_at(sample.score, sample.positive, threshold)
    return {
        "threshold": threshold,
        "sensitivity": counts.sensitivity,
        "specificity": counts.specificity,
        "positive_predictive_value": counts.positive_predictive_value,
        "negative_predictive_value": counts.negative_predictive_value,
        "confusion": counts,
        # Of the false negatives: not below the threshold but without a score.
        "missed_turned_away": int((sample.positive & (sample.score == NEVER)).sum()),
    }


def _waiting(studies: Sample, point: OperatingPoint, site: Site) -> dict[str, Any]:
    """The waiting times at a point, and at the unfavourable ends of its intervals."""
    counts = metrics.confusion_at(studies.score, studies.positive, point.threshold)
    sensitivity, specificity = counts.sensitivity, counts.specificity
    if sensitivity is None or specificity is None:
        return {"name": point.name, "threshold": point.threshold, "waiting": None}
    return {
        "name": point.name,
        "threshold": point.threshold,
        "waiting": waiting(site, sensitivity.value, specificity.value),
        "waiting_at_lower_ends": waiting(site, sensitivity.low, specificity.low),
        "flags": flags(site, sensitivity.value, specificity.value),
    }
