"""`screener.jpeg_tail`: a JPEG with data lost, zeroed or doubled is no film; a whole one is."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from screener.codestream import read_jpeg_header
from screener.errors import FileRejected
from screener.frame_decoders import decode_jpeg, decode_jpeg_any
from screener.jpeg_scans import check_scans
from screener.outcomes import ReasonCode

ROWS, COLUMNS = 903, 897


def film(bits: int, *, border: int = 0, black: float = 0.0) -> NDArray[Any]:
    """Waves and grain, the last `border` rows and columns flat."""
    rng = np.random.default_rng(bits)
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    waves = (np.sin(columns / 57) + np.cos(rows / 71) + 2) / 4.4
    values = np.clip(waves + rng.normal(0, 0.01, waves.shape), 0, 1)
    if border:
        values[-border:], values[:, -border:] = black, black
    return np.rint(values * ((1 << bits) - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def saved(values: NDArray[Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", **options)
    return stream.getvalue()


def lossless(values: NDArray[Any], bits: int, predictor: int) -> bytes:
    options = {"lossless": True, "predictor": predictor, "bitspersample": bits}
    return bytes(imagecodecs.jpeg8_encode(values, **options))


GREY = 128 / 255
WHOLE: dict[str, bytes] = {
    "baseline": saved(film(8), quality=92),
    "dense": saved(film(8), quality=100),
    "black border": saved(film(8, border=150), quality=60, optimize=True),
    "white border": saved(film(8, border=150, black=1), quality=60, optimize=True),
    "grey border": saved(film(8, border=150, black=GREY), quality=60, optimize=True),
    "colour": saved(np.repeat(film(8)[..., None], 3, axis=2), quality=92),
    "restart intervals": saved(film(8), quality=92, restart_marker_blocks=137),
    "12 bits": bytes(imagecodecs.jpeg8_encode(film(12), level=95, bitspersample=12)),
    "lossless": lossless(film(16), 16, 1),
    "lossless, border": lossless(film(12, border=150), 12, 1),
    "lossless, predictor 6": lossless(film(12), 12, 6),
}
REFUSED = (ReasonCode.FRAME_TRUNCATED, ReasonCode.MALFORMED)


def decode(codestream: bytes, levels: int = 0) -> NDArray[Any]:
    header = read_jpeg_header(codestream)
    check_scans(codestream, header.process)
    if header.precision == 8 and header.process != 0xC3:
        return decode_jpeg(codestream, header, levels)
    return decode_jpeg_any(codestream, header)


def zeroed(codestream: bytes, start: int, end: int) -> bytes:
    return codestream[:start] + bytes(end - start) + codestream[end:]


DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "cut and closed": lambda data, half: data[:half] + data[-2:],
    "cut late and closed": lambda data, half: data[: half * 19 // 10] + data[-2:],
    "a hole of 4 KB": lambda data, half: zeroed(data, half, half + 4096),
    "never filled": lambda data, half: zeroed(data, half, len(data) - 2),
    "a fragment missing": lambda data, half: data[:half] + data[half + 4096 :],
    "a fragment twice": lambda data, half: data[: half + 4096] + data[half:],
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_jpeg_passes_at_every_size(name: str) -> None:
    codestream = WHOLE[name]
    # FF fills up to the end marker (T.81 B.1.1.2); some encoders leave a word behind.
    variants = [codestream]
    variants += [codestream[:-2] + filling + codestream[-2:] for filling in (b"\xff\xff", bytes(3))]
    for variant in variants:
        cells = decode(variant)
        assert cells.shape[:2] == (ROWS, COLUMNS)
        assert np.array_equal(cells, decode(codestream))
        if cells.ndim == 2 and cells.dtype == np.uint8:
            assert decode(variant, 1).shape == (-(-ROWS // 2), -(-COLUMNS // 2))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [name for name in WHOLE if name != "grey border"])
def test_a_jpeg_with_data_lost_is_refused(name: str, damage: str) -> None:
    codestream = WHOLE[name]
    broken = DAMAGES[damage](codestream, len(codestream) // 2)
    levels = (0, 1) if name in ("baseline", "dense", "black border", "white border") else (0,)
    for dropped in levels:
        with pytest.raises(FileRejected) as caught:
            decode(broken, dropped)
        assert caught.value.rejection.code in REFUSED


def test_a_film_that_ends_in_grey_tells_what_is_missing() -> None:
    codestream = WHOLE["grey border"]
    with pytest.raises(FileRejected) as caught:
        decode(codestream[: len(codestream) // 2] + codestream[-2:])
    assert caught.value.rejection.code is ReasonCode.FRAME_TRUNCATED


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (3, 200), (200, 3)])
def test_tiny_jpegs_pass(size: tuple[int, int]) -> None:
    values = film(8)[: size[0], : size[1]]
    assert decode(saved(values, optimize=True)).shape == size
    assert np.array_equal(decode(lossless(film(16)[: size[0], : size[1]], 16, 1)).shape, size)


def test_a_progressive_jpeg_is_not_judged() -> None:
    codestream = saved(film(8), quality=92, progressive=True)
    assert decode(codestream).shape == (ROWS, COLUMNS)
