"""The decoders, one for each transfer syntax: a frame in, cells as the library gives them out.

Called by `screener.decoding` alone. Each function checks what its codestream says against the
header before the library sees it; a library's own exceptions pass through.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from screener.codestream import (
    read_jpeg_header,
    rle_segments,
    to_end_marker,
    without_application_data,
)
from screener.domain import PixelDescription
from screener.errors import FileRejected
from screener.jpeg_scans import check_scans
from screener.jpeg_tail import require_all_used
from screener.outcomes import ReasonCode
from screener.preprocess import SIZE
from screener.stored_values import unpack_422

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from screener.codestream import Jpeg2000Header, JpegHeader

    Cells = NDArray[Any]
    Extent = tuple[float, float, float, float]

MAX_LEVELS = 3
LEAST_SIDE = 2 * SIZE
"""Of a film that is decoded at a reduced size: what a level leaves out (grain, and where edges lie
between pixels) then moves scores by half as much as with one level more, for 10 ms a film."""
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_LOSSY_PROCESSES = frozenset({0xC0, 0xC1, 0xC2})


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a library gave back.

    `precision` and `signed` are the codestream's own; cells that are not `signed` may still hold
    two's complement by the header's word. `library` where it is not the transfer syntax's own.
    """

    cells: Cells
    precision: int
    signed: bool = False
    is_ybr: bool = False
    levels_dropped: int = 0
    library: str = ""
    extent: Extent | None = None


def levels_to_drop(rows: int, columns: int, available: int = MAX_LEVELS) -> int:
    """The most halvings, at most 3, that leave twice the model's size in both directions."""
    for levels in range(min(available, MAX_LEVELS), 0, -1):
        if min(reduced_size(rows, columns, levels)) >= LEAST_SIDE:
            return levels
    return 0


def reduced_size(rows: int, columns: int, levels: int) -> tuple[int, int]:
    """Rows and columns with `levels` dropped: rounded up (ITU-T T.800 B-15, from the origin)."""
    step = 1 << levels
    return -(-rows // step), -(-columns // step)


def decode_jpeg(codestream: bytes, header: JpegHeader, levels_dropped: int) -> Cells:
    """Decode an 8-bit lossy JPEG with libjpeg-turbo, by DCT scaling where levels are dropped.

    Returns:
        uint8 (rows, columns), or (rows, columns, components) as coded, no colour conversion.

    Raises:
        FileRejected: As `require_all_used`.
    """

    def decode(stream: bytes) -> Cells:
        image = JpegImageFile(io.BytesIO(stream))
        columns, rows = image.size
        if header.components == 3 and header.is_ybr is not False:
            image.draft("YCbCr", image.size)  # keeps libjpeg from converting
        elif levels_dropped:
            image.draft("L", (columns >> levels_dropped, rows >> levels_dropped))
        return np.asarray(image)

    require_whole_images()
    bare = without_application_data(codestream)
    cells = decode(bare)
    require_all_used(bare, header, cells, decode)
    return cells


def decode_jpeg_any(codestream: bytes, header: JpegHeader) -> Cells:
    """Decode a JPEG of any precision, lossy or lossless, no colour conversion.

    Raises:
        FileRejected: As `require_all_used`.
    """
    # Equal colour spaces on both sides: the components come as coded. 0 would not do: imagecodecs
    # takes it for none given, and libjpeg-turbo then makes RGB of YCbCr by itself.
    space = "YCBCR" if header.components == 3 else None

    def decode(stream: bytes) -> Cells:
        return np.asarray(imagecodecs.jpeg8_decode(stream, colorspace=space, outcolorspace=space))

    cells = decode(codestream)
    require_all_used(codestream, header, cells, decode)
    return cells


def require_whole_images() -> None:
    """Refuse to decode where some library has thrown Pillow's process-wide switch.

    Raises:
        FileRejected: DECODE_ERROR.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise FileRejected(ReasonCode.DECODE_ERROR, "Pillow was told to accept truncated images")


def decode_native(frame: memoryview, description: PixelDescription, _whole: bool) -> Decoded:
    """PS3.5 8.1.1, A.1 to A.3; a view of the file's own bytes where they are little endian."""
    rows, columns = description.rows, description.columns
    samples, bits = description.samples_per_pixel, description.bits_allocated
    is_422 = description.photometric_interpretation == "YBR_FULL_422"
    if is_422 and columns % 2:
        raise FileRejected(ReasonCode.INVALID_PIXELS, "YBR_FULL_422 with odd columns")
    count = rows * columns * (2 if is_422 else samples)
    size = count * bits // 8
    if len(frame) < size:
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, "fewer bytes than the pixels need")
    if len(frame) > size + size % 2:
        raise FileRejected(ReasonCode.MALFORMED, "more bytes than the pixels need")
    order = ">" if description.transfer_syntax_uid == _BIG_ENDIAN else "<"
    cells = np.frombuffer(frame, dtype=f"{order}u{bits // 8}", count=count)
    cells = cells.astype(cells.dtype.newbyteorder("="), copy=False)
    if is_422:
        cells = unpack_422(cells, rows, columns)
    elif samples == 1:
        cells = cells.reshape(rows, columns)
    elif description.planar_configuration == 1:
        cells = np.moveaxis(cells.reshape(samples, rows, columns), 0, -1)
    else:
        cells = cells.reshape(rows, columns, samples)
    is_ybr = description.photometric_interpretation.startswith("YBR_FULL")
    return Decoded(cells, bits, is_ybr=is_ybr)


