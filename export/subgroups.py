"""Figures apart for each value of a column: source, sex, age, device, or what the header states."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from export import metrics
from export.metrics import confusion_at
from export.pixels import HEADER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.dataset import LabelledImage
    from export.figures import Measured

MOST = 20
BANDS = 4
UNKNOWN = ""
IDENTIFYING = re.compile(
    r"(?i:name|mrn|accession|birth|referr|physician|(^|[_ -])u?id$"
    r"|patient([_ -]?(id|no|nr|number|key))?$)|[a-z]U?ID$"
)
"""Columns that may say who the patient is: tabulated only where `--group-by` asks for them."""


def columns_with_subgroups(images: Sequence[LabelledImage]) -> list[str]:
    """The further columns that are worth a table.

    Those of 2 to 20 values, each for at least two images on average, and numbers of more values (an
    age), which are cut to bands; not those that are another for nearly each image (an identifier)
    or are called like one, nor a header's where most images have none.
    """
    names = sorted({name for image in images for name in image.columns} - {"split"})
    chosen = []
    for name in names:
        of_images = [image.columns.get(name, UNKNOWN) for image in images]
        values = set(of_images)
        if name.startswith(HEADER):
            if of_images.count(UNKNOWN) > len(images) / 2:
                continue
        elif IDENTIFYING.search(name):
            continue
        few = 2 <= len(values) <= MOST
        if len(values) <= len(images) // 2 and (few or _as_numbers(values) is not None):
            chosen.append(name)
    return chosen


def _as_numbers(values: set[str]) -> dict[str, float] | None:
    """Each value as a number, but for the empty one; None where one is not, or where few differ."""
    if len(values) <= MOST:
        return None
    try:
        numbers = {value: float(value) for value in values if value != UNKNOWN}
    except ValueError:
        return None
    return numbers if np.isfinite(list(numbers.values())).all() else None


def values_of(images: Sequence[LabelledImage], column: str) -> NDArray[np.str_]:
    """(n,) the value of each image, numbers of many values as the band that they fall into."""
    values = [image.columns.get(column, UNKNOWN) for image in images]
    numbers = _as_numbers(set(values))
    if numbers is None:
        return np.array(values)
    known = np.array([numbers[value] for value in values if value in numbers])
    edges = np.unique(np.quantile(known, np.arange(BANDS + 1) / BANDS))
    if len(edges) < 3:
        return np.array(values)
    return np.array([_band(numbers.get(value), edges) for value in values])


def _band(number: float | None, edges: NDArray[np.float64]) -> str:
    if number is None:
        return UNKNOWN
    at = min(int(np.searchsorted(edges, number, side="right")), len(edges) - 1)
    last = at == len(edges) - 1
    return f"{edges[at - 1]:g} to {'' if last else 'under '}{edges[at]:g}"


def subgroups(
    measured: Measured, column: str, threshold: float | None
) -> dict[str, dict[str, Any]]:
    """The main figures for each value of a column; what a value lacks is None.

    Args:
        measured: All images.
        column: Of the data.
        threshold: Of the operating point at which sensitivity and specificity are given.
    """
    values = values_of(measured.images, column)
    found: dict[str, dict[str, Any]] = {}
    for value in sorted(set(values.tolist()), key=_in_order):
        own = values == value
        positive = measured.positive[own]
        counts = (
            None if threshold is None else confusion_at(measured.score[own], positive, threshold)
        )
        found[value] = {
            "images": int(own.sum()),
            "positive": int(positive.sum()),
            "turned_away": int((~measured.scored[own]).sum()),
            "auc_end_to_end": metrics.auc_delong(measured.ranked[own], positive),
            "sensitivity": counts.sensitivity if counts else None,
            "specificity": counts.specificity if counts else None,
        }
    return found


def _in_order(value: str) -> tuple[float, str]:
    """Bands and numbers by size, words after them by the alphabet, the unknown last."""
    if value == UNKNOWN:
        return float("inf"), value
    try:
        number = float(value.partition(" to ")[0])
    except ValueError:
        return 1e300, value
    return (number, value) if np.isfinite(number) else (1e300, value)
