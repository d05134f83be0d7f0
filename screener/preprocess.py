"""Stored values -> model-sized pixels: one versioned function, used by `scan` and training alike.

The order is the standard's (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2): modality LUT or rescale, VOI LUT or
window, inversion once and last. Linear steps commute with the area filter, so the image shrinks
first and everything else happens on 224 x 224; a LUT does not, so it is applied at the size
that was decoded.

A quiet difference between this file and the one that a model was trained with is the likeliest
wrong score of all: any change of what it returns needs a new `PREPROCESSING` version.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from screener.errors import FileRejected
from screener.outcomes import ReasonCode
from screener.row_sums import sum_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

SIZE = 224
Extent = tuple[float, float, float, float]
PREPROCESSING: dict[str, str | int] = {
    "version": 1,
    "geometry": "stretch",
    "filter": "area",
    "range": "percentiles 0.5 to 99.5 of the valid pixels after VOI and inversion",
    "size": SIZE,
}
PERCENTILES = (0.5, 99.5)
ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Lut:
    """A modality or VOI LUT (PS3.3 C.11.1.1, C.11.2.1.1): `values` uint16, `bits` of its output."""

    first_mapped: int
    values: NDArray[np.uint16]
    bits: int


@dataclass(frozen=True, slots=True)
class Window:
    """A window (PS3.3 C.11.2.1.2) in the units that the modality transformation gives."""

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, slots=True)
class Display:
    """How stored values become presentation values, as the header states it.

    `voi_unusable`: the header states a VOI that cannot be applied, so `voi` is None.
    """

    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: Lut | None = None
    voi: Lut | Window | None = None
    invert: bool = False
    voi_unusable: bool = False

    @property
    def needs_full_size(self) -> bool:
        """True where a LUT must see the values before they are averaged."""
        return self.modality_lut is not None or isinstance(self.voi, Lut)


@dataclass(frozen=True, slots=True)
class Presented:
    """`pixels`: float32 (224, 224) in [0, 1]; `fell_back`: the VOI was stated but unusable."""

    pixels: Plane
    voi_source: str
    fell_back: bool


def preprocess(
    stored: NDArray[np.generic],
    display: Display,
    valid: NDArray[np.bool_] | None = None,
    extent: Extent | None = None,
) -> Presented:
    """Make model input of one grey image.

    Unequal pixel spacing needs no step of its own: the stretch to a square gives the same result
    for a film and for the film resampled to square pixels.

    Args:
        stored: (rows, columns) of any integer or float type, as decoded.
        display: The transformations that the header states.
        valid: False where the pixel is padding; None where all are valid.
        extent: Where the film's edges lie in an image that was decoded at a reduced size: top,
            left, bottom, right in its pixels; None where they are those of the array.

    Raises:
        FileRejected: INVALID_PIXELS where the valid pixels are constant, too few or not finite.
    """
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise FileRejected(ReasonCode.INVALID_PIXELS, "pixels that are not finite")
    values: NDArray[np.generic] = stored
    linear = display.modality_lut is None
    if display.modality_lut is not None:
        values = apply_lut(values, display.modality_lut)
    elif isinstance(display.voi, Lut):
        # Integers before any LUT; half away from even is what viewers do.
        rescaled = values.astype(np.float64) * display.slope + display.intercept
        values, linear = np.rint(rescaled).astype(np.int64), False
    if isinstance(display.voi, Lut):
        # Some consoles write LUTs that make nearly all of a film white.
        shrunk, weight = shrink(apply_lut(values, display.voi), valid, extent)
        if _differ(*map(float, _percentiles(shrunk, weight))):
            return _finish(shrunk, weight, display.invert, "VOI_LUT", fell_back=False)
    shrunk, weight = shrink(values, valid, extent)
    if linear:
        shrunk = shrunk * np.float32(display.slope) + np.float32(display.intercept)
    if not isinstance(display.voi, Window):
        fell_back = display.voi is not None or display.voi_unusable
        source = "PERCENTILES" if fell_back else "NONE"
        return _finish(shrunk, weight, display.invert, source, fell_back=fell_back)
    windowed_small = apply_window(shrunk, display.voi)
    ends = _percentiles(windowed_small, weight)
    if float(ends[1] - ends[0]) > ROUNDING:
        source = f"WINDOW_{display.voi.function}"
        # The same values need not be sorted twice.
        known = None if display.invert else ends
        return _finish(windowed_small, weight, display.invert, source, fell_back=False, known=known)
    return _finish(shrunk, weight, display.invert, "PERCENTILES", fell_back=True)


def shrink(
    image: NDArray[np.generic],
    valid: NDArray[np.bool_] | None,
    extent: Extent | None = None,
) -> tuple[Plane, NDArray[np.bool_] | None]:
    """Resize to (224, 224) by area; padding has no weight, so it never bleeds into the film.

    Returns:
        The float32 image and, where there was padding, where any valid pixel fell.
    """
    if valid is None or valid.all():
        return resize(image, extent), None
    weight = resize(valid.astype(np.float32), extent)
    total = resize(np.where(valid, image, 0).astype(np.float32), extent)
    seen = weight > 1e-3
    return np.where(seen, total / np.where(seen, weight, 1), 0).astype(np.float32), seen


def resize(plane: NDArray[np.generic], extent: Extent | None = None) -> Plane:
    """Stretch to (224, 224): the mean over each target pixel's area, bilinear where it enlarges.

    Pixels that a target pixel covers in part count in part, so a film and the same film decoded at
    half the size agree.

    Args:
        plane: (rows, columns), integers or float32.
        extent: The part that is the film (top, left, bottom, right); None for all of it. It may
            reach past the array, which is continued by its edge.
    """
    rows, columns = plane.shape
    top, left, bottom, right = extent or (0.0, 0.0, float(rows), float(columns))
    if (top, left, bottom, right) == (0, 0, SIZE, SIZE) and plane.shape == (SIZE, SIZE):
        return plane.astype(np.float32)
    # What was decoded at a reduced size is made of means: within each the film goes on.
    sloped = extent is not None
    down = _stretch_rows(plane, top, bottom, sloped=sloped)
    turned = np.ascontiguousarray(down.T)
    return np.ascontiguousarray(_stretch_rows(turned, left, right, sloped=sloped).T)


def _stretch_rows(
    plane: NDArray[np.generic], top: float, bottom: float, *, sloped: bool = False
) -> Plane:
    """The rows from `top` to `bottom` as 224: (rows, columns) -> (224, columns).

    A row that is cut by an edge counts on both sides, as if it were level; with `sloped` as if it
    rose from the row before to the row after, its mean the same, so that the edges of the full size
    need not lie on rows of the reduced one.
    """
    above, below = max(0, math.ceil(-top)), max(0, math.ceil(bottom - len(plane)))
    if above or below:
        plane = np.pad(plane, ((above, below), (0, 0)), mode="edge")
        top, bottom = top + above, bottom + above
    rows, columns = plane.shape
    if bottom - top < SIZE:
        image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
        box = (0, top, columns, bottom)
        stretched = image.resize((columns, SIZE), Image.Resampling.BILINEAR, box=box)
        return np.asarray(stretched, dtype=np.float32)
    edges = np.linspace(top, bottom, SIZE + 1)
    whole = np.floor(edges).astype(np.int64)
    part = (edges - whole).astype(np.float32)[:, None]
    sums = sum_rows(plane, whole)
    # Each edge row belongs to the target rows on both sides by the part that lies in each.
    at = np.minimum(whole, rows - 1)
    cut = plane[at].astype(np.float32) * part
    if sloped:
        before, after = plane[np.maximum(at - 1, 0)], plane[np.minimum(at + 1, rows - 1)]
        slope = (after.astype(np.float32) - before.astype(np.float32)) / 2
        cut += slope * (part * part - part) / 2
    sums -= cut[:-1]
    sums += cut[1:]
    # Rows a little longer than a power of two are turned seven times as fast: no two of a column
    # share a place in the processor's cache.
    means: Plane = np.empty((SIZE, columns + 16), np.float32)[:, :columns]
    return np.divide(sums, np.float32((bottom - top) / SIZE), out=means)


def apply_lut(values: NDArray[np.generic], lut: Lut) -> NDArray[np.uint16]:
    """Look integer values up; those outside take the first or last entry (PS3.3 C.11.2.1.1)."""
    index = np.clip(values.astype(np.int64) - lut.first_mapped, 0, len(lut.values) - 1)
    return lut.values[index]


def apply_window(values: Plane, window: Window) -> Plane:
    """Window to [0, 1] by the functions of PS3.3 C.11.2.1.2.1 to C.11.2.1.3.2."""
    center, width = window.center, window.width
    shown: Plane
    if window.function == "SIGMOID":
        shown = 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -80, 80)))
    elif window.function == "LINEAR_EXACT":
        shown = np.clip((values - center) / width + 0.5, 0, 1)
    elif width <= 1:
        shown = np.where(values > center - 0.5, np.float32(1), np.float32(0))
    else:
        shown = np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    return shown.astype(np.float32)


def _percentiles(
    plane: Plane, weight: NDArray[np.bool_] | None
) -> tuple[np.floating[Any], np.floating[Any]]:
    inside = plane if weight is None else plane[weight]
    if inside.size < SIZE:
        raise FileRejected(ReasonCode.INVALID_PIXELS, "too few valid pixels")
    low, high = np.percentile(inside, PERCENTILES)
    return low, high


def _differ(low: float, high: float) -> bool:
    # Averages of equal values differ by rounding; stretched to [0, 1] that would be a picture.
    return high - low > ROUNDING * max(abs(low), abs(high))


def _finish(
    plane: Plane,
    weight: NDArray[np.bool_] | None,
    invert: bool,
    voi_source: str,
    *,
    fell_back: bool,
    known: tuple[np.floating[Any], np.floating[Any]] | None = None,
) -> Presented:
    """`known`: the percentiles, where they were taken already."""
    inside = plane if weight is None else plane[weight]
    if not np.isfinite(inside).all():
        raise FileRejected(ReasonCode.INVALID_PIXELS, "pixels that are not finite")
    if invert:
        plane, inside = -plane, -inside
    low, high = (float(value) for value in known or _percentiles(inside, None))
    if not _differ(low, high):
        raise FileRejected(ReasonCode.INVALID_PIXELS, "constant pixels")
    pixels = np.clip((plane - low) / (high - low), 0, 1).astype(np.float32)
    if weight is not None:
        pixels[~weight] = 0
    return Presented(pixels, voi_source, fell_back)
