"""`screener.tiff_jpeg`: a JPEG page is what any other page of the same film is, or is refused."""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from screener.domain import FileKind, Limits
from screener.errors import FileRejected
from screener.outcomes import ReasonCode
from screener.raster import RasterImage, read_raster, upright
from tests.films import draw

TWELVE: NDArray[np.uint16] = draw(1, size=192)[:150]
GREY: NDArray[np.uint8] = (TWELVE >> 4).astype(np.uint8)
THREE: NDArray[np.uint8] = np.repeat(GREY[..., None], 3, axis=-1)
TABLES = 347
_LONG = {273, 279, 324, 325}


def jpeg(plane: NDArray[Any], **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(plane, level=95, **options))


def tiff(pieces: list[bytes], tags: dict[int, tuple[int, ...]], tables: bytes = b"") -> bytes:
    """A little endian TIFF of one directory, its pieces in strips, or in tiles where `tags` say."""
    places = (324, 325) if 322 in tags else (273, 279)
    body = b"II*\0\0\0\0\0"
    offsets = []
    for piece in pieces:
        offsets.append(len(body))
        body += piece
    tags = {256: (GREY.shape[1],), 257: (GREY.shape[0],), 258: (8,), 259: (7,), 262: (1,)} | tags
    tags |= {places[0]: tuple(offsets), places[1]: tuple(map(len, pieces))}
    values = {
        tag: (4 if tag in _LONG else 3, len(numbers),
              struct.pack(f"<{len(numbers)}{'I' if tag in _LONG else 'H'}", *numbers))
        for tag, numbers in tags.items()
    }  # fmt: skip
    if tables:
        values[TABLES] = (7, len(tables), tables)
    entries = b""
    for tag, (kind, count, value) in sorted(values.items()):
        entries += struct.pack("<HHI", tag, kind, count)
        if len(value) > 4:
            entries += struct.pack("<I", len(body))
            body += value
        else:
            entries += value.ljust(4, b"\0")
    body = body[:4] + struct.pack("<I", len(body)) + body[8:]
    return body + struct.pack("<H", len(values)) + entries + bytes(4)


def strips(plane: NDArray[Any], rows: int, **options: Any) -> list[bytes]:
    return [jpeg(plane[top : top + rows], **options) for top in range(0, len(plane), rows)]


def tiles(plane: NDArray[Any], side: int) -> list[bytes]:
    rows, columns = plane.shape[:2]
    rest = (0, -rows % side), (0, -columns % side), (0, 0)
    whole = np.pad(plane, rest[: plane.ndim], mode="edge")
    return [
        jpeg(np.ascontiguousarray(whole[top : top + side, left : left + side]))
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]


def as_coded(plane: NDArray[Any]) -> bytes:
    return jpeg(plane, colorspace="YCBCR", outcolorspace="YCBCR", subsampling=(1, 1))


