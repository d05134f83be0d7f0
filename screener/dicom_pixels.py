"""A DICOM file whose header passed the rules -> its stored values, and how they are to be shown.

After `screener.dicom` and `screener.eligibility`, before `screener.preprocess`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from screener.decoding import StoredPixels, decode_frame
from screener.dicom_display import UNSIGNED, read_display, read_lut
from screener.dicom_frames import check_described, read_frame
from screener.dicom_tags import OVERLAY_BIT_POSITIONS, Tag
from screener.domain import Limits, PixelDescription
from screener.errors import FileRejected
from screener.outcomes import ReasonCode, Warn
from screener.preprocess import Display, apply_lut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from screener.dicom import DicomFile
    from screener.dicom_elements import Elements

    Values = NDArray[np.generic]

_PALETTES = (
    (Tag.RED_PALETTE_DESCRIPTOR, Tag.RED_PALETTE_DATA),
    (Tag.GREEN_PALETTE_DESCRIPTOR, Tag.GREEN_PALETTE_DATA),
    (Tag.BLUE_PALETTE_DESCRIPTOR, Tag.BLUE_PALETTE_DATA),
)
_LOSSY_TOLERANCE = 2
"""Grey levels, of 256, between the channels of a grey image after lossy compression."""


@dataclass(frozen=True, slots=True)
class DicomPixels:
    """The one image of a file.

    `stored`: 2-D, grey. `valid`: False where a pixel is padding; None where all are valid.
    `warnings`: all that reading header and pixels showed.
    """

    stored: StoredPixels
    display: Display
    valid: NDArray[np.bool_] | None
    warnings: frozenset[Warn]


def read_stored(file: DicomFile, limits: Limits, *, full_size: bool) -> DicomPixels:
    """Decode the image of a file and read how it is to be shown.

    Padding, LUTs and an overlay in the unused bits need every single value: with them the image is
    decoded at full size even where it was not asked for. Overlays in their own group are not looked
    at.

    Raises:
        FileRejected: What ended the header; what is wrong with the pixel data; COLOUR.
    """
    check_described(file)
    elements = file.elements
    description = describe_pixels(file)
    frame = read_frame(file, description)
    if not description.photometric_interpretation.startswith("MONOCHROME"):
        stored = decode_frame(frame, description, full_size=full_size, limits=limits)
        values = stored.values
        if description.photometric_interpretation == "PALETTE COLOR":
            values = _apply_palettes(values, elements)
        levels = max(1 << description.bits_stored >> 8, 1)
        tolerance = _LOSSY_TOLERANCE * levels if file.instance.lossy else 0
        grey = reduce_to_grey(values, tolerance)
        stored = replace(stored, values=grey)
        return DicomPixels(stored, Display(), None, frozenset(elements.warnings))
    display = read_display(elements, description, file.instance.presentation_lut_shape)
    padding = _padding(elements, description)
    # Averaged with the values, the lines and dots of an overlay can pass for values.
    overlaid = any(elements.integer(tag, "US") for tag in OVERLAY_BIT_POSITIONS)
    full_size = full_size or display.needs_full_size or padding is not None or overlaid
    stored = decode_frame(frame, description, full_size=full_size, limits=limits)
    valid = None
    if padding is not None:
        low, high = padding
        valid = (stored.values < low) | (stored.values > high)
        if valid.all():
            valid = None
    return DicomPixels(stored, display, valid, frozenset(elements.warnings))


def describe_pixels(file: DicomFile) -> PixelDescription:
    """Read the Image Pixel module (PS3.3 C.7.6.3).

    Two attributes follow from others and are not asked for; the rest must be there.

    Raises:
        FileRejected: MALFORMED where a number is none.
    """
    elements = file.elements
    photometric = elements.code(Tag.PHOTOMETRIC_INTERPRETATION)
    allocated = elements.integer(Tag.BITS_ALLOCATED, "US")
    bits = elements.integer(Tag.BITS_STORED, "US")
    representation = elements.integer(Tag.PIXEL_REPRESENTATION, "US")
    if allocated is None or bits is None or representation not in (0, 1):
        raise FileRejected(ReasonCode.MALFORMED, "the Image Pixel module is incomplete")
    samples = elements.integer(Tag.SAMPLES_PER_PIXEL, "US")
    high_bit = elements.integer(Tag.HIGH_BIT, "US")
    if samples is None or high_bit != bits - 1:
        elements.warnings.add(Warn.HEADER)
    single = photometric.startswith(("MONOCHROME", "PALETTE"))
    return PixelDescription(
        rows=file.instance.rows,
        columns=file.instance.columns,
        samples_per_pixel=(1 if single else 3) if samples is None else samples,
        photometric_interpretation=photometric,
        bits_allocated=allocated,
        bits_stored=bits,
        high_bit=bits - 1 if high_bit is None else high_bit,
        signed=representation == 1,
        planar_configuration=elements.integer(Tag.PLANAR_CONFIGURATION, "US") or 0,
        transfer_syntax_uid=file.instance.transfer_syntax_uid,
    )


def _padding(elements: Elements, description: PixelDescription) -> tuple[int, int] | None:
    """The range of stored values that stand for no pixel (PS3.3 C.7.5.1.1.2), ends included.

    Both are of the pixels' own sign, whatever VR they were written with.
    """
    first = elements.words(Tag.PIXEL_PADDING_VALUE, signed=description.signed)
    if not len(first):
        return None
    last = elements.words(Tag.PIXEL_PADDING_RANGE_LIMIT, signed=description.signed)
    ends = [_extend(int(words[0]), description) for words in (first, last) if len(words)]
    return min(ends), max(ends)


def _extend(value: int, description: PixelDescription) -> int:
    """A negative value of fewer than 16 bits may have been written without its sign."""
    half = 1 << max(description.bits_stored - 1, 0)
    if description.signed and half <= value < 2 * half:
        return value - 2 * half
    return value


def reduce_to_grey(values: Values, tolerance: int) -> Values:
    """One channel of an RGB image whose channels are equal.

    Args:
        values: (rows, columns, 3), or (rows, columns) that passes as it is.
        tolerance: How much the channels of one pixel may differ.

    Raises:
        FileRejected: COLOUR where the channels differ.
    """
    if values.ndim == 2:
        return values
    red, green, blue = values[..., 0], values[..., 1], values[..., 2]
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    if int((highest - lowest).max()) > tolerance:
        raise FileRejected(ReasonCode.COLOUR)
    return np.ascontiguousarray(green)


def _apply_palettes(values: Values, elements: Elements) -> Values:
    """Look indices up in the three palettes (PS3.3 C.7.9.2); segmented ones are not read."""
    channels = []
    for descriptor, data in _PALETTES:
        lut = read_lut(elements, UNSIGNED, descriptor=descriptor, data=data)
        if lut is None:
            raise FileRejected(ReasonCode.INVALID_PIXELS, "palette")
        channels.append(apply_lut(values, lut))
    return np.stack(channels, axis=-1)
