"""`screener.png_data`: the image is the same, and what is broken is left to libpng as it is."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from screener.png import read_png
from screener.png_data import inflate
from tests.test_png import chunk

HEADER_END = 33


def essential(samples: np.ndarray, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "PNG", **options)
    return read_png(memoryview(buffer.getvalue())).essential


def data_of(png: bytes) -> bytes:
    position, parts = HEADER_END, []
    while position < len(png) - 12:
        (length,) = struct.unpack_from(">I", png, position)
        parts.append(png[position + 8 : position + 8 + length])
        position += 12 + length
    return b"".join(parts)


def with_data(png: bytes, *data: bytes) -> bytes:
    return png[:HEADER_END] + b"".join(chunk(b"IDAT", part) for part in data) + png[-12:]


def noise(*shape: int, kind: str = "u1") -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, 256, shape).astype(kind)


@pytest.mark.parametrize(
    "samples",
    [noise(70, 61), noise(300, 301), noise(33, 20, 3), noise(20, 31, 4), noise(60, 61, kind="u2"),
     noise(50, 77) > 127],
    ids=["grey", "several blocks", "RGB", "RGBA", "16 bits", "1 bit"],
)  # fmt: skip
def test_the_image_is_the_same(samples: np.ndarray) -> None:
    for level in (0, 1, 9):
        png = essential(samples, compress_level=level)
        data = data_of(png)
        for parts in ((data,), (data[:9], data[9:10], b"", data[10:])):
            given = with_data(png, *parts)
            plain = inflate(given)
            assert plain is not given
            expected = imagecodecs.png_decode(given)
            assert np.array_equal(imagecodecs.png_decode(plain), expected)


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a cut stream": lambda data: data[:-9],
    "a flipped bit": lambda data: data[:40] + bytes([data[40] ^ 4]) + data[41:],
    "too little": lambda data: zlib.compress(zlib.decompress(data)[:-1]),
    "too much": lambda data: zlib.compress(zlib.decompress(data) + b"more"),
    "another check sum": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_broken_data_is_left_as_it_is(change: str) -> None:
    png = essential(noise(70, 61))
    broken = with_data(png, CHANGES[change](data_of(png)))
    assert inflate(broken) is broken


def test_a_chunk_with_a_wrong_check_sum_is_left_as_it_is() -> None:
    png = bytearray(essential(noise(70, 61)))
    png[-13] ^= 1
    broken = bytes(png)
    assert inflate(broken) is broken


def test_interlaced_rows_are_left_as_they_are() -> None:
    png = essential(noise(70, 61))
    header = png[12:28] + b"\x01"
    interlaced = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[HEADER_END:]
    assert inflate(interlaced) is interlaced
