"""One frame of pixel data -> stored values: one decoder for each transfer syntax.

Between `screener.dicom`, which takes the frame out of its file, and `screener.preprocess`, which
shrinks it. Nearly all that a decoder computes is thrown away by that resize, so JPEG 2000, HTJ2K
and baseline JPEG are decoded at a reduced size, never below the model's.

`benchmarks/decoders.py` measured the choices. All the libraries are permissively licensed: Pillow
(MIT-CMU) with libjpeg-turbo (BSD, IJG) and OpenJPEG (BSD), imagecodecs (BSD) with libjpeg-turbo,
CharLS and OpenJPEG (BSD); nothing under the GPL is loaded.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL import features

from screener import frame_decoders as frames
from screener.decoder_samples import SAMPLES, sample_values
from screener.domain import Limits, PixelDescription
from screener.errors import FileRejected
from screener.frame_decoders import Decoded
from screener.jpeg2000_decoders import IMAGECODECS_OPENJPEG, decode_jpeg2000
from screener.outcomes import ReasonCode
from screener.stored_values import (
    cells_to_values,
    check_description,
    to_low_bits,
    ybr_to_rgb,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Cells = NDArray[Any]

MEND = "pip install --upgrade --force-reinstall imagecodecs pillow"
# What the decoders raise on bad data; MemoryError is the boundary's (OUT_OF_MEMORY).
LIBRARY_ERRORS = (
    RuntimeError, OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredPixels:
    """Stored values (PS3.3 C.7.6.3): no modality, VOI or palette transformation yet.

    `values`: (rows, columns), or (rows, columns, 3) RGB; integers of native byte order, signed as
    described. `levels_dropped`: each halved both sides. `decoder`: library and version.
    `extent`: where the film's edges lie in a reduced image (top, left, bottom, right in its pixels,
    for the `box` of a resize); None where they are those of the array. Without it a film with 3
    levels dropped is off by up to a model pixel.
    """

    values: NDArray[Any]
    levels_dropped: int
    decoder: str
    extent: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Decoder:
    """How one transfer syntax is decoded; `lossless` keeps every bit of a cell.

    `library`: the wheel and the library inside it that decodes.
    """

    name: str
    library: str
    decode: Callable[[memoryview, PixelDescription, bool], Decoded]
    lossless: bool = True


_NATIVE = "numpy"
_RLE = "imagecodecs/imcd"
JPEG_LIBRARY = "pillow/libjpeg-turbo"
_JPEG = "imagecodecs/libjpeg-turbo"
_JPEG_LS = "imagecodecs/charls"
_JPEG_2000 = "pillow/openjpeg"
# What each wheel calls the library whose version is asked for.
_VERSION_NAMES = {
    _RLE: "imcd_version",
    _JPEG: "jpeg8_version",
    _JPEG_LS: "jpegls_version",
    IMAGECODECS_OPENJPEG: "jpeg2k_version",
    "imagecodecs/libpng": "png_version",
    "imagecodecs/libtiff": "tiff_version",
    JPEG_LIBRARY: "libjpeg_turbo",
    _JPEG_2000: "jpg_2000",
}

DECODERS: dict[str, Decoder] = {
    "1.2.840.10008.1.2": Decoder("Implicit VR Little Endian", _NATIVE, frames.decode_native),
    "1.2.840.10008.1.2.1": Decoder("Explicit VR Little Endian", _NATIVE, frames.decode_native),
    "1.2.840.10008.1.2.1.99": Decoder("Deflated Explicit VR", _NATIVE, frames.decode_native),
    "1.2.840.10008.1.2.2": Decoder("Explicit VR Big Endian", _NATIVE, frames.decode_native),
    "1.2.840.10008.1.2.5": Decoder("RLE Lossless", _RLE, frames.decode_rle),
    "1.2.840.10008.1.2.4.50": Decoder(
        "JPEG Baseline", JPEG_LIBRARY, frames.decode_baseline, lossless=False
    ),
    "1.2.840.10008.1.2.4.51": Decoder(
        "JPEG Extended 12-bit", _JPEG, frames.decode_extended, lossless=False
    ),
    "1.2.840.10008.1.2.4.57": Decoder("JPEG Lossless", _JPEG, frames.decode_jpeg_lossless),
    "1.2.840.10008.1.2.4.70": Decoder("JPEG Lossless SV1", _JPEG, frames.decode_jpeg_lossless),
    "1.2.840.10008.1.2.4.80": Decoder("JPEG-LS Lossless", _JPEG_LS, frames.decode_jpeg_ls),
    "1.2.840.10008.1.2.4.81": Decoder(
        "JPEG-LS Near-Lossless", _JPEG_LS, frames.decode_jpeg_ls, lossless=False
    ),
    "1.2.840.10008.1.2.4.90": Decoder("JPEG 2000 Lossless", _JPEG_2000, decode_jpeg2000),
    "1.2.840.10008.1.2.4.91": Decoder("JPEG 2000", _JPEG_2000, decode_jpeg2000, lossless=False),
    "1.2.840.10008.1.2.4.201": Decoder("HTJ2K Lossless", _JPEG_2000, decode_jpeg2000),
    "1.2.840.10008.1.2.4.202": Decoder("HTJ2K Lossless RPCL", _JPEG_2000, decode_jpeg2000),
    "1.2.840.10008.1.2.4.203": Decoder("HTJ2K", _JPEG_2000, decode_jpeg2000, lossless=False),
}


def decode_frame(
    frame: memoryview, description: PixelDescription, *, full_size: bool, limits: Limits
) -> StoredPixels:
    """Decode one frame.

    Args:
        frame: The native bytes of the frame, or its codestream, padding included.
        description: The Image Pixel module.
        full_size: True where no resolution may be dropped: padding values, LUTs, exact runs.
            Colour and palette indices are always decoded whole.
        limits: The pixel budget, checked before any decoder runs.

    Raises:
        FileRejected: UNSUPPORTED_SYNTAX, TOO_LARGE, INVALID_PIXELS (the header contradicts
            itself or the values), MALFORMED (the codestream contradicts the header),
            FRAME_TRUNCATED, DECODE_ERROR.
    """
    decoder = DECODERS.get(description.transfer_syntax_uid)
    if decoder is None:
        raise FileRejected(ReasonCode.UNSUPPORTED_SYNTAX)
    check_description(description, limits)
    aligned = description.high_bit == description.bits_stored - 1
    grey = description.photometric_interpretation.startswith("MONOCHROME")
    whole = full_size or not grey or not aligned
    try:
        decoded = decoder.decode(frame, description, whole)
        if decoded.levels_dropped and decoder.lossless and _has_unused_bits(decoded, description):
            # An overlay in the high bits survives no averaging.
            decoded = decoder.decode(frame, description, True)
        values = _stored_values(decoded, description, lossless=decoder.lossless)
        name = with_version(decoded.library or decoder.library)
    except ImportError:
        message = "the decoder is not installed"
        raise FileRejected(ReasonCode.UNSUPPORTED_SYNTAX, message) from None
    except LIBRARY_ERRORS as error:
        # The library's text may quote the file: only the kind of the error is kept.
        raise FileRejected(ReasonCode.DECODE_ERROR, type(error).__name__) from None
    return StoredPixels(values, decoded.levels_dropped, name, decoded.extent)


@cache
def with_version(library: str) -> str:
    """As it stands in the report: "imagecodecs/charls 2.4.3"."""
    if library == _NATIVE:
        return f"{library} {np.__version__}"
    name = _VERSION_NAMES[library]
    if library.startswith("pillow/"):
        return f"{library} {features.version(name)}"
    # "libjpeg_turbo 3.1.3/8.0": the number after the slash is the ABI's.
    version = str(getattr(imagecodecs, name)())
    return f"{library} {version.rpartition(' ')[2].partition('/')[0]}"


def _has_unused_bits(decoded: Decoded, description: PixelDescription) -> bool:
    return (
        not decoded.signed
        and decoded.precision > description.bits_stored
        and int(decoded.cells.max()) >> description.bits_stored > 0
    )


def _stored_values(decoded: Decoded, description: PixelDescription, *, lossless: bool) -> Cells:
    cells = decoded.cells
    if description.high_bit != description.bits_stored - 1:
        if decoded.signed or not lossless:
            raise FileRejected(ReasonCode.INVALID_PIXELS, "HighBit is not BitsStored - 1")
        cells = to_low_bits(cells, description.bits_stored, description.high_bit)
    if decoded.signed:
        if not description.signed and int(cells.min()) < 0:
            raise FileRejected(ReasonCode.INVALID_PIXELS, "negative values in unsigned pixels")
        return cells
    if description.signed and decoded.precision < description.bits_stored:
        message = "signed pixels of fewer bits than BitsStored"
        raise FileRejected(ReasonCode.INVALID_PIXELS, message)
    # Where compression lost something, noise may pass BitsStored: clearing bits would wrap it.
    bits = description.bits_stored if lossless else decoded.precision
    values = cells_to_values(cells, bits, signed=description.signed)
    return ybr_to_rgb(values, bits) if decoded.is_ybr else values


@dataclass(frozen=True, slots=True)
class DecoderStatus:
    """Whether one transfer syntax can be read on this machine; `mend` is a command."""

    syntax_uid: str
    name: str
    decoder: str
    version: str
    works: bool
    mend: str


def decoders() -> list[DecoderStatus]:
    """Decode a tiny frame of every transfer syntax; this also loads every library."""
    statuses = []
    for uid, decoder in DECODERS.items():
        works = _reproduces_sample(uid)
        version = with_version(decoder.library).partition(" ")[2] if works else ""
        mend = "" if works else MEND
        statuses.append(DecoderStatus(uid, decoder.name, decoder.library, version, works, mend))
    return statuses


def _reproduces_sample(uid: str) -> bool:
    sample = SAMPLES[uid]
    expected = sample_values(sample.bits)
    rows, columns = expected.shape
    description = PixelDescription(
        rows=rows,
        columns=columns,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=8 if sample.bits == 8 else 16,
        bits_stored=sample.bits,
        high_bit=sample.bits - 1,
        signed=False,
        planar_configuration=0,
        transfer_syntax_uid=uid,
    )
    frame = memoryview(base64.b64decode(sample.frame))
    try:
        stored = decode_frame(frame, description, full_size=True, limits=Limits())
    except FileRejected:
        return False
    error = np.abs(stored.values.astype(np.int64) - expected).max()
    return int(error) <= sample.largest_error