def decode_rle(frame: memoryview, description: PixelDescription, _whole: bool) -> Decoded:
    """PS3.5 annex G: one segment for each byte of each sample, the highest byte first.

    The segments are cut out here: imagecodecs' own `dicomrle_decode` reads past the end of a
    truncated frame and kills the process.
    """
    rows, columns = description.rows, description.columns
    samples, width = description.samples_per_pixel, description.bits_allocated // 8
    size = rows * columns
    cells = np.empty((rows, columns, samples), dtype=f"u{width}")
    planes = cells.view(np.uint8).reshape(rows, columns, samples, width)
    significance = range(width) if cells.dtype.str.startswith(">") else range(width)[::-1]
    slots = [(sample, byte) for sample in range(samples) for byte in significance]
    segments = rle_segments(frame, len(slots))
    for (sample, byte), segment in zip(slots, segments, strict=True):
        plane = _unpacked(bytes(segment), size)
        planes[..., sample, byte] = np.frombuffer(plane, np.uint8).reshape(rows, columns)
    is_ybr = description.photometric_interpretation.startswith("YBR_FULL")
    return Decoded(cells[..., 0] if samples == 1 else cells, 8 * width, is_ybr=is_ybr)


def _unpacked(segment: bytes, size: int) -> bytes:
    """One byte plane: exactly `size` bytes."""
    try:
        # One byte more than needed, so that too much is seen as well as too little.
        plane = bytes(imagecodecs.packbits_decode(segment, out=bytearray(size + 1)))
    except RuntimeError:
        plane = b""
    if len(plane) != size:
        # Some writers fill segments up by more than the one zero that makes them even (G.3.1).
        end = _end_of_runs(segment, size)
        if any(segment[end:]):
            raise FileRejected(ReasonCode.DECODE_ERROR, "an RLE segment is too long")
        plane = bytes(imagecodecs.packbits_decode(segment[:end], out=bytearray(size + 1)))
    if len(plane) < size:
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, "an RLE segment ends too early")
    if len(plane) > size:
        raise FileRejected(ReasonCode.DECODE_ERROR, "an RLE segment is too long")
    return plane


def _end_of_runs(segment: bytes, size: int) -> int:
    """Where the runs that give `size` bytes end (PS3.5 G.3.2)."""
    position, given = 0, 0
    while given < size and position < len(segment):
        length = segment[position]
        literal = length < 128
        given += length + 1 if literal else (257 - length) % 129
        position += length + 2 if literal else 1 + (length > 128)
    return position


