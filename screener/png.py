"""PNG structure: what a file claims, and whether all of it is there, before any decoder.

On the way from `screener.discovery` to `screener.raster`. Text, colour profiles and private chunks
are left out of what the decoder gets, so they can neither mislead nor explode.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from screener.domain import ReasonCode
from screener.errors import FileRejected

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# No deflate stream expands further (RFC 1951: 258 bytes from two bits).
_DEFLATE_RATIO = 1032


@dataclass(frozen=True, slots=True)
class PngFile:
    """What IHDR and the order of chunks say. `essential` is the file without ancillary chunks."""

    rows: int
    columns: int
    bit_depth: int
    channels: int
    frames: int
    exif: bytes
    essential: bytes


def read_png(content: memoryview) -> PngFile:
    """Follow the chunks to IEND (PNG, 3rd edition, 5.3).

    Raises:
        FileRejected: TRUNCATED without IEND or without enough compressed data for the size that
            IHDR claims, MALFORMED.
    """
    if bytes(content[:8]) != _SIGNATURE:
        raise FileRejected(ReasonCode.MALFORMED, "no PNG signature")
    kind, body, position = _chunk(content, 8)
    columns, rows, depth, colour = _header(kind, body)
    kept: list[memoryview | bytes] = [content[:position]]
    exif, frames, compressed = b"", 1, 0
    while kind != b"IEND":
        kind, body, following = _chunk(content, position)
        if kind == b"IDAT":
            compressed += len(body)
        elif kind == b"eXIf":
            exif = bytes(body)
        elif kind == b"acTL" and len(body) == 8:
            frames = int.from_bytes(body[:4], "big")
        elif kind not in _KEPT and not kind[0] & 0x20:
            raise FileRejected(ReasonCode.MALFORMED, "a critical PNG chunk that nobody knows")
        if kind in _KEPT:
            kept.append(content[position:following])
        position = following
    channels = _CHANNELS[colour]
    if compressed * _DEFLATE_RATIO + 1024 < rows * columns * channels * depth // 8:
        raise FileRejected(ReasonCode.TRUNCATED, "too little data for the size that it claims")
    return PngFile(rows, columns, depth, channels, frames, exif, b"".join(kept))


def _chunk(content: memoryview, position: int) -> tuple[bytes, memoryview, int]:
    """Kind, data and end of the chunk at `position`."""
    if position + 12 > len(content):
        raise FileRejected(ReasonCode.TRUNCATED, "the PNG ends before IEND")
    length, kind = struct.unpack_from(">I4s", content, position)
    if length >= 1 << 31 or not kind.isalpha():
        raise FileRejected(ReasonCode.MALFORMED, "no PNG chunk where one starts")
    following = position + 12 + length
    if following > len(content):
        raise FileRejected(ReasonCode.TRUNCATED, "a PNG chunk runs past the end")
    return kind, content[position + 8 : following - 4], following


def _header(kind: bytes, body: memoryview) -> tuple[int, int, int, int]:
    """Columns, rows, bit depth and colour type."""
    if kind != b"IHDR" or len(body) != 13:
        raise FileRejected(ReasonCode.MALFORMED, "no IHDR")
    columns, rows, depth, colour = struct.unpack_from(">IIBB", body)
    if not columns or not rows or colour not in _CHANNELS:
        raise FileRejected(ReasonCode.MALFORMED, "impossible IHDR")
    return columns, rows, depth, colour
