"""`screener.png`: the decoder gets pixels alone; colours come out as another reader has them."""

from __future__ import annotations

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from screener.errors import FileRejected
from screener.outcomes import ReasonCode
from screener.png import PngFile, apply_colours, read_png

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8)}
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
ROWS, COLUMNS = 3, 8


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def png(colour: int, depth: int, lines: bytes, *chunks: bytes) -> bytes:
    """A PNG of 3 rows and 8 columns; `lines` without filter bytes."""
    width = COLUMNS * CHANNELS[colour] * depth // 8
    filtered = b"".join(b"\0" + lines[row * width :][:width] for row in range(ROWS))
    header = struct.pack(">IIBBBBB", COLUMNS, ROWS, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(filtered)), chunk(b"IEND", b"")
    return b"".join((b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *chunks, *data))


def decode(content: bytes) -> np.ndarray:
    file = read_png(memoryview(content))
    return apply_colours(np.asarray(imagecodecs.png_decode(file.essential)), file)


def as_rgba(samples: np.ndarray) -> np.ndarray:
    """RGB and alpha of 8 bits."""
    if samples.dtype == np.uint16:
        samples = samples >> 8
    planes = samples.reshape(ROWS, COLUMNS, -1).astype(np.uint8)
    alpha = planes[..., -1:] if planes.shape[2] in (2, 4) else np.full((ROWS, COLUMNS, 1), 255)
    colours = planes[..., :3] if planes.shape[2] >= 3 else np.repeat(planes[..., :1], 3, axis=2)
    return np.concatenate((colours, alpha), axis=2).astype(np.uint8)


def refusal(content: bytes) -> ReasonCode:
    with pytest.raises(FileRejected) as caught:
        decode(content)
    return caught.value.rejection.code


@st.composite
def palettes(draw: st.DrawFn) -> tuple[int, bytes, bytes, bytes]:
    """Depth, indices, PLTE and tRNS; every index has an entry."""
    depth = draw(st.sampled_from(DEPTHS[PALETTE]))
    entries = 2**depth
    palette = draw(st.binary(min_size=3 * entries, max_size=3 * entries))
    transparency = draw(st.binary(max_size=entries))
    width = ROWS * COLUMNS * depth // 8
    return depth, draw(st.binary(min_size=width, max_size=width)), palette, transparency


@given(palettes())
def test_a_palette_is_looked_up_as_pillow_does(drawn: tuple[int, bytes, bytes, bytes]) -> None:
    depth, lines, palette, transparency = drawn
    chunks = [chunk(b"PLTE", palette)] + [chunk(b"tRNS", transparency)] * bool(transparency)
    content = png(PALETTE, depth, lines, *chunks)
    with Image.open(io.BytesIO(content)) as theirs:
        assert np.array_equal(as_rgba(decode(content)), np.asarray(theirs.convert("RGBA")))


@pytest.mark.parametrize("depth", DEPTHS[GREY])
def test_a_transparent_grey_is_clear_where_it_stands(depth: int) -> None:
    lines = bytes(np.random.default_rng(depth).integers(0, 256, ROWS * COLUMNS * depth // 8, "u1"))
    key = int.from_bytes(lines[:2], "big") >> (16 - depth)  # the first sample
    # Bits above the depth do not count.
    stated = key | 0x100 if depth < 16 else key
    found = decode(png(GREY, depth, lines, chunk(b"tRNS", struct.pack(">H", stated))))
    plain = decode(png(GREY, depth, lines))
    step = 255 // (2**depth - 1) if depth < 8 else 1
    clear = plain == key * step
    assert clear.any()
    assert np.array_equal(found[..., 0], plain)
    assert np.array_equal(found[..., 1] == 0, clear)
    assert (found[..., 1][~clear] == np.iinfo(plain.dtype).max).all()


@pytest.mark.parametrize("depth", DEPTHS[RGB])
def test_a_transparent_colour_needs_all_three(depth: int) -> None:
    width = ROWS * COLUMNS * 3 * depth // 8
    lines = bytearray(np.random.default_rng(depth).integers(0, 256, width, "u1"))
    size = 3 * depth // 8
    lines[size : 2 * size] = lines[:size]
    lines[2 * size] = lines[0]  # one channel alone is not enough
    key = np.frombuffer(bytes(lines[:size]), ">u2" if depth == 16 else "u1").astype(">u2")
    found = decode(png(RGB, depth, bytes(lines), chunk(b"tRNS", key.tobytes())))
    clear = np.argwhere(found[..., 3] == 0).tolist()
    assert clear == [[0, 0], [0, 1]]


def test_the_decoder_gets_size_and_pixels_alone() -> None:
    extra = [chunk(b"tEXt", b"Name\0x"), chunk(b"iCCP", b"x\0\0x"), chunk(b"hIST", b"\0\0" * 4)]
    colours = [chunk(b"PLTE", bytes(12)), chunk(b"tRNS", b"\1\2")]
    file = read_png(memoryview(png(PALETTE, 2, bytes(6), *extra[:2], *colours, extra[2])))
    kinds, position = [], 8
    while position < len(file.essential):
        length, kind = struct.unpack_from(">I4s", file.essential, position)
        kinds.append(kind)
        position += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert file.essential[25] == GREY
    assert (file.palette, file.transparency) == (bytes(12), b"\1\2")


PLTE2 = chunk(b"PLTE", bytes(12))
BROKEN = {
    "a palette that is not there": png(PALETTE, 2, bytes(6)),
    "a palette of no whole entries": png(PALETTE, 2, bytes(6), chunk(b"PLTE", bytes(11))),
    "more entries than indices": png(PALETTE, 2, bytes(6), chunk(b"PLTE", bytes(15))),
    "an index beyond the palette": png(PALETTE, 2, b"\xff" * 6, chunk(b"PLTE", bytes(9))),
    "two palettes": png(PALETTE, 2, bytes(6), PLTE2, PLTE2),
    "more alphas than entries": png(PALETTE, 2, bytes(6), PLTE2, chunk(b"tRNS", bytes(5))),
    "a palette whose check sum is wrong": png(PALETTE, 2, bytes(6), PLTE2[:-1] + b"\xff"),
    "a transparent grey of one byte": png(GREY, 8, bytes(24), chunk(b"tRNS", b"\0")),
    "a transparent colour of two bytes": png(RGB, 8, bytes(72), chunk(b"tRNS", b"\0\0")),
    "16-bit indices": png(PALETTE, 16, bytes(48), PLTE2),
    "4-bit colours": png(RGB, 4, bytes(36)),
    "3-bit grey": png(GREY, 3, bytes(9)),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_colours_that_break_the_rules_are_malformed(content: bytes) -> None:
    assert refusal(content) is ReasonCode.MALFORMED


def test_a_header_whose_check_sum_is_wrong_is_not_made_right() -> None:
    content = bytearray(png(GREY, 8, bytes(24)))
    content[29] ^= 1
    assert refusal(bytes(content)) is ReasonCode.MALFORMED


def test_alpha_of_its_own_needs_no_trns() -> None:
    lines = bytes(range(ROWS * COLUMNS * 2))
    file: PngFile = read_png(memoryview(png(GREY_ALPHA, 8, lines, chunk(b"tRNS", b"\0\0"))))
    assert file.transparency == b""
    assert decode(png(GREY_ALPHA, 8, lines)).shape == (ROWS, COLUMNS, 2)
