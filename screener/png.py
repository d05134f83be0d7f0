"""PNG structure: what a file claims, and whether all of it is there, before any decoder.

On the way from `screener.discovery` to `screener.raster`. The decoder gets size and pixels alone:
text, profiles and private chunks can neither mislead nor explode. Palette and transparency are
applied here, because libpng up to 1.6.56 can be made to use freed memory with them
(CVE-2026-33416, CVE-2026-34757).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from screener.errors import FileRejected
from screener.outcomes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Samples = NDArray[Any]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = frozenset({b"IDAT", b"IEND"})
_GREY, _RGB, _PALETTE = 0, 2, 3
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 1, 4: 2, 6: 4}
_WITH_TRANSPARENCY = (_GREY, _RGB, _PALETTE)
_DEPTHS = {_GREY: (1, 2, 4, 8, 16), _PALETTE: (1, 2, 4, 8)}
# No deflate stream expands further (RFC 1951: 258 bytes from two bits).
_DEFLATE_RATIO = 1032
_SPARE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class PngFile:
    """What IHDR and the order of chunks say.

    `essential`: a PNG of IHDR, IDAT and IEND alone; indices of a palette are grey in it. `palette`:
    PLTE, RGB of 8 bits; empty where there is none. `transparency`: tRNS as it stands.
    """

    rows: int
    columns: int
    bit_depth: int
    channels: int
    frames: int
    exif: bytes
    palette: bytes
    transparency: bytes
    essential: bytes


def read_png(content: memoryview) -> PngFile:
    """Follow the chunks to IEND (PNG, 3rd edition, 5.3).

    Raises:
        FileRejected: TRUNCATED without IEND or without enough compressed data for the size that
            IHDR claims, BOMB with far more, MALFORMED.
    """
    if bytes(content[:8]) != _SIGNATURE:
        raise FileRejected(ReasonCode.MALFORMED, "no PNG signature")
    chunks = _chunks(content)
    kind, start, end = next(chunks)
    columns, rows, depth, colour = _header(kind, content[start + 8 : end - 4])
    kept: list[memoryview | bytes] = [_SIGNATURE, _bare_header(_body(content, start, end))]
    compressed, frames = 0, 1
    single = {b"PLTE": b"", b"tRNS": b"", b"eXIf": b""}
    for kind, start, end in chunks:
        if kind in _KEPT:
            kept.append(content[start:end])
            compressed += end - start - 12
        elif kind in single:
            if single[kind]:
                raise FileRejected(ReasonCode.MALFORMED, "a PNG chunk twice that may stand once")
            single[kind] = _body(content, start, end)
        elif kind == b"acTL" and end - start == 20:
            frames = int.from_bytes(content[start + 8 : start + 12], "big")
        elif not kind[0] & 0x20:
            raise FileRejected(ReasonCode.MALFORMED, "a critical PNG chunk that nobody knows")
    channels = _CHANNELS[colour]
    plain = rows * columns * channels * depth // 8
    if compressed * _DEFLATE_RATIO + 1024 < plain:
        raise FileRejected(ReasonCode.TRUNCATED, "too little data for the size that it claims")
    # Deflate adds 5 bytes to 65,535 where nothing can be compressed, and each row has a filter
    # byte. What is more has no place in the image, and libpng would inflate all of it.
    if compressed > 2 * (plain + rows) + _SPARE_BYTES:
        raise FileRejected(ReasonCode.BOMB, "more data than its size takes")
    palette = single[b"PLTE"] if colour == _PALETTE else b""
    transparency = single[b"tRNS"] if colour in _WITH_TRANSPARENCY else b""
    _check_colours(colour, depth, palette, transparency)
    essential = b"".join(kept)
    exif = single[b"eXIf"]
    return PngFile(rows, columns, depth, channels, frames, exif, palette, transparency, essential)


def apply_colours(samples: Samples, png: PngFile) -> Samples:
    """Look indices up in the palette and turn tRNS into alpha (PNG, 3rd edition, 11.2.2, 11.3.1.1).

    Args:
        samples: what the decoder made of `essential`: (rows, columns) or (rows, columns, 3),
            grey of fewer than 8 bits stretched to 8.
        png: what `read_png` said.

    Returns:
        The same samples, or with a last axis of grey and alpha, RGB, or RGB and alpha.

    Raises:
        FileRejected: MALFORMED where an index has no entry in the palette.
    """
    step = 255 // (2**png.bit_depth - 1) if png.bit_depth < 8 else 1
    if png.palette:
        palette = np.frombuffer(png.palette, np.uint8).reshape(-1, 3)
        indices = samples // step
        if int(indices.max()) >= len(palette):
            raise FileRejected(ReasonCode.MALFORMED, "an index beyond the PNG's palette")
        colours: Samples = palette[indices]
        if not png.transparency:
            return colours
        alpha = np.full(len(palette), 255, np.uint8)
        alpha[: len(png.transparency)] = np.frombuffer(png.transparency, np.uint8)
        return np.dstack((colours, alpha[indices]))
    if not png.transparency:
        return samples
    planes = samples.reshape(png.rows, png.columns, png.channels)
    # Only the bits that a sample has count.
    key = np.frombuffer(png.transparency, ">u2").astype(np.int64) & (2**png.bit_depth - 1)
    clear = (planes == key * step).all(axis=2)
    opaque = np.iinfo(samples.dtype).max
    return np.dstack((planes, np.where(clear, 0, opaque).astype(samples.dtype)))


def _chunks(content: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk up to IEND."""
    kind, end = b"", 8
    while kind != b"IEND":
        start = end
        kind, end = _chunk(content, start)
        yield kind, start, end


