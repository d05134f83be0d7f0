"""Elements of a header -> how its stored values are to be shown (`preprocess.Display`).

A modality transformation that cannot be applied makes the pixels meaningless and ends the file's
way. A VOI that cannot be applied is only a matter of contrast: the pixel range takes its place, and
the report says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from screener.dicom_tags import Tag
from screener.errors import FileRejected
from screener.outcomes import ReasonCode, Warn
from screener.preprocess import Display, Lut, Window

if TYPE_CHECKING:
    from screener.dicom_elements import Elements
    from screener.domain import PixelDescription

# Beyond these, float32 overflows or loses everything.
_LARGEST, _SMALLEST = 1e30, 1e-30
_FUNCTIONS = frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"})
UNSIGNED = (0.0, 65535.0)
"""What a LUT gives, and the indices of a palette."""


def read_display(elements: Elements, description: PixelDescription, lut_shape: str) -> Display:
    """Read the transformations from stored to presentation values (PS3.3 C.11.1, C.11.2, C.11.6).

    Args:
        elements: Of the data set.
        description: Whose photometric interpretation is a MONOCHROME one.
        lut_shape: PresentationLUTShape; INVERSE beside MONOCHROME1 is the same inversion stated
            twice, as the DX IOD asks for (C.8.11.3.1.2), and is done once.

    Raises:
        FileRejected: INVALID_PIXELS where the modality LUT or the rescale cannot be applied.
    """
    tables = elements.items(Tag.MODALITY_LUT_SEQUENCE)
    modality_lut = None
    slope, intercept = 1.0, 0.0
    if tables or elements.raw(Tag.MODALITY_LUT_SEQUENCE):
        modality_lut = read_lut(tables[0], _range(description)) if tables else None
        if modality_lut is None:
            raise FileRejected(ReasonCode.INVALID_PIXELS, "modality LUT")
    else:
        slope, intercept = _rescale(elements)
    rescaled = _range(description, slope, intercept)
    voi, unusable = _voi(elements, UNSIGNED if modality_lut is not None else rescaled)
    invert = description.photometric_interpretation == "MONOCHROME1" or lut_shape == "INVERSE"
    return Display(slope, intercept, modality_lut, voi, invert, voi_unusable=unusable)


def _range(
    description: PixelDescription, slope: float = 1.0, intercept: float = 0.0
) -> tuple[float, float]:
    """The lowest and highest value that the rescale can give."""
    # Of nonsense, which is refused before a pixel is decoded, no overflow.
    half = 1 << (min(max(description.bits_stored, 1), 32) - 1)
    ends = (-half, half - 1) if description.signed else (0, 2 * half - 1)
    rescaled = [slope * end + intercept for end in ends]
    return min(rescaled), max(rescaled)


def _rescale(elements: Elements) -> tuple[float, float]:
    slope = _first(elements, Tag.RESCALE_SLOPE, missing=1.0)
    intercept = _first(elements, Tag.RESCALE_INTERCEPT, missing=0.0)
    if not _SMALLEST < abs(slope) < _LARGEST or not abs(intercept) < _LARGEST:
        raise FileRejected(ReasonCode.INVALID_PIXELS, "rescale slope or intercept")
    return slope, intercept


def _first(elements: Elements, tag: Tag, missing: float) -> float:
    numbers = elements.numbers(tag, "DS")
    if numbers:
        return numbers[0]
    if numbers is not None:
        elements.warnings.add(Warn.HEADER)
    return missing


def _voi(elements: Elements, mapped: tuple[float, float]) -> tuple[Lut | Window | None, bool]:
    """The first usable VOI, the LUT before the window; whether one was stated in vain."""
    tables = elements.items(Tag.VOI_LUT_SEQUENCE)
    if tables:
        lut = read_lut(tables[0], mapped)
        if lut is not None:
            return lut, False
    center = elements.numbers(Tag.WINDOW_CENTER, "DS")
    width = elements.numbers(Tag.WINDOW_WIDTH, "DS")
    if center is None and width is None:
        return None, bool(tables or elements.raw(Tag.VOI_LUT_SEQUENCE))
    function = elements.code(Tag.VOI_LUT_FUNCTION) or "LINEAR"
    if center and width and _usable(center[0], width[0], function):
        return Window(center[0], width[0], function), False
    return None, True


def _usable(center: float, width: float, function: str) -> bool:
    # LINEAR asks for at least 1, the others for more than 0 (PS3.3 C.11.2.1.2, C.11.2.1.3).
    narrowest = 1.0 if function == "LINEAR" else _SMALLEST
    return (
        function in _FUNCTIONS
        and math.isfinite(center)
        and abs(center) < _LARGEST
        and narrowest <= width < _LARGEST
    )


def read_lut(
    elements: Elements,
    mapped: tuple[float, float],
    *,
    descriptor: Tag = Tag.LUT_DESCRIPTOR,
    data: Tag = Tag.LUT_DATA,
) -> Lut | None:
    """Read a LUT (PS3.3 C.11.1.1.1, C.7.6.3.1.5); None where descriptor and data do not fit.

    Args:
        elements: Of the sequence item, or of the data set for a palette.
        mapped: The lowest and highest value that it may be asked for. Negative ones make the first
            value mapped a signed one, where the VR does not tell, and where a gateway wrote US
            (dcmtk does, of implicit VR) and no value is as high as it would be then.
        descriptor: Tag of number of entries, first value mapped, and bits.
        data: Tag of the entries, 16 bits each, or 8 where they need no more.
    """
    vr = elements.vr(descriptor)
    described = elements.words(descriptor)
    if len(described) != 3:
        return None
    lowest, highest = mapped
    signed = vr == "SS" or (lowest < 0 and (vr != "US" or described[1] > highest))
    # 65536 entries do not fit into 16 bits and are written as 0.
    entries = int(described[0]) or 1 << 16
    first = int(elements.words(descriptor, signed=signed)[1])
    bits = int(described[2])
    values = elements.words(data)
    if len(values) < entries and bits <= 8 and len(values) == (entries + 1) // 2:
        # Two entries in a word, the first in its low byte.
        values = np.column_stack((values & 0xFF, values >> 8)).reshape(-1)
    if not 1 <= bits <= 16 or len(values) < entries:
        return None
    return Lut(first, np.ascontiguousarray(values[:entries], dtype=np.uint16), bits)
