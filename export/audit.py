"""The audit for shortcuts: what is left of a score when the lungs, or all but them, are gone.

Where sources differ in label, a network may read the source in borders, letters and style
(DeGrave 2021, doi:10.1038/s42256-021-00338-7; Maguolo and Nanni, PMC8086233). With the lungs
blanked an honest score falls to chance. Blanked parts take the image's median, and novelty plays no
part: it would turn the blanked image away and hide the answer. Pure functions over arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from export.metrics import auc_delong
from screener.preprocess import SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.metrics import Estimate

    Images = NDArray[np.float32]

CENTRE = (0.15, 0.85)
BORDER = 0.06
CHANCE = 0.5


def _inside(low: float, high: float) -> NDArray[np.bool_]:
    """True (224, 224) within these shares of rows and columns."""
    first, last = round(low * SIZE), round(high * SIZE)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[first:last, first:last] = True
    return mask


LUNG_BOX = _inside(*CENTRE)
BORDER_RING = ~_inside(BORDER, 1 - BORDER)


def _blank(images: Images, where: NDArray[np.bool_]) -> Images:
    median = np.median(images, axis=(1, 2), keepdims=True)
    return np.where(where, median, images).astype(np.float32)


def blank_centre(images: Images) -> Images:
    """Rows and columns from 15 to 85 % blanked: (n, 224, 224), as given."""
    return _blank(images, LUNG_BOX)


def keep_border(images: Images) -> Images:
    """Only the outer 6 % left."""
    return _blank(images, ~BORDER_RING)


def blank_border(images: Images) -> Images:
    """The outer 6 % blanked."""
    return _blank(images, BORDER_RING)


VARIANTS: dict[str, Callable[[Images], Images]] = {
    "centre_blanked": blank_centre,
    "border_only": keep_border,
    "border_blanked": blank_border,
}


def share_inside_lung_box(cam: NDArray[np.float32]) -> NDArray[np.float64]:
    """The share of each map's positive activation that lies inside the lung box.

    Args:
        cam: (n, rows, columns); a cell that the box cuts counts by the part inside.

    Returns:
        (n,) in [0, 1]; NaN where nothing is positive. An even map has 0.49.
    """
    weight = np.outer(_overlap(cam.shape[1]), _overlap(cam.shape[2]))
    heat = np.maximum(cam.astype(np.float64), 0)
    total = heat.sum((1, 2))
    inside = (heat * weight).sum((1, 2))
    return np.where(total > 0, inside / np.where(total > 0, total, 1), np.nan)


def _overlap(cells: int) -> NDArray[np.float64]:
    edges = np.arange(cells + 1) / cells
    low, high = np.maximum(edges[:-1], CENTRE[0]), np.minimum(edges[1:], CENTRE[1])
    share: NDArray[np.float64] = np.maximum(high - low, 0) * cells
    return share


def audit(
    logit: NDArray[np.float64],
    variants: Mapping[str, NDArray[np.float64]],
    cam: NDArray[np.float32],
    positive: NDArray[np.bool_],
) -> dict[str, Any]:
    """The figures of the audit.

    Args:
        logit: (n,) of the images as they are, of all that could be read.
        variants: (n,) for each of `VARIANTS`.
        cam: (n, 7, 7) of the images as they are.
        positive: (n,) the labels.
    """
    share = share_inside_lung_box(cam)
    known = share[positive & np.isfinite(share)]
    return {
        "images": len(positive),
        "novelty": "not applied",
        "fill": "the image's median",
        "auc": {
            "whole": auc_delong(logit, positive),
            **{name: auc_delong(values, positive) for name, values in variants.items()},
        },
        "positive_cam_inside_lung_box": {
            "positives": len(known),
            "mean": float(known.mean()) if len(known) else None,
            "lowest_tenth": float(np.percentile(known, 10)) if len(known) else None,
            "even_map": float(_overlap(7).mean() ** 2),
        },
    }


def by_source(
    logit: NDArray[np.float64],
    positive: NDArray[np.bool_],
    source: Sequence[str],
    trained_on: Mapping[str, int] | None,
) -> dict[str, dict[str, Any]]:
    """One source held out: the figures without it, and on it.

    A source with one label alone is set against the other label of all other sources.

    Args:
        logit: (n,) of all that could be read.
        positive: (n,) the labels.
        source: (n,) the source of each image.
        trained_on: How many training images each source gave; None where that is not known. A
            source with none was truly held out of the training.
    """
    names = np.asarray(source)
    figures: dict[str, dict[str, Any]] = {}
    for name in sorted(set(source)):
        own = names == name
        labels = positive[own]
        against = own if labels.any() and not labels.all() else own | (positive != labels[0])
        without: Estimate | None = auc_delong(logit[~own], positive[~own])
        figures[name] = {
            "images": int(own.sum()),
            "positive": int(labels.sum()),
            "training_images": None if trained_on is None else trained_on.get(name, 0),
            "both_labels": against is own,
            "auc_on_it": auc_delong(logit[against], positive[against]),
            "auc_without_it": without,
        }
    return figures
