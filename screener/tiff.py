"""TIFF structure and decoding; of an EXIF block, which is a TIFF too, the orientation.

Called by `screener.raster`. libtiff gives grey for what is missing, so every strip is looked up in
the file first; strips of JPEG are decoded by `screener.tiff_jpeg`. Only integer tags are read.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from screener.errors import FileRejected
from screener.outcomes import ReasonCode
from screener.stored_values import ybr_to_rgb
from screener.tiff_jpeg import JpegPage, decode_pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[Any]

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
JPEG = 7
_DEFLATE = frozenset({8, 32946})
# None, LZW, JPEG, deflate, PackBits. Fax, WebP and the like hold no radiograph.
_COMPRESSIONS = frozenset({1, 5, JPEG, 32773}) | _DEFLATE
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
# Of every type, so that a cut is seen also where it went through text or fractions.
_SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_MAX_PAGES = 64
_HEADER_BYTES = 8
_ASSOCIATED, _UNASSOCIATED = 1, 2
# Tags (TIFF 6.0)
NEW_SUBFILE_TYPE, WIDTH, LENGTH, BITS_PER_SAMPLE = 254, 256, 257, 258
COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES_PER_PIXEL = 259, 262, 274, 277
STRIP_OFFSETS, STRIP_BYTE_COUNTS, PLANAR_CONFIGURATION = 273, 279, 284
COLOR_MAP, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTE_COUNTS = 320, 322, 323, 324, 325
ROWS_PER_STRIP, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 278, 338, 339, 347


@dataclass(frozen=True, slots=True)
class TiffPage:
    """The integer tags of one image file directory; `index` counts directories."""

    index: int
    tags: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def first(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return next(iter(self.tags.get(tag, ())), default)


def read_tiff(content: memoryview | bytes) -> list[TiffPage]:
    """The directories of a TIFF or BigTIFF file but for thumbnails.

    Raises:
        FileRejected: TRUNCATED where a directory or an array lies past the end, MALFORMED.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(content[:2]))
    try:
        if order is None:
            raise FileRejected(ReasonCode.MALFORMED, "no TIFF byte order")
        (magic,) = struct.unpack_from(f"{order}H", content, 2)
        if magic not in (42, 43):
            raise FileRejected(ReasonCode.MALFORMED, "no TIFF version")
        return _pages(content, order, is_big=magic == 43)
    except struct.error:
        raise FileRejected(ReasonCode.TRUNCATED, "the TIFF ends too early") from None


