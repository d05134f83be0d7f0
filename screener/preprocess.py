"""Stored values -> model-sized pixels: one versioned function, used by `scan` and training alike.

The order is the standard's (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2): modality LUT or rescale, VOI LUT or
window, inversion once and last. Linear steps commute with the area filter, so the image shrinks
first and everything else happens on 224 x 224; a LUT does not, so it is applied at the decoded size.

A quiet difference between this file and the one that a model was trained with is the likeliest
wrong score of all: any change of what it returns needs a new `PREPROCESSING` version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from screener.domain import ReasonCode
from screener.errors import FileRejected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

SIZE = 224
PREPROCESSING: dict[str, str | int] = {
    "version": 1,
    "geometry": "stretch",
    "filter": "area",
    "range": "percentiles 0.5 to 99.5 of the valid pixels after VOI and inversion",
    "size": SIZE,
}
PERCENTILES = (0.5, 99.5)


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
    stored: NDArray[np.generic], display: Display, valid: NDArray[np.bool_] | None = None
) -> Presented:
    """Make model input of one grey image.

    Unequal pixel spacing needs no step of its own: the stretch to a square gives the same result
    for a film and for the film resampled to square pixels.

    Args:
        stored: (rows, columns) of any integer or float type, as decoded.
        display: The transformations that the header states.
        valid: False where the pixel is padding; None where all are valid.

    Raises:
        FileRejected: INVALID_PIXELS where the valid pixels are constant, too few or not finite.
    """
    values: NDArray[np.generic] = stored
    linear = display.modality_lut is None
    if display.modality_lut is not None:
        values = apply_lut(values, display.modality_lut)
    elif isinstance(display.voi, Lut):
        # Integers before any LUT; half away from even is what viewers do.
        rescaled = values.astype(np.float64) * display.slope + display.intercept
        values, linear = np.rint(rescaled).astype(np.int64), False
    if isinstance(display.voi, Lut):
        before_voi = values
        windowed = apply_lut(values, display.voi)
        if windowed.min() < windowed.max():
            return _finish(*shrink(windowed, valid), display.invert, "VOI_LUT", fell_back=False)
        values = before_voi
    shrunk, weight = shrink(values, valid)
    if linear:
        shrunk = shrunk * np.float32(display.slope) + np.float32(display.intercept)
    if not isinstance(display.voi, Window):
        fell_back = display.voi is not None or display.voi_unusable
        source = "PERCENTILES" if fell_back else "NONE"
        return _finish(shrunk, weight, display.invert, source, fell_back=fell_back)
    windowed_small = apply_window(shrunk, display.voi)
    if _spread(windowed_small, weight) > 0:
        source = f"WINDOW_{display.voi.function}"
        return _finish(windowed_small, weight, display.invert, source, fell_back=False)
    return _finish(shrunk, weight, display.invert, "PERCENTILES", fell_back=True)


def shrink(
    image: NDArray[np.generic], valid: NDArray[np.bool_] | None
) -> tuple[Plane, NDArray[np.bool_] | None]:
    """Resize to (224, 224) by area; padding has no weight, so it never bleeds into the film.

    Returns:
        The float32 image and, where there was padding, where any valid pixel fell.
    """
    if valid is None or valid.all():
        return resize(np.asarray(image, dtype=np.float32)), None
    weight = resize(valid.astype(np.float32))
    total = resize(np.where(valid, image, 0).astype(np.float32))
    seen = weight > 1e-3
    return np.where(seen, total / np.where(seen, weight, 1), 0).astype(np.float32), seen


def resize(plane: Plane, size: int = SIZE) -> Plane:
    """Stretch to (size, size): the mean over each target pixel's area, bilinear where it enlarges.

    Args:
        plane: float32 (rows, columns).
    """
    rows, columns = plane.shape
    if (rows, columns) == (size, size):
        return plane
    image = Image.fromarray(np.ascontiguousarray(plane))
    image = image.resize((columns, size), _filter(rows, size))
    return np.asarray(image.resize((size, size), _filter(columns, size)), dtype=np.float32)


def _filter(length: int, size: int) -> Image.Resampling:
    return Image.Resampling.BOX if length >= size else Image.Resampling.BILINEAR


def apply_lut(values: NDArray[np.generic], lut: Lut) -> NDArray[np.uint16]:
    """Look integer values up; those outside take the first or last entry (PS3.3 C.11.2.1.1)."""
    index = np.clip(values.astype(np.int64) - lut.first_mapped, 0, len(lut.values) - 1)
    return lut.values[index]


def apply_window(values: Plane, window: Window) -> Plane:
    """Window to [0, 1] by the functions of PS3.3 C.11.2.1.2.1 to C.11.2.1.3.2."""
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        exponent = np.clip(-4 * (values - center) / width, -80, 80)
        return (1 / (1 + np.exp(exponent))).astype(np.float32)
    if window.function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1).astype(np.float32)
    if width <= 1:
        return (values > center - 0.5).astype(np.float32)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1).astype(np.float32)


def _spread(plane: Plane, weight: NDArray[np.bool_] | None) -> float:
    low, high = np.percentile(plane if weight is None else plane[weight], PERCENTILES)
    return float(high - low)


def _finish(
    plane: Plane,
    weight: NDArray[np.bool_] | None,
    invert: bool,
    voi_source: str,
    *,
    fell_back: bool,
) -> Presented:
    inside = plane if weight is None else plane[weight]
    if inside.size < SIZE or not np.isfinite(inside).all():
        raise FileRejected(ReasonCode.INVALID_PIXELS, "too few valid or finite pixels")
    if invert:
        plane, inside = -plane, -inside
    low, high = (float(value) for value in np.percentile(inside, PERCENTILES))
    if not high > low:
        raise FileRejected(ReasonCode.INVALID_PIXELS, "constant pixels")
    pixels = np.clip((plane - low) / (high - low), 0, 1).astype(np.float32)
    if weight is not None:
        pixels[~weight] = 0
    return Presented(pixels, voi_source, fell_back)
