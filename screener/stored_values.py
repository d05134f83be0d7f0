"""Sample cells -> stored values (PS3.5 8.1.1, PS3.3 C.7.6.3): sign, unused bits, colour.

The last step of every decoder in `screener.decoding`, and the check of the header before the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from screener.errors import FileRejected
from screener.outcomes import ReasonCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from screener.domain import Limits, PixelDescription

    Cells = NDArray[Any]

MONOCHROME = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})

_FEW = 64
"""Steps from pixel to pixel; fewer move no score."""
_LOOKED_AT = 1 << 22
"""Pixels, in whole rows evenly apart: of a film of 100 megapixels all would take gigabytes."""
_FAR = 8
"""Times; two real films that lack their highest bits jump 10 to 130 times as far."""


def check_description(description: PixelDescription, limits: Limits) -> None:
    """Refuse what no decoder should be asked for.

    A High Bit that is not one less than Bits Stored was legal in old editions and is a mistake
    since (PS3.3 C.7.6.3.1): `to_low_bits` asks the pixels which of the two it is.

    Raises:
        FileRejected: TOO_LARGE beyond the pixel budget, INVALID_PIXELS where the header
            contradicts itself.
    """
    if description.rows < 1 or description.columns < 1:
        raise FileRejected(ReasonCode.INVALID_PIXELS, "no rows or no columns")
    if description.rows * description.columns > limits.pixels:
        raise FileRejected(ReasonCode.TOO_LARGE, "more pixels than the limit")
    if description.bits_allocated not in (8, 16, 32):
        raise FileRejected(ReasonCode.INVALID_PIXELS, "BitsAllocated is not 8, 16 or 32")
    if not 1 <= description.bits_stored <= description.bits_allocated:
        raise FileRejected(ReasonCode.INVALID_PIXELS, "BitsStored does not fit BitsAllocated")
    if not description.bits_stored - 1 <= description.high_bit < description.bits_allocated:
        raise FileRejected(ReasonCode.INVALID_PIXELS, "HighBit does not fit BitsStored")
    _check_samples(description)


def _check_samples(description: PixelDescription) -> None:
    if description.photometric_interpretation in COLOUR:
        if description.samples_per_pixel != 3:
            raise FileRejected(ReasonCode.INVALID_PIXELS, "colour without three samples")
        if description.signed or description.bits_allocated > 16:
            raise FileRejected(ReasonCode.INVALID_PIXELS, "colour with signed or 32 bit samples")
    elif description.photometric_interpretation not in MONOCHROME:
        message = "a PhotometricInterpretation that no radiograph has"
        raise FileRejected(ReasonCode.INVALID_PIXELS, message)
    elif description.samples_per_pixel != 1:
        raise FileRejected(ReasonCode.INVALID_PIXELS, "monochrome with more than one sample")


def to_low_bits(cells: Cells, bits: int, high_bit: int) -> Cells:
    """Move values down that end at `high_bit`, where the cells bear out that they do.

    Args:
        cells: any shape, unsigned, as the file holds them: nothing lost, nothing averaged.
        bits: BitsStored.
        high_bit: HighBit; one less than `bits` leaves all as it is.

    Raises:
        FileRejected: INVALID_PIXELS where bits are set both below the values and above where they
            would lie with the High Bit that they should have: a guess would be a wrong score.
    """
    shift = high_bit + 1 - bits
    if not shift:
        return cells
    used = int(np.bitwise_or.reduce(cells, axis=None))
    if not used & ((1 << shift) - 1):
        return cells >> shift
    if not used >> bits:
        return cells
    raise FileRejected(ReasonCode.INVALID_PIXELS, "HighBit is not BitsStored - 1")


def cells_to_values(cells: Cells, bits: int, *, signed: bool) -> Cells:
    """Give cells their sign and clear the bits above the lowest `bits`, copying only if needed.

    Those bits may hold an overlay (PS3.5 8.1.2, retired) or a sign that was not extended.

    Args:
        cells: any shape, unsigned, of native byte order.
        bits: how many low bits are the value; at least the cell's width means all.
        signed: True for two's complement.

    Raises:
        FileRejected: INVALID_PIXELS where the bits above belong to the values: BitsStored is too
            low, and without them white would turn into black.
    """
    width = cells.dtype.itemsize * 8
    values = cells.view(f"i{cells.dtype.itemsize}") if signed else cells
    kept: Cells
    if bits >= width or not cells.size:
        return values
    if not signed:
        mask = (1 << bits) - 1
        if int(values.max()) <= mask:
            return values
        kept = values & cells.dtype.type(mask)
    else:
        half = 1 << (bits - 1)
        if -half <= int(values.min()) and int(values.max()) < half:
            return values
        kept = (values << (width - bits)) >> (width - bits)
    _require_smoother(kept, values)
    return kept


def _require_smoother(kept: Cells, values: Cells) -> None:
    """Where the cleared bits change from one pixel to the next, what is left must not jump."""
    axis = min(kept.ndim - 1, 1)
    apart = -(-kept.size // _LOOKED_AT) if axis else 1
    steps = np.diff(kept[::apart].astype(np.int64), axis=axis)
    all_steps = np.diff(values[::apart].astype(np.int64), axis=axis)
    changed = steps != all_steps
    if np.count_nonzero(changed) < _FEW:
        return
    # By far: at the edge of padding, which may have any value, either may be somewhat less.
    if _FAR * np.median(np.abs(all_steps[changed])) < np.median(np.abs(steps[changed])):
        raise FileRejected(ReasonCode.INVALID_PIXELS, "values beyond BitsStored")


def ybr_to_rgb(values: Cells, bits: int) -> Cells:
    """YBR_FULL to RGB (PS3.3 C.7.6.3.1.2), rounded and clipped.

    Args:
        values: (rows, columns, 3) unsigned.
        bits: the values' range is 2**bits.
    """
    top, middle = (1 << bits) - 1, float(1 << (bits - 1))
    luminance = values[..., 0].astype(np.float32)
    blue = values[..., 1] - np.float32(middle)
    red = values[..., 2] - np.float32(middle)
    rgb = np.stack(
        (
            luminance + np.float32(1.402) * red,
            luminance - np.float32(0.344136) * blue - np.float32(0.714136) * red,
            luminance + np.float32(1.772) * blue,
        ),
        axis=-1,
    )
    clipped: Cells = np.clip(np.rint(rgb), 0, top).astype(values.dtype)
    return clipped


def unpack_422(cells: Cells, rows: int, columns: int) -> Cells:
    """Native YBR_FULL_422, Y Y Cb Cr for two pixels (PS3.3 C.7.6.3.1.2), to (rows, columns, 3)."""
    pairs = cells.reshape(rows, columns // 2, 4)
    full = np.empty((rows, columns // 2, 2, 3), cells.dtype)
    full[..., 0] = pairs[..., :2]
    full[..., 1] = pairs[..., 2, None]
    full[..., 2] = pairs[..., 3, None]
    return full.reshape(rows, columns, 3)