def exif_orientation(exif: bytes) -> int:
    """How an EXIF block says that the image is to be held (1 to 8); 1 where it does not say.

    Of its first directory that one entry is read and nothing else: programs that rewrite a file
    leave others that point past the end, and viewers turn the image all the same.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, offset)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, offset + 2 + 12 * number)
            if (tag, kind) == (ORIENTATION, 3):
                return int(value)
    except struct.error:
        return 1
    return 1


def _pages(content: memoryview | bytes, order: str, *, is_big: bool) -> list[TiffPage]:
    offset_format, count_format = (
        (f"{order}Q", f"{order}Q") if is_big else (f"{order}I", f"{order}H")
    )
    entry_size, head = (20, 8) if is_big else (12, 2)
    (offset,) = struct.unpack_from(offset_format, content, 8 if is_big else 4)
    pages: list[TiffPage] = []
    seen: set[int] = set()
    while offset and len(seen) < _MAX_PAGES:
        if offset in seen:
            raise FileRejected(ReasonCode.MALFORMED, "TIFF directories in a circle")
        (count,) = struct.unpack_from(count_format, content, offset)
        if offset + head + count * entry_size > len(content):
            raise FileRejected(ReasonCode.TRUNCATED, "a TIFF directory runs past the end")
        page = TiffPage(len(seen))
        for number in range(count):
            entry = offset + head + number * entry_size
            _read_tag(content, entry, order, page.tags, is_big=is_big)
        if not page.first(NEW_SUBFILE_TYPE, 0) & 1:  # bit 0: a reduced copy of another page
            pages.append(page)
        seen.add(offset)
        (offset,) = struct.unpack_from(offset_format, content, offset + head + count * entry_size)
    return pages


def _read_tag(
    content: memoryview | bytes,
    entry: int,
    order: str,
    tags: dict[int, tuple[int, ...]],
    *,
    is_big: bool,
) -> None:
    tag, kind, count = struct.unpack_from(
        f"{order}HHQ" if is_big else f"{order}HHI", content, entry
    )
    size = _SIZES.get(kind, 0) * count
    place, room = (entry + 12, 8) if is_big else (entry + 8, 4)
    if size > room:
        (place,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", content, place)
    if place + size > len(content):
        raise FileRejected(ReasonCode.TRUNCATED, "a TIFF array lies past the end")
    if letter := "B" if tag == JPEG_TABLES else _FORMATS.get(kind):
        tags[tag] = struct.unpack_from(f"{order}{count}{letter}", content, place)


def check_tiff(page: TiffPage) -> None:
    """Refuse what is not read here.

    Raises:
        FileRejected: COLOUR, UNSUPPORTED_SYNTAX.
    """
    if page.first(PHOTOMETRIC, BLACK_IS_ZERO) not in (0, 1, RGB, PALETTE, YCBCR):
        raise FileRejected(ReasonCode.COLOUR)
    compression = page.first(COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise FileRejected(ReasonCode.UNSUPPORTED_SYNTAX, "a TIFF compression that is not read")
    if compression != JPEG and page.first(PHOTOMETRIC, BLACK_IS_ZERO) == YCBCR:
        # libtiff would turn it, and give black for what is missing.
        raise FileRejected(ReasonCode.UNSUPPORTED_SYNTAX, "YCbCr in a TIFF that is not JPEG")
    # Samples of one width and format (unsigned, signed, float); one bit holds no radiograph.
    depths = set(page.tags.get(BITS_PER_SAMPLE, (1,)))
    formats = set(page.tags.get(SAMPLE_FORMAT, (1,)))
    samples = page.first(SAMPLES_PER_PIXEL, 1)
    if compression == JPEG:
        readable = depths in ({8}, {12}, {16}) and formats == {1} and samples in (1, 3)
    else:
        readable = depths in ({8}, {16}, {32}) and (formats == {1} or samples == 1)
    if not readable or not formats <= {1, 2, 3}:
        raise FileRejected(ReasonCode.UNSUPPORTED_SYNTAX, "TIFF samples that are not read")


def decode_tiff(content: memoryview, page: TiffPage, pixels: int) -> Samples:
    """Decode one page.

    Args:
        content: The whole file.
        page: One that `check_tiff` let through.
        pixels: The budget, for tiles and for what deflate may unpack to.

    Returns:
        (rows, columns) or (rows, columns, 2 | 3 | 4), the last of an even count alpha.

    Raises:
        FileRejected: TRUNCATED, FRAME_TRUNCATED (a JPEG strip), MALFORMED, BOMB, DECODE_ERROR.
    """
    pieces = _require_data(content, page, pixels)
    if page.first(COMPRESSION, 1) == JPEG:
        return _decode_jpeg(pieces, page)
    samples = np.asarray(imagecodecs.tiff_decode(bytes(content), index=page.index))
    samples = _channels_last(samples, page)
    if samples.shape[:2] != (page.first(LENGTH, 0), page.first(WIDTH, 0)):
        raise FileRejected(ReasonCode.DECODE_ERROR, "the decoder gave another size")
    return samples


def _decode_jpeg(pieces: list[memoryview], page: TiffPage) -> Samples:
    rows, columns = page.first(LENGTH, 0), page.first(WIDTH, 0)
    is_tiled = TILE_OFFSETS in page.tags
    piece_rows, piece_columns = min(page.first(ROWS_PER_STRIP, rows), rows), columns
    if is_tiled:
        piece_rows, piece_columns = page.first(TILE_LENGTH, 0), page.first(TILE_WIDTH, 0)
    if not piece_rows or not piece_columns:
        raise FileRejected(ReasonCode.MALFORMED, "TIFF strips or tiles without a size")
    samples, precision = page.first(SAMPLES_PER_PIXEL, 1), page.first(BITS_PER_SAMPLE, 1)
    described = JpegPage(
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        precision=precision,
        piece_rows=piece_rows,
        piece_columns=piece_columns,
        planes=samples if page.first(PLANAR_CONFIGURATION, 1) == 2 else 1,
        tables=bytes(page.tags.get(JPEG_TABLES, ())),
    )
    decoded = decode_pieces(pieces, described)
    is_ybr = page.first(PHOTOMETRIC, BLACK_IS_ZERO) == YCBCR
    return ybr_to_rgb(decoded, precision) if is_ybr else decoded


def _channels_last(samples: Samples, page: TiffPage) -> Samples:
    """Channels last, palette looked up, extra samples that are no alpha dropped."""
    photometric = page.first(PHOTOMETRIC, BLACK_IS_ZERO)
    if photometric == PALETTE:
        palette = np.array(page.tags.get(COLOR_MAP, ()), np.uint16)
        if samples.ndim != 2 or samples.dtype != np.uint8 or palette.size != 3 * 256:
            raise FileRejected(ReasonCode.MALFORMED, "a palette that does not fit its indices")
        return np.moveaxis(palette.reshape(3, 256)[:, samples], 0, -1)
    per_pixel = page.first(SAMPLES_PER_PIXEL, 1)
    if (
        samples.ndim == 3
        and page.first(PLANAR_CONFIGURATION, 1) == 2
        and samples.shape[0] == per_pixel
    ):
        samples = np.moveaxis(samples, 0, -1)
    base = 3 if photometric == RGB else 1
    extra = page.tags.get(EXTRA_SAMPLES, ())
    if samples.ndim not in (2, 3) or (samples.ndim == 3 and samples.shape[2] < base):
        raise FileRejected(ReasonCode.MALFORMED, "a TIFF with other samples than it claims")
    if samples.ndim == 2:
        return samples
    # Samples with associated alpha have been multiplied by it: over black they are as they stand,
    # where black is zero.
    kinds = (_ASSOCIATED, _UNASSOCIATED) if photometric == WHITE_IS_ZERO else (_UNASSOCIATED,)
    has_alpha = samples.shape[2] == base + 1 and extra and extra[0] in kinds
    return samples[..., : base + 1] if has_alpha else samples[..., :base]


def _require_data(content: memoryview, page: TiffPage, pixels: int) -> list[memoryview]:
    """The strips or tiles: each lies in the file, and is whole where deflate can tell."""
    is_tiled = TILE_OFFSETS in page.tags
    offsets = page.tags.get(TILE_OFFSETS if is_tiled else STRIP_OFFSETS, ())
    lengths = page.tags.get(TILE_BYTE_COUNTS if is_tiled else STRIP_BYTE_COUNTS, ())
    if not offsets or len(offsets) != len(lengths) or 0 in lengths:
        raise FileRejected(ReasonCode.MALFORMED, "no data where the TIFF says")
    if is_tiled and page.first(TILE_WIDTH, 0) * page.first(TILE_LENGTH, 0) > pixels:
        raise FileRejected(ReasonCode.TOO_LARGE, "a tile of more pixels than the limit")
    if min(offsets) < _HEADER_BYTES:
        # A writer that was interrupted leaves zeros: the header would be taken for pixels.
        raise FileRejected(ReasonCode.MALFORMED, "TIFF data where the header is")
    if any(offset + length > len(content) for offset, length in zip(offsets, lengths, strict=True)):
        raise FileRejected(ReasonCode.TRUNCATED, "TIFF data lies past the end")
    pieces = [
        content[offset : offset + length] for offset, length in zip(offsets, lengths, strict=True)
    ]
    # At most four samples of four bytes.
    room = 16 * pixels
    if page.first(COMPRESSION, 1) in _DEFLATE:
        for piece in pieces:
            room -= _deflated_size(piece, room)
    return pieces


def _deflated_size(data: memoryview, room: int) -> int:
    """Bytes that a whole deflate stream unpacks to.

    libtiff stops when it has its rows and never reads the checksum behind them: a strip whose end
    was filled with zeros would decode.
    """
    stream, pending, size = zlib.decompressobj(), bytes(data), 0
    try:
        while not stream.eof:
            unpacked = len(stream.decompress(pending, 1 << 20))
            pending = stream.unconsumed_tail
            size += unpacked
            if size > room:
                raise FileRejected(ReasonCode.BOMB, "a deflate stream beyond the limit")
            if not unpacked and not pending and not stream.eof:
                raise FileRejected(ReasonCode.TRUNCATED, "a deflate stream ends too early")
    except zlib.error:
        raise FileRejected(ReasonCode.DECODE_ERROR, "a broken deflate stream") from None
    return size
