"""Hostile and broken files by name: what each holds, and what must become of it.

One case or more for every kind of fault: `CASES` is scanned as one folder by `test_hostile`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from pydicom.encaps import encapsulate

from screener.outcomes import ReasonCode, Warn
from tests.dicom_films import patched, raw_element
from tests.faults.seeds import SYNTAXES, encode, file_of, seed, values
from tests.films import dataset, draw

Build = Callable[[Path], None]
_EXPLICIT = SYNTAXES["explicit"]
_NAME, _PATIENT_ID = 0x00100010, 0x00100020


@dataclass(frozen=True, slots=True)
class Case:
    """What lies at a path; `code` None means that it is scored."""

    build: Build
    code: ReasonCode | None
    warnings: frozenset[Warn] = frozenset()


CASES: dict[str, Case] = {}


def add(name: str, content: bytes | Build, code: ReasonCode | None = None, *warnings: Warn) -> None:
    """Take a case up."""
    if callable(content):
        build = content
    else:

        def build(path: Path, content: bytes = content) -> None:
            path.write_bytes(content)

    CASES[name] = Case(build, code, frozenset(warnings))


def film_file(number: int, **changes: object) -> bytes:
    """A film of 160 x 160 in explicit little endian."""
    return file_of(dataset(draw(number, size=160), number, **changes), _EXPLICIT)


def patched_file(number: int, tag: int, vr: str, value: bytes) -> bytes:
    return bytes(patched(memoryview(film_file(number)), tag, vr, value))


def compressed_file(name: str, frame: bytes, number: int, **changes: object) -> bytes:
    film = values()
    ds = dataset(film, number, **changes)
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return file_of(ds, SYNTAXES[name])


# -- crash, hang, panic: acted out by tests.faults.entry ------------------------------------------

add("act-segv", film_file(100), ReasonCode.DECODER_CRASH)
add("act-abort", film_file(101), ReasonCode.DECODER_CRASH)
add("act-exit", film_file(102), ReasonCode.DECODER_CRASH)
add("act-killed", film_file(103), ReasonCode.OUT_OF_MEMORY)
add("act-hang", film_file(104), ReasonCode.TIMEOUT)
add("act-panic", film_file(105), ReasonCode.DECODE_ERROR)
add("act-garbage", film_file(106), ReasonCode.DECODER_CRASH)

# -- truncated frames: they decode without a word to wrong pixels ---------------------------------


def _cut_frame(name: str, number: int) -> bytes:
    frame = encode(name, values())
    return compressed_file(name, frame[: len(frame) // 2], number)


for _number, _name in enumerate(SYNTAXES, 110):
    if _name.startswith(("jpeg", "htj2k", "rle")) and _name != "jpeg-baseline":
        _code = ReasonCode.DECODE_ERROR if _name == "rle" else ReasonCode.FRAME_TRUNCATED
        add(f"frame-cut-{_name}", _cut_frame(_name, _number), _code)
_tail = encode("jpeg-ls", values())
add(
    "frame-cut-and-padded",
    compressed_file("jpeg-ls", _tail[:-2] + b"\0" * 2, 130),
    ReasonCode.FRAME_TRUNCATED,
)
add("frame-with-padding-is-whole", compressed_file("jpeg-ls", _tail + b"\0" * 2, 131))


def _holed_frame(name: str, hole: bytes, number: int) -> bytes:
    """Its first half, something, its second half: libjpeg stops there and fills up with grey."""
    grey = values() if name != "jpeg-baseline" else (values() >> 4).astype(np.uint8)
    frame = encode(name, grey)
    half = len(frame) // 2
    cells = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7} if grey.dtype == np.uint8 else {}
    return compressed_file(name, frame[:half] + hole + frame[half:], number, **cells)


_HOLES = {
    "end": b"\xff\xd9",
    "another": b"\xff\xd9" + encode("jpeg-lossless", values()),
    "application": b"\xff\xe1\x00\x04aa",
    "lines": b"\xff\xdc\x00\x04\x00\x83",
    "frame": b"\xff\xc3\x00\x04aa",
}
for _number, (_name, _hole) in enumerate(
    product(("jpeg-baseline", "jpeg-extended", "jpeg-lossless", "jpeg-lossless-sv1"), _HOLES), 400
):
    add(f"frame-{_hole}-within-{_name}", _holed_frame(_name, _HOLES[_hole], _number),
        ReasonCode.MALFORMED)  # fmt: skip
for _number, _name in enumerate(("jpeg-ls", "jpeg-lossless", "jpeg-extended"), 430):
    _whole = encode(_name, values())
    _two = compressed_file(_name, _whole + bytes(len(_whole) % 2) + _whole, _number)
    add(f"frames-two-in-one-{_name}", _two, ReasonCode.MALFORMED)

# -- half-copied files ----------------------------------------------------------------------------

add("cut-native", film_file(140)[:-4000], ReasonCode.TRUNCATED)
add("cut-at-400", film_file(141)[:400], ReasonCode.TRUNCATED)
add(
    "cut-before-the-pixels",
    film_file(142)[: film_file(142).index(b"\xe0\x7f\x10\0")],
    ReasonCode.NO_PIXEL_DATA,
)
add("cut-encapsulated", seed("jpeg-ls")[:-4000], ReasonCode.TRUNCATED)
add("cut-without-delimiter", seed("rle")[:-8], ReasonCode.TRUNCATED)
add("cut-behind-the-codestream", seed("jpeg2000")[:-8], None, Warn.HEADER)
add("cut-in-the-preamble", bytes(100), ReasonCode.TRUNCATED)
add("cut-deflated", seed("deflated")[:-4000], ReasonCode.TRUNCATED)


def _young(path: Path) -> None:
    path.write_bytes(film_file(143)[:-4000])


add("cut-and-young", _young, ReasonCode.UNSTABLE)

# -- wrong lengths --------------------------------------------------------------------------------


def _long_patient_id() -> bytes:
    whole = film_file(150)
    start = whole.index(raw_element(_PATIENT_ID, "LO", b"")[:6]) + 6
    return whole[:start] + b"\xff\xff" + whole[start + 2 :]


def _native_of_undefined_length() -> bytes:
    whole = film_file(151)
    start = whole.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
    return whole[:start] + b"\xff" * 4 + whole[start + 4 :]


def _element_of_four_gigabytes() -> bytes:
    whole = film_file(152)
    start = whole.index(raw_element(_NAME, "PN", b"")[:6])
    return whole[:start] + b"\x09\x00\x10\x10UN\0\0\xfe\xff\xff\xff" + whole[start:]


def _nested(depth: int, number: int) -> bytes:
    whole = film_file(number)
    start = whole.index(raw_element(_NAME, "PN", b"")[:6])
    open_ = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    close = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return whole[:start] + open_ * depth + close * depth + whole[start:]


add("length-of-an-id-swallows-pixels", _long_patient_id(), ReasonCode.TRUNCATED)
add("length-undefined-in-native", _native_of_undefined_length(), ReasonCode.MALFORMED)
add("length-of-4-gigabytes", _element_of_four_gigabytes(), ReasonCode.MALFORMED)
add("nesting-of-20-is-read", _nested(20, 153))
add("nesting-of-200", _nested(200, 154), ReasonCode.MALFORMED)
add("nesting-of-50000", _nested(50_000, 155), ReasonCode.MALFORMED)
add("pixels-missing", film_file(156)[:-12], ReasonCode.TRUNCATED)

# -- huge claims ----------------------------------------------------------------------------------


def _huge_jpeg_ls() -> bytes:
    frame = encode("jpeg-ls", values()).replace(
        struct.pack(">HH", *values().shape), struct.pack(">HH", 65500, 65500)
    )
    return compressed_file("jpeg-ls", frame, 160, Rows=65500, Columns=65500)


def _huge_jpeg2000() -> bytes:
    rows, columns = values().shape
    frame = encode("jpeg2000-lossless", values()).replace(
        struct.pack(">II", columns, rows), struct.pack(">II", 200_000, 200_000)
    )
    return compressed_file("jpeg2000-lossless", frame, 161)


def _of_many_components(count: int, number: int) -> bytes:
    """SIZ with so many components as its length has room for, or claims to have."""
    frame = encode("jpeg2000-lossless", values())
    start = frame.index(b"\xff\x51")
    (length,) = struct.unpack_from(">H", frame, start + 2)
    kind = frame[start + 40 : start + 43] * min(count, 16384 - 13)
    size = struct.pack(">H", 38 + len(kind) & 0xFFFF) + frame[start + 4 : start + 38]
    size += struct.pack(">H", count) + kind
    changed = frame[:start] + b"\xff\x51" + size + frame[start + 2 + length :]
    return compressed_file("jpeg2000-lossless", changed, number)


def _huge_rle() -> bytes:
    """Six megabytes that unpack to 20,000 x 20,000."""
    run = bytes([0x81, 0]) * (20_000 * 20_000 // 128)
    return compressed_file(
        "rle",
        struct.pack("<16I", 2, 64, 64 + len(run), *[0] * 13) + run + run,
        162,
        Rows=20_000,
        Columns=20_000,
    )


add("huge-native", film_file(163, Rows=65535, Columns=65535), ReasonCode.MALFORMED)
add("huge-jpeg-ls", _huge_jpeg_ls(), ReasonCode.TOO_LARGE)
add("huge-jpeg2000", _huge_jpeg2000(), ReasonCode.MALFORMED)
add("components-16371", _of_many_components(16_371, 166), ReasonCode.MALFORMED)
add("components-65535", _of_many_components(65_535, 167), ReasonCode.MALFORMED)
add("huge-rle", _huge_rle(), ReasonCode.TOO_LARGE)
add("frames-2-billion", film_file(164, NumberOfFrames=2**31 - 1), ReasonCode.MULTI_FRAME)


def _more_than_memory(path: Path) -> None:
    """Within the pixel limit, beyond the memory that the proof allows: 16-bit zeros, run-length."""
    side = 9984
    run = bytes([0x81, 7]) * (side * side // 128)
    frame = struct.pack("<16I", 2, 64, 64 + len(run), *[0] * 13) + run + run
    path.write_bytes(compressed_file("rle", frame, 165, Rows=side, Columns=side))


add("more-than-the-memory", _more_than_memory, ReasonCode.OUT_OF_MEMORY)


def _deflate_bomb(path: Path) -> None:
    """A hundred kilobytes that inflate to 128 MB, twice what the proof allows."""
    whole = seed("deflated")
    meta = 144 + struct.unpack_from("<I", whole, 140)[0]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = zlib.decompress(whole[meta:], -zlib.MAX_WBITS)
    head = head[: head.index(b"\xe0\x7f\x10\x00")]
    parts = [squeeze.compress(head + b"\xe0\x7f\x10\x00OW\0\0\xfe\xff\xff\x7f")]
    block = bytes(1 << 24)
    parts += [squeeze.compress(block) for _ in range(8)]
    path.write_bytes(whole[:meta] + b"".join([*parts, squeeze.flush()]))


add("bomb-deflated", _deflate_bomb, ReasonCode.BOMB)

# -- absurd values --------------------------------------------------------------------------------

_SLOPE, _HIGH_BIT, _BITS = 0x00281053, 0x00280102, 0x00280101


def _with_slope(number: int, value: bytes) -> bytes:
    return bytes(
        patched(
            memoryview(film_file(number, RescaleSlope="1", RescaleIntercept="0")),
            _SLOPE,
            "DS",
            value,
        )
    )


add("slope-nan", _with_slope(170, b"NaN "), ReasonCode.INVALID_PIXELS)
add("slope-zero", _with_slope(171, b"0 "), ReasonCode.INVALID_PIXELS)
add("high-bit-3", patched_file(172, _HIGH_BIT, "US", b"\x03\0"), ReasonCode.INVALID_PIXELS)
add("bits-stored-20-of-16", patched_file(173, _BITS, "US", b"\x14\0"), ReasonCode.INVALID_PIXELS)
add("bits-stored-0", patched_file(174, _BITS, "US", b"\0\0"), ReasonCode.INVALID_PIXELS)
add("palette-without-lut", film_file(175, PhotometricInterpretation="PALETTE COLOR"),
     ReasonCode.INVALID_PIXELS)  # fmt: skip
add(
    "constant",
    file_of(dataset(np.full((160, 160), 700, np.uint16), 176), _EXPLICIT),
    ReasonCode.INVALID_PIXELS,
)
add("rows-of-another-image", film_file(177, Rows=200), ReasonCode.MALFORMED)
add("codestream-of-another-size", compressed_file("jpeg-ls", _tail, 178, Rows=140, Columns=140),
     ReasonCode.MALFORMED)  # fmt: skip
add("no-pixels", film_file(179, PixelData=None), ReasonCode.NO_PIXEL_DATA)
add(
    "video",
    compressed_file("jpeg-ls", _tail, 180).replace(
        raw_element(0x00020010, "UI", SYNTAXES["jpeg-ls"].encode()),
        raw_element(0x00020010, "UI", b"1.2.840.10008.1.2.4.99"),
    ),
    ReasonCode.UNSUPPORTED_SYNTAX,
)
