"""Scored images -> the figures of `metrics.json`. Pure; `export.evaluate` feeds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from export import metrics
from export.calibration import Sample, join_studies
from export.metrics import NEVER, Confusion
from screener.domain import OperatingPoint, ReasonCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.dataset import LabelledImage
    from screener.domain import Rejection

SEED_SPECIFICITY = 0.956
TARGET_SENSITIVITY = 0.97
MOST_SUBGROUPS = 20
BOOTSTRAP_ROUNDS = 500


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model said of labelled images; arrays of n entries in the order of `images`.

    `score`: calibrated, in [0, 1], 4 decimals, end to end: `NEVER` where the program turned the
    image away. `probability`: the same with novelty left aside, NaN where nothing could be read,
    as in `logit` (calibrated: a * logit + c) and `novelty`. `cam`: (n, 7, 7).
    `variants`: the logit of each of the audit's blanked images.
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

    @property
    def read(self) -> NDArray[np.bool_]:
        """The images that could be read and had a score, novelty aside."""
        return np.isfinite(self.logit)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """The images that `scan` would have scored."""
        return self.score > NEVER


def figures(
    measured: Measured,
    points: Sequence[OperatingPoint],
    study_points: Sequence[OperatingPoint],
    group_by: Sequence[str],
) -> dict[str, Any]:
    """All figures but the audit's. `group_by`: the columns whose subgroups are measured."""
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
        "auc_end_to_end": metrics.auc_delong(_ranked(measured), positive),
        "auc_interval_by_group": _auc_by_group(measured, groups),
        "average_precision": metrics.average_precision(score, positive),
        "prevalence": float(positive.mean()),
        "calibration": _calibration(measured),
        "operating_points": [_point(images, point) for point in points],
        f"at_specificity_{SEED_SPECIFICITY}": _at(
            images, metrics.threshold_at_specificity(score, positive, SEED_SPECIFICITY)
        ),
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
            column: subgroups(measured, column, points[0] if points else None)
            for column in group_by
        },
    }


def _ranked(measured: Measured) -> NDArray[np.float64]:
    """The logit, below all others where the image was turned away: finer than 4 decimals."""
    return np.where(measured.scored, measured.logit, np.finfo(np.float64).min)


def _auc_by_group(measured: Measured, groups: Sequence[str]) -> tuple[float, float] | None:
    ranked, positive = _ranked(measured), measured.positive

    def area(index: NDArray[np.intp]) -> float | None:
        estimate = metrics.auc_delong(ranked[index], positive[index])
        return estimate.value if estimate else None

    return metrics.bootstrap_by_group(area, groups, rounds=BOOTSTRAP_ROUNDS)


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


def _calibration(measured: Measured) -> dict[str, Any] | None:
    """Of the images that `scan` would score: only they show a probability to anyone."""
    scored = measured.scored
    if not scored.any():
        return None
    probability, positive = measured.score[scored], measured.positive[scored]
    line = metrics.calibration_line(measured.logit[scored], positive)
    return {
        "images": int(scored.sum()),
        "brier": metrics.brier(probability, positive),
        "ece15": metrics.calibration_error(probability, positive),
        "slope": line[0] if line else None,
        "intercept": line[1] if line else None,
        "mean_probability": float(probability.mean()),
        "observed": float(positive.mean()),
        "reliability": metrics.reliability(probability, positive),
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
            ("threshold", "sensitivity", "specificity", "positive_predictive_value", "confusion")
        )
    counts: Confusion = metrics.confusion_at(sample.score, sample.positive, threshold)
    return {
        "threshold": threshold,
        "sensitivity": counts.sensitivity,
        "specificity": counts.specificity,
        "positive_predictive_value": counts.positive_predictive_value,
        "confusion": counts,
    }


def columns_with_subgroups(images: Sequence[LabelledImage]) -> list[str]:
    """The further columns with few values: 2 to 20, each for at least two images on average."""
    names = sorted({name for image in images for name in image.columns} - {"split"})
    chosen = []
    for name in names:
        values = {image.columns.get(name, "") for image in images}
        if 2 <= len(values) <= min(MOST_SUBGROUPS, len(images) // 2):
            chosen.append(name)
    return chosen


def subgroups(
    measured: Measured, column: str, point: OperatingPoint | None
) -> dict[str, dict[str, Any]]:
    """The main figures for each value of a column; what a value lacks is None."""
    values = np.array([image.columns.get(column, "") for image in measured.images])
    found: dict[str, dict[str, Any]] = {}
    for value in sorted(set(values.tolist())):
        own = values == value
        positive = measured.positive[own]
        sample = Sample(positive, measured.score[own])
        at = _at(sample, point.threshold if point else None)
        found[value] = {
            "images": int(own.sum()),
            "positive": int(positive.sum()),
            "turned_away": int((~measured.scored[own]).sum()),
            "auc_end_to_end": metrics.auc_delong(_ranked(measured)[own], positive),
            "sensitivity": at["sensitivity"],
            "specificity": at["specificity"],
        }
    return found