def _body(content: memoryview, start: int, end: int) -> bytes:
    """The data of a chunk that the decoder, which checks the others, does not get."""
    if zlib.crc32(content[start + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
        raise FileRejected(ReasonCode.MALFORMED, "a PNG chunk whose check sum is wrong")
    return bytes(content[start + 8 : end - 4])


def _bare_header(body: bytes) -> bytes:
    """IHDR as the decoder gets it: palette indices are grey."""
    if body[9] == _PALETTE:
        body = body[:9] + bytes([_GREY]) + body[10:]
    chunk = b"IHDR" + body
    return struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))


def _check_colours(colour: int, depth: int, palette: bytes, transparency: bytes) -> None:
    if colour == _PALETTE:
        entries, rest = divmod(len(palette), 3)
        if rest or not 0 < entries <= 2**depth or len(transparency) > entries:
            raise FileRejected(ReasonCode.MALFORMED, "a PNG palette that does not fit its indices")
    elif transparency and len(transparency) != 2 * _CHANNELS[colour]:
        raise FileRejected(ReasonCode.MALFORMED, "a PNG tRNS chunk of the wrong length")


def _chunk(content: memoryview, position: int) -> tuple[bytes, int]:
    """Kind and end of the chunk at `position`."""
    if position + 12 > len(content):
        raise FileRejected(ReasonCode.TRUNCATED, "the PNG ends before IEND")
    length, kind = struct.unpack_from(">I4s", content, position)
    if length >= 1 << 31 or not kind.isalpha():
        raise FileRejected(ReasonCode.MALFORMED, "no PNG chunk where one starts")
    following = position + 12 + length
    if following > len(content):
        raise FileRejected(ReasonCode.TRUNCATED, "a PNG chunk runs past the end")
    return kind, following


def _header(kind: bytes, body: memoryview) -> tuple[int, int, int, int]:
    """Columns, rows, bit depth and colour type."""
    if kind != b"IHDR" or len(body) != 13:
        raise FileRejected(ReasonCode.MALFORMED, "no IHDR")
    columns, rows, depth, colour = struct.unpack_from(">IIBB", body)
    if not columns or not rows or depth not in _DEPTHS.get(colour, (8, 16)):
        raise FileRejected(ReasonCode.MALFORMED, "impossible IHDR")
    if colour not in _CHANNELS:
        raise FileRejected(ReasonCode.MALFORMED, "impossible IHDR")
    return columns, rows, depth, colour