def abbreviated(codestream: bytes) -> tuple[bytes, bytes]:
    """The tables and what is left, as TIFF Technical Note 2 has them."""
    tables, rest, position = b"\xff\xd8", b"\xff\xd8", 2
    while codestream[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(codestream[position + 2 : position + 4], "big")
        part = codestream[position:end]
        if part[1] in (0xC4, 0xDB):
            tables += part
        else:
            rest += part
        position = end
    return tables + b"\xff\xd9", rest + codestream[position:]


def read(content: bytes) -> RasterImage:
    return read_raster(memoryview(content), FileKind.TIFF, Limits(), full_size=True)


def refused(content: bytes) -> ReasonCode:
    with pytest.raises(FileRejected) as caught:
        read(content)
    return caught.value.rejection.code


def test_strips_of_shared_tables() -> None:
    tables, _ = abbreviated(jpeg(GREY))
    pieces = [abbreviated(strip)[1] for strip in strips(GREY, 32)]
    result = read(tiff(pieces, {278: (32,)}, tables))
    assert result.stored.values.dtype == np.uint8
    assert np.abs(result.stored.values - GREY.astype(int)).max() <= 12
    assert result.stored.decoder.startswith("imagecodecs/libjpeg-turbo ")


YBR = {262: (6,), 258: (8, 8, 8), 277: (3,)}
RGB = {262: (2,), 258: (8, 8, 8), 277: (3,)}
NEUTRAL = np.dstack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)])
WHOLE = {
    "one strip": tiff([jpeg(GREY)], {}),
    "strips": tiff(strips(GREY, 64), {278: (64,)}),
    "tiles": tiff(tiles(GREY, 64), {322: (64,), 323: (64,)}),
    "rgb": tiff([jpeg(THREE, colorspace="RGB", outcolorspace="RGB")], RGB),
    "planes": tiff([jpeg(GREY)] * 3, RGB | {284: (2,)}),
    "ycbcr": tiff([as_coded(NEUTRAL)], YBR),
    "ycbcr subsampled": tiff(
        [jpeg(NEUTRAL, colorspace="YCBCR", outcolorspace="YCBCR", subsampling=(2, 2))], YBR
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_layout_is_the_film(name: str) -> None:
    error = np.abs(read(WHOLE[name]).stored.values - GREY.astype(int))
    assert error.max() <= 12


def test_twelve_bits_are_not_shortened() -> None:
    content = tiff([jpeg(TWELVE, bitspersample=12)], {258: (12,)})
    values = read(content).stored.values
    assert values.dtype == np.uint16
    assert np.abs(values - TWELVE.astype(int)).max() <= 130


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["grey", "ycbcr"])
def test_a_film_is_turned_once(name: str, orientation: int) -> None:
    piece, tags = (jpeg(GREY), {}) if name == "grey" else (as_coded(NEUTRAL), YBR)
    values = read(tiff([piece], tags | {274: (orientation,)})).stored.values
    expected = upright(GREY, orientation)
    assert values.shape == expected.shape
    assert np.abs(values - expected.astype(int)).max() <= 12


def test_white_is_zero_is_inverted_once() -> None:
    result = read(tiff([jpeg(255 - GREY)], {262: (0,)}))
    assert result.display.invert
    assert np.abs(255 - result.stored.values - GREY.astype(int)).max() <= 12


def test_a_coloured_film_is_colour() -> None:
    tinted = NEUTRAL.copy()
    tinted[40:80, 40:80, 1] += 20
    assert refused(tiff([as_coded(tinted)], YBR)) is ReasonCode.COLOUR


def marked(codestream: bytes, marker: bytes) -> bytes:
    """With a marker in the middle of its compressed data, where libjpeg stops and fills up."""
    middle = codestream.index(b"\xff\xda") + len(codestream) // 2
    return codestream[:middle] + marker + codestream[middle + 2 :]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (tiff(strips(GREY, 64)[:-1], {278: (64,)}), ReasonCode.MALFORMED),
        (tiff(strips(GREY, 64), {278: (64,), 257: (400,)}), ReasonCode.MALFORMED),
        (tiff(tiles(GREY, 64)[:-1], {322: (64,), 323: (64,)}), ReasonCode.MALFORMED),
        (tiff(strips(GREY, 64), {278: (0,)}), ReasonCode.MALFORMED),
        (tiff(tiles(GREY, 64), {322: (64,), 323: (0,)}), ReasonCode.MALFORMED),
        (tiff([jpeg(np.tile(GREY, (9, 1)))], {278: (9999,)}), ReasonCode.MALFORMED),
        (tiff([jpeg(GREY[:-20])], {}), ReasonCode.MALFORMED),
        (tiff([jpeg(GREY[:, :-8])], {}), ReasonCode.MALFORMED),
        (tiff([jpeg(GREY)], {258: (16,)}), ReasonCode.MALFORMED),
        (tiff([jpeg(GREY)], RGB), ReasonCode.MALFORMED),
        (tiff([marked(jpeg(GREY), b"\xff\xd9")], {}), ReasonCode.MALFORMED),
        (tiff([marked(jpeg(GREY), b"\xff\x02")], {}), ReasonCode.MALFORMED),
        (tiff([jpeg(GREY)[:-30]], {}), ReasonCode.TRUNCATED),
        (tiff([abbreviated(jpeg(GREY))[1]], {}), ReasonCode.DECODE_ERROR),
        (tiff([jpeg(GREY)], {277: (4,), 258: (8,) * 4, 262: (2,)}), ReasonCode.UNSUPPORTED_SYNTAX),
        (tiff([NEUTRAL.tobytes()], YBR | {259: (1,)}), ReasonCode.UNSUPPORTED_SYNTAX),
    ],
)
def test_half_a_film_is_never_read(content: bytes, code: ReasonCode) -> None:
    assert refused(content) is code


def test_a_tile_beyond_the_limit_is_not_decoded() -> None:
    content = tiff(tiles(GREY, 64), {322: (65535,), 323: (65535,)})
    assert refused(content) is ReasonCode.TOO_LARGE