def decode_baseline(frame: memoryview, description: PixelDescription, whole: bool) -> Decoded:
    """PS3.5 8.2.1, process 1: 8-bit lossy."""
    codestream = to_end_marker(frame)
    header = _jpeg_header(codestream, description, _LOSSY_PROCESSES)
    if header.precision != 8:
        raise FileRejected(ReasonCode.MALFORMED, "a baseline JPEG of other than 8 bits")
    rows, columns = description.rows, description.columns
    levels = 0 if whole or description.signed else levels_to_drop(rows, columns)
    cells = shaped(decode_jpeg(codestream, header, levels), description, levels)
    # A DCT block's mean is that of its area; the last block may reach past the film's edge.
    extent = (0.0, 0.0, rows / 2**levels, columns / 2**levels) if levels else None
    is_ybr = _is_jpeg_ybr(header, description)
    return Decoded(cells, 8, is_ybr=is_ybr, levels_dropped=levels, extent=extent)


def decode_extended(frame: memoryview, description: PixelDescription, _whole: bool) -> Decoded:
    """PS3.5 8.2.1, processes 2 and 4: 8 or 12-bit lossy."""
    codestream = to_end_marker(frame)
    header = _jpeg_header(codestream, description, _LOSSY_PROCESSES)
    cells = shaped(decode_jpeg_any(codestream, header), description, 0)
    return Decoded(cells, header.precision, is_ybr=_is_jpeg_ybr(header, description))


def decode_jpeg_lossless(frame: memoryview, description: PixelDescription, _whole: bool) -> Decoded:
    """PS3.5 8.2.1, process 14."""
    codestream = to_end_marker(frame)
    header = _jpeg_header(codestream, description, frozenset({0xC3}))
    cells = shaped(decode_jpeg_any(codestream, header), description, 0)
    is_ybr = description.photometric_interpretation.startswith("YBR_FULL")
    return Decoded(cells, header.precision, is_ybr=is_ybr)


def decode_jpeg_ls(frame: memoryview, description: PixelDescription, _whole: bool) -> Decoded:
    """PS3.5 8.2.3."""
    codestream = to_end_marker(frame)
    header = _jpeg_header(codestream, description, frozenset({0xF7}))
    cells = shaped(imagecodecs.jpegls_decode(codestream), description, 0)
    is_ybr = description.photometric_interpretation.startswith("YBR_FULL")
    return Decoded(cells, header.precision, is_ybr=is_ybr)


def _jpeg_header(
    codestream: bytes, description: PixelDescription, processes: frozenset[int]
) -> JpegHeader:
    header = read_jpeg_header(codestream)
    if header.process not in processes:
        raise FileRejected(ReasonCode.MALFORMED, "a JPEG process of another transfer syntax")
    require_equal(header, description)
    check_scans(codestream, header.process)
    return header


def require_equal(header: JpegHeader | Jpeg2000Header, description: PixelDescription) -> None:
    """Hold the codestream's size, components and precision against the header's.

    Writers code the whole cell (precision = Bits Allocated) or the value (Bits Stored), and some
    less than that: the codestream's word counts (PS3.5 8.2).

    Raises:
        FileRejected: MALFORMED.
    """
    if (header.rows, header.columns) != (description.rows, description.columns):
        raise FileRejected(ReasonCode.MALFORMED, "the codestream's size is not Rows x Columns")
    if header.components != description.samples_per_pixel:
        raise FileRejected(ReasonCode.MALFORMED, "the codestream's components are not the samples")
    if not 1 <= header.precision <= min(description.bits_allocated, 16):
        raise FileRejected(ReasonCode.MALFORMED, "the codestream's precision passes BitsAllocated")


def _is_jpeg_ybr(header: JpegHeader, description: PixelDescription) -> bool:
    if header.components != 3:
        return False
    stated = description.photometric_interpretation.startswith("YBR")
    return stated if header.is_ybr is None else header.is_ybr


def shaped(
    cells: Cells,
    description: PixelDescription,
    levels: int,
    size: tuple[int, int] | None = None,
) -> Cells:
    """The cells as (rows, columns) or (rows, columns, samples); a surprise is an error."""
    rows, columns = size or reduced_size(description.rows, description.columns, levels)
    samples = description.samples_per_pixel
    if samples == 1 and cells.shape in ((rows, columns), (rows, columns, 1)):
        return cells.reshape(rows, columns)
    if samples > 1 and cells.shape == (rows, columns, samples):
        return cells
    if samples > 1 and cells.shape == (samples, rows, columns):
        return np.moveaxis(cells, 0, -1)
    raise FileRejected(ReasonCode.DECODE_ERROR, "the decoder gave another size")
