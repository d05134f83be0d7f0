"""PNG, JPEG and TIFF -> stored values of one grey image, as `screener.decoding` gives them.

What a viewer would show is what is screened: EXIF and TIFF orientation is applied, transparent
pixels are air, white-is-zero is inverted, grey that is stored as RGB or by a palette is grey.
Samples of 16 bits stay so (Pillow's `convert("L")` clips them, its RGB has 8). What is coloured is
INELIGIBLE, CMYK always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from screener import tiff
from screener.codestream import read_jpeg_header, to_end_marker
from screener.decoding import JPEG_LIBRARY, LIBRARY_ERRORS, StoredPixels, with_version
from screener.domain import FileKind, Instance, Limits
from screener.errors import FileRejected
from screener.frame_decoders import decode_jpeg, decode_jpeg_any, levels_to_drop
from screener.jpeg_scans import check_scans
from screener.outcomes import ReasonCode, Warn
from screener.png import apply_colours, read_png
from screener.png_data import inflate
from screener.preprocess import Display
from screener.stored_values import ybr_to_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[Any]

LOSSY_TOLERANCE = 2
_JPEG_PROCESSES = frozenset({0xC0, 0xC1, 0xC2, 0xC3})


@dataclass(frozen=True, slots=True)
class RasterImage:
    """One grey image: `stored.values` is (rows, columns)."""

    instance: Instance
    stored: StoredPixels
    display: Display
    warnings: frozenset[Warn] = frozenset()


@dataclass(frozen=True, slots=True)
class _Decoded:
    """`samples`: (rows, columns) or (rows, columns, 2 | 3 | 4), the last of an even count alpha."""

    samples: Samples
    library: str
    orientation: int = 1
    is_lossy: bool = False
    white_is_zero: bool = False
    levels_dropped: int = 0
    size: tuple[int, int] | None = None


def read_raster(
    content: memoryview, kind: FileKind, limits: Limits, *, full_size: bool
) -> RasterImage:
    """Read a whole file.

    Raises:
        FileRejected: TRUNCATED, MALFORMED, TOO_LARGE, MULTI_FRAME, COLOUR, UNSUPPORTED_SYNTAX,
            DECODE_ERROR.
    """
    try:
        if kind is FileKind.PNG:
            decoded = _decode_png(content, limits)
        elif kind is FileKind.TIFF:
            decoded = _decode_tiff(content, limits)
        else:
            decoded = _decode_jpeg(content, limits, full_size=full_size)
    except FileRejected as rejected:
        if rejected.rejection.code is not ReasonCode.FRAME_TRUNCATED:
            raise
        # Here the codestream is the file.
        raise FileRejected(ReasonCode.TRUNCATED, rejected.rejection.detail) from None
    except LIBRARY_ERRORS as error:
        raise FileRejected(ReasonCode.DECODE_ERROR, type(error).__name__) from None
    grey = to_grey(
        decoded.samples,
        tolerance=LOSSY_TOLERANCE if decoded.is_lossy else 0,
        white_is_zero=decoded.white_is_zero,
    )
    rows, columns = decoded.size or grey.shape
    extent = None
    if decoded.levels_dropped:
        extent = (0.0, 0.0, rows / 2**decoded.levels_dropped, columns / 2**decoded.levels_dropped)
    stored = StoredPixels(
        upright(grey, decoded.orientation), decoded.levels_dropped, decoded.library, extent
    )
    if 5 <= decoded.orientation <= 8:
        rows, columns = columns, rows
    return RasterImage(
        instance=Instance(kind, rows, columns),
        stored=stored,
        display=Display(invert=decoded.white_is_zero),
        warnings=frozenset({Warn.LOSSY} if decoded.is_lossy else ()),
    )


def to_grey(samples: Samples, *, tolerance: int, white_is_zero: bool = False) -> Samples:
    """One plane of grey; transparent pixels become black as displayed.

    Args:
        samples: (rows, columns) of any type, or unsigned (rows, columns, n) with n = 1 to 4, the
            last of 2 or 4 alpha.
        tolerance: levels by which the channels of a grey pixel may differ.
        white_is_zero: True where black is the type's highest value.

    Raises:
        FileRejected: COLOUR.
    """
    if samples.ndim == 2:
        return samples
    channels = samples.shape[2]
    grey = samples[..., 0]
    if channels >= 3:
        red, green, blue = (samples[..., index] for index in range(3))
        highest = np.maximum(np.maximum(red, green), blue)
        if (highest - np.minimum(np.minimum(red, green), blue)).max() > tolerance:
            raise FileRejected(ReasonCode.COLOUR)
        grey = green
    if channels not in (2, 4):
        return grey
    alpha, opaque = samples[..., -1], np.iinfo(samples.dtype).max
    if alpha.min() == opaque:
        return grey
    black = opaque if white_is_zero else 0
    blended = black + (grey.astype(np.float64) - black) * (alpha / opaque)
    result: Samples = np.rint(blended).astype(samples.dtype)
    return result


def upright(values: Samples, orientation: int) -> Samples:
    """Turn an image as EXIF and TIFF tag 274 say it is to be shown (1 to 8; others as it is)."""
    turned = {
        2: lambda: values[:, ::-1],
        3: lambda: values[::-1, ::-1],
        4: lambda: values[::-1],
        5: lambda: values.T,
        6: lambda: values[::-1].T,
        7: lambda: values[::-1, ::-1].T,
        8: lambda: values[:, ::-1].T,
    }.get(orientation, lambda: values)()
    return np.ascontiguousarray(turned)


def _check_size(rows: int, columns: int, limits: Limits) -> None:
    if rows < 1 or columns < 1:
        raise FileRejected(ReasonCode.MALFORMED, "no rows or no columns")
    if rows * columns > limits.pixels:
        raise FileRejected(ReasonCode.TOO_LARGE, "more pixels than the limit")


def _decode_png(content: memoryview, limits: Limits) -> _Decoded:
    png = read_png(content)
    _check_size(png.rows, png.columns, limits)
    if png.frames > 1:
        raise FileRejected(ReasonCode.MULTI_FRAME)
    samples = np.asarray(imagecodecs.png_decode(inflate(png.essential)))
    if samples.shape[:2] != (png.rows, png.columns):
        raise FileRejected(ReasonCode.DECODE_ERROR, "the decoder gave another size")
    samples = apply_colours(samples, png)
    return _Decoded(samples, with_version("imagecodecs/libpng"), tiff.exif_orientation(png.exif))


def _decode_jpeg(content: memoryview, limits: Limits, *, full_size: bool) -> _Decoded:
    codestream = to_end_marker(content)
    header = read_jpeg_header(codestream)
    _check_size(header.rows, header.columns, limits)
    if header.process not in _JPEG_PROCESSES or header.components not in (1, 3, 4):
        raise FileRejected(ReasonCode.UNSUPPORTED_SYNTAX, "a JPEG process that nobody writes")
    if header.components == 4:
        raise FileRejected(ReasonCode.COLOUR)
    check_scans(codestream, header.process)
    is_lossy = header.process != 0xC3
    orientation = tiff.exif_orientation(header.exif)
    levels = 0
    if is_lossy and header.precision == 8:
        library = JPEG_LIBRARY
        if header.components == 1 and orientation == 1 and not full_size:
            levels = levels_to_drop(header.rows, header.columns)
        samples = decode_jpeg(codestream, header, levels)
    else:
        library = "imagecodecs/libjpeg-turbo"
        samples = decode_jpeg_any(codestream, header)
    step = 2**levels
    if samples.shape[:2] != (-(-header.rows // step), -(-header.columns // step)):
        raise FileRejected(ReasonCode.DECODE_ERROR, "the decoder gave another size")
    if header.components == 3 and is_lossy and header.is_ybr is not False:
        samples = ybr_to_rgb(samples, header.precision)
    size = header.rows, header.columns
    library = with_version(library)
    return _Decoded(samples, library, orientation, is_lossy, levels_dropped=levels, size=size)


def _decode_tiff(content: memoryview, limits: Limits) -> _Decoded:
    pages = tiff.read_tiff(content)
    if not pages:
        raise FileRejected(ReasonCode.MALFORMED, "a TIFF without an image")
    page = pages[0]
    _check_size(page.first(tiff.LENGTH, 0), page.first(tiff.WIDTH, 0), limits)
    if len(pages) > 1:
        raise FileRejected(ReasonCode.MULTI_FRAME)
    tiff.check_tiff(page)
    is_jpeg = page.first(tiff.COMPRESSION, 1) == tiff.JPEG
    return _Decoded(
        tiff.decode_tiff(content, page, limits.pixels),
        with_version("imagecodecs/libjpeg-turbo" if is_jpeg else "imagecodecs/libtiff"),
        page.first(tiff.ORIENTATION, 1),
        is_lossy=is_jpeg,
        white_is_zero=page.first(tiff.PHOTOMETRIC, tiff.BLACK_IS_ZERO) == tiff.WHITE_IS_ZERO,
    )
