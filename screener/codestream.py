"""Headers of compressed frames: what a codestream says of itself before any decoder sees it.

On the way between the frame and its decoder (`screener.decoding`). Decoders fill what is missing
with zeros or grey and say nothing: 188 of 200 cut JPEG and JPEG-LS frames decoded without a word.
So the end marker, the chain of tile-parts and the claimed size are checked here, in plain Python.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

from screener.errors import FileRejected
from screener.outcomes import ReasonCode

_END, _FILLING = b"\xff\xd9", b"\x00\xff\r\n "
_EXIF = b"Exif\x00\x00"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_SOC_SIZ = b"\xff\x4f\xff\x51"
_SOT, _SOD, _COD, _COC = 0xFF90, 0xFF93, 0xFF52, 0xFF53
_MAX_TILES = 65535
# SOF markers; DHT (C4), JPG (C8) and DAC (CC) lie among them and are none. F7 is JPEG-LS.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x01}


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """A JPEG or JPEG-LS frame header (ITU-T T.81 B.2.2, T.87 C.2.2).

    `process` is the SOF marker's second byte: C0 baseline, C1 extended, C2 progressive, C3
    lossless, F7 JPEG-LS. `adobe_transform` is None without an Adobe APP14 segment; `exif` is a
    TIFF structure.
    """

    process: int
    precision: int
    rows: int
    columns: int
    component_ids: tuple[int, ...]
    jfif: bool = False
    adobe_transform: int | None = None
    exif: bytes = b""

    @property
    def components(self) -> int:
        """Samples of one pixel."""
        return len(self.component_ids)

    @property
    def is_ybr(self) -> bool | None:
        """Whether three components are luminance and chrominance; None where nothing says so.

        The order of libjpeg (`default_decompress_parms`): JFIF, Adobe, component names.
        """
        if self.jfif:
            return True
        if self.adobe_transform is not None:
            return self.adobe_transform != 0
        return False if bytes(self.component_ids) == b"RGB" else None


@dataclass(frozen=True, slots=True)
class Jpeg2000Header:
    """A JPEG 2000 main header (ITU-T T.800 A.5), the least and safest of its tiles.

    `levels` is the smallest number of decomposition levels in any COD or COC; `origin` is
    (row, column) of the image on the reference grid, on which reduced sizes depend.
    """

    precision: int
    signed: bool
    rows: int
    columns: int
    components: int
    origin: tuple[int, int]
    levels: int
    multiple_component_transform: bool


def to_end_marker(frame: memoryview | bytes) -> bytes:
    """The codestream without what fills up behind EOI or EOC (FF D9): 00, FF, line ends, spaces.

    Raises:
        FileRejected: FRAME_TRUNCATED where it does not end with the marker.
    """
    codestream = bytes(frame).rstrip(_FILLING)
    if not codestream.endswith(_END):
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, "no end marker")
    return codestream


def has_end_marker(frame: memoryview | bytes) -> bool:
    """Whether a codestream ends as `to_end_marker` asks for."""
    return bytes(frame).rstrip(_FILLING).endswith(_END)


def read_jpeg_header(codestream: bytes) -> JpegHeader:
    """Read the segments up to the first scan.

    Raises:
        FileRejected: MALFORMED where there is no frame header; FRAME_TRUNCATED where a segment
            runs past the end.
    """
    if not codestream.startswith(b"\xff\xd8"):
        raise FileRejected(ReasonCode.MALFORMED, "no JPEG start marker")
    frame: tuple[int, bytes] | None = None
    jfif, adobe_transform, exif = False, None, b""
    position = 2
    while True:
        marker, segment, position = jpeg_segment(codestream, position)
        if marker == 0xE0 and segment.startswith(b"JFIF\x00"):
            jfif = True
        elif marker == 0xE1 and segment.startswith(_EXIF):
            exif = segment[len(_EXIF) :]
        elif marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe_transform = segment[11]
        elif marker in _FRAME_MARKERS:
            if frame is not None:
                raise FileRejected(ReasonCode.MALFORMED, "two JPEG frame headers")
            frame = marker, segment
        elif marker == 0xDA:
            break
    if frame is None or len(frame[1]) < 6 or len(frame[1]) < 6 + 3 * frame[1][5]:
        raise FileRejected(ReasonCode.MALFORMED, "no JPEG frame header")
    process, body = frame
    precision, rows, columns, components = struct.unpack_from(">BHHB", body)
    ids = tuple(body[6 + 3 * index] for index in range(components))
    return JpegHeader(process, precision, rows, columns, ids, jfif, adobe_transform, exif)


def without_application_data(codestream: bytes) -> bytes:
    """Drop APP1 to APP13, APP15 and comments, which a decoder might read and stumble over.

    JFIF (APP0) and Adobe (APP14) stay: they say how colour is stored.
    """
    kept, start, position = [], 0, 2
    marker = 0
    while marker != 0xDA:
        before = position
        marker, _, position = jpeg_segment(codestream, position)
        if marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE):
            kept.append(codestream[start:before])
            start = position
    return b"".join([*kept, codestream[start:]])


def jpeg_segment(codestream: bytes, position: int) -> tuple[int, bytes, int]:
    """Marker, payload and end of the segment at `position`."""
    end = len(codestream)
    if position < end and codestream[position] != 0xFF:
        raise FileRejected(ReasonCode.MALFORMED, "no marker where a JPEG segment starts")
    while position < end and codestream[position] == 0xFF:
        position += 1
    if position >= end or codestream[position] == 0xD9:
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, "the JPEG ends before its first scan")
    marker, position = codestream[position], position + 1
    if marker in _STANDALONE:
        return marker, b"", position
    length = int.from_bytes(codestream[position : position + 2], "big")
    if position + length > end:
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, "a JPEG segment runs past the end")
    if length < 2:
        raise FileRejected(ReasonCode.MALFORMED, "a JPEG segment shorter than its length field")
    return marker, codestream[position + 2 : position + length], position + length


def bare_jpeg2000(frame: memoryview | bytes) -> bytes:
    """The codestream, taken out of a JP2 file where a writer broke PS3.5 8.2.4 and stored one.

    Raises:
        FileRejected: FRAME_TRUNCATED without the end marker, MALFORMED where there is no
            codestream.
    """
    codestream = to_end_marker(frame)
    position = 0
    while codestream.startswith(_JP2_SIGNATURE) and position + 8 <= len(codestream):
        length, kind = struct.unpack_from(">I4s", codestream, position)
        if kind == b"jp2c":
            return codestream[position + (16 if length == 1 else 8) :]
        if length < 8:
            break
        position += length
    if not codestream.startswith(_SOC_SIZ):
        raise FileRejected(ReasonCode.MALFORMED, "no JPEG 2000 start marker")
    return codestream


def read_jpeg2000_header(codestream: bytes) -> Jpeg2000Header:
    """Read SIZ, COD and COC of the main header and of every tile-part, and follow their chain.

    The chain must reach EOC exactly, every tile must be there, and every tile with all the parts
    that it claims: so a cut is found even where something put EOC behind it.

    Raises:
        FileRejected: FRAME_TRUNCATED, MALFORMED.
    """
    try:
        return _read_jpeg2000_header(codestream)
    except struct.error as error:
        message = "the JPEG 2000 header ends too early"
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, message) from error


def _read_jpeg2000_header(codestream: bytes) -> Jpeg2000Header:
    if not codestream.startswith(_SOC_SIZ):
        raise FileRejected(ReasonCode.MALFORMED, "no JPEG 2000 start marker")
    siz = struct.unpack_from(">HHIIIIIIIIH", codestream, 4)
    length, _, right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, count = siz
    if length != 38 + 3 * count or not 1 <= count <= 4 or left >= right or top >= bottom:
        raise FileRejected(ReasonCode.MALFORMED, "impossible JPEG 2000 size")
    components = [struct.unpack_from(">BBB", codestream, 42 + 3 * i) for i in range(count)]
    if len(set(components)) > 1 or components[0][1:] != (1, 1):
        raise FileRejected(ReasonCode.MALFORMED, "JPEG 2000 components of unequal kind")
    if not tile_width or not tile_height:
        raise FileRejected(ReasonCode.MALFORMED, "impossible JPEG 2000 tiles")
    across = -(-(right - tile_left) // tile_width)
    tiles = across * -(-(bottom - tile_top) // tile_height)
    if not 1 <= tiles <= _MAX_TILES:
        raise FileRejected(ReasonCode.MALFORMED, "impossible JPEG 2000 tiles")
    levels, transform, position = _coding_styles(codestream, 4 + length, _SOT)
    if not levels:
        raise FileRejected(ReasonCode.MALFORMED, "no JPEG 2000 coding style")
    levels += _tile_part_levels(codestream, position, tiles)
    return Jpeg2000Header(
        precision=(components[0][0] & 0x7F) + 1,
        signed=bool(components[0][0] >> 7),
        rows=bottom - top,
        columns=right - left,
        components=count,
        origin=(top, left),
        levels=min(levels),
        multiple_component_transform=transform,
    )


def _coding_styles(codestream: bytes, position: int, last: int) -> tuple[list[int], bool, int]:
    """Decomposition levels of COD and COC up to the marker `last`, and where that stands."""
    levels: list[int] = []
    transform = False
    # Csiz is at most 4 here, so Ccoc is one byte.
    while (marker := struct.unpack_from(">H", codestream, position)[0]) != last:
        (length,) = struct.unpack_from(">H", codestream, position + 2)
        if marker < 0xFF00 or length < 2:
            raise FileRejected(ReasonCode.MALFORMED, "no marker where a JPEG 2000 segment starts")
        if marker == _COD:
            used, own = struct.unpack_from(">BB", codestream, position + 8)
            transform, levels = transform or bool(used), [*levels, own]
        elif marker == _COC:
            levels += struct.unpack_from(">B", codestream, position + 6)
        position += 2 + length
    return levels, transform, position


def _tile_part_levels(codestream: bytes, position: int, tiles: int) -> list[int]:
    end = len(codestream) - 2
    levels: list[int] = []
    seen: dict[int, int] = {}
    claimed: dict[int, int] = {}
    while position < end:
        marker, _, tile, length, _, parts = struct.unpack_from(">HHHIBB", codestream, position)
        if marker != _SOT:
            raise FileRejected(ReasonCode.MALFORMED, "no marker where a tile-part starts")
        following = position + length if length else end
        if following > end:
            raise FileRejected(ReasonCode.FRAME_TRUNCATED, "a tile-part runs past the end")
        own, _, data = _coding_styles(codestream, position + 12, _SOD)
        if data + 2 > following:
            raise FileRejected(ReasonCode.MALFORMED, "a tile-part shorter than its header")
        levels += own
        seen[tile] = seen.get(tile, 0) + 1
        claimed[tile] = max(claimed.get(tile, 0), parts)
        position = following
    if len(seen) != tiles or any(seen[tile] < parts for tile, parts in claimed.items()):
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, "tiles are missing")
    return levels


def rle_segments(frame: memoryview, count: int) -> list[memoryview]:
    """The byte planes of an RLE frame (PS3.5 G.3 to G.5).

    Raises:
        FileRejected: FRAME_TRUNCATED where an offset lies past the end, MALFORMED where the header
            is not one of `count` segments in order.
    """
    if len(frame) < 64:
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, "the RLE header ends too early")
    segments, *offsets = struct.unpack_from("<16I", frame)
    if segments != count:
        raise FileRejected(ReasonCode.MALFORMED, "not the RLE segments that the header describes")
    bounds = [*offsets[:count], len(frame)]
    if bounds[0] != 64:
        raise FileRejected(ReasonCode.MALFORMED, "RLE segments that do not follow the header")
    if any(offset >= len(frame) for offset in bounds[:-1]):
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, "an RLE segment lies past the end")
    if any(start >= end for start, end in pairwise(bounds)):
        raise FileRejected(ReasonCode.MALFORMED, "RLE segments out of order")
    return [frame[start:end] for start, end in pairwise(bounds)]
