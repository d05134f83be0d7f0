"""Whole files -> broken ones: a mutant is named by its seed and number and can be made again.

Bytes are changed inside the frame more often than around it, lengths and checksums that a reader
would stumble over first are put right, and sizes are changed in header and codestream alike: what
must be reached are the decoders.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from tests.faults.seeds import COLUMNS, RASTERS, ROWS, SYNTAXES, encode, seed, values

Mutate = Callable[[bytearray, np.random.Generator], None]

_INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF)
_SIDES = (0, 1, 127, 128, 1000, 9999, 10001, 16384, 32768, 65500, 65535)
_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Parts:
    """A seed as what comes before its frame, the frame, and how the frame is closed."""

    before: bytes
    frame: bytes
    kind: str


@cache
def parts_of(name: str) -> Parts:
    """Take a seed apart."""
    whole = seed(name)
    if name in RASTERS:
        return Parts(b"", whole, name)
    if name == "deflated":
        meta = 132 + 12 + struct.unpack_from("<I", whole, 140)[0]
        return Parts(whole[:meta], whole[meta:], "deflated")
    if name in ("implicit", "explicit", "big-endian"):
        frame = values().astype(">u2" if name == "big-endian" else "<u2").tobytes()
        return Parts(whole[: whole.index(frame)], frame, "native")
    frame = encode(name, values())
    return Parts(whole[: whole.index(frame) - 4], frame, "encapsulated")


def compose(parts: Parts, before: bytes, frame: bytes) -> bytes:
    """Put a file together again, with the lengths that its frame has now."""
    if parts.kind == "encapsulated":
        padded = frame + b"\0" * (len(frame) % 2)
        return before + struct.pack("<I", len(padded)) + padded + _DELIMITER
    if parts.kind == "png":
        return _with_checksums(frame)
    return before + frame


def mutant(name: str, number: int) -> bytes:
    """The file of that name and number: always the same bytes."""
    rng = np.random.default_rng([*name.encode(), number])
    parts = parts_of(name)
    before, frame = bytearray(parts.before), bytearray(parts.frame)
    if rng.random() < 0.08 and name in SYNTAXES:
        _resize(before, frame, rng, big_endian=name == "big-endian")
    # A frame of native pixels is only other pixels: there the header is what can hurt.
    share = 0.3 if parts.kind == "native" else 0.9
    # One change mostly, seldom many: a file with many faults is refused for the first.
    for _ in range(min(int(rng.geometric(0.5)), 16)):
        change = _CHANGES[int(rng.integers(len(_CHANGES)))]
        if rng.random() < share or len(before) < 200:
            change(frame, rng)
        else:
            head = before[132:]
            change(head, rng)
            before[132:] = head
    if parts.kind == "encapsulated" and rng.random() < 0.7 and not frame.endswith(_END):
        frame += _END
    return compose(parts, bytes(before), bytes(frame))


def scramble(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a file anywhere, one change mostly."""
    changed = bytearray(content)
    for _ in range(min(int(rng.geometric(0.5)), 16)):
        _CHANGES[int(rng.integers(len(_CHANGES)))](changed, rng)
    return bytes(changed)


def _place(content: bytearray, rng: np.random.Generator) -> int:
    """A position; headers stand at the front, so half of all fall into the first 200 bytes."""
    if not content:
        return 0
    span = min(len(content), 200) if rng.random() < 0.5 else len(content)
    return int(rng.integers(span))


def _flip(content: bytearray, rng: np.random.Generator) -> None:
    if content:
        content[_place(content, rng)] ^= 1 << int(rng.integers(8))


def _set(content: bytearray, rng: np.random.Generator) -> None:
    if content:
        content[_place(content, rng)] = int(rng.integers(256))


def _number(content: bytearray, rng: np.random.Generator) -> None:
    """Two or four bytes of either order that many programs count wrongly with."""
    form = ("<H", ">H", "<I", ">I")[int(rng.integers(4))]
    size = struct.calcsize(form)
    value = _INTERESTING[int(rng.integers(len(_INTERESTING)))] & ((1 << 8 * size) - 1)
    position = _place(content, rng)
    content[position : position + size] = struct.pack(form, value)


def _delete(content: bytearray, rng: np.random.Generator) -> None:
    position = _place(content, rng)
    del content[position : position + int(rng.integers(1, 64))]


def _repeat(content: bytearray, rng: np.random.Generator) -> None:
    position = _place(content, rng)
    piece = content[position : position + int(rng.integers(1, 64))]
    content[position:position] = piece * int(rng.integers(1, 4))


def _insert(content: bytearray, rng: np.random.Generator) -> None:
    position = _place(content, rng)
    content[position:position] = rng.bytes(int(rng.integers(1, 32)))


def _marker(content: bytearray, rng: np.random.Generator) -> None:
    """A JPEG or JPEG 2000 marker with a length behind it."""
    position = _place(content, rng)
    segment = bytes([0xFF, int(rng.integers(0x4F, 0xFF)), 0, int(rng.integers(0, 24))])
    content[position : position + len(segment)] = segment


def _swap(content: bytearray, rng: np.random.Generator) -> None:
    if len(content) < 64:
        return
    first, second = sorted(int(place) for place in rng.integers(len(content) - 16, size=2))
    piece = content[first : first + 16]
    content[first : first + 16] = content[second : second + 16]
    content[second : second + 16] = piece


def _cut(content: bytearray, rng: np.random.Generator) -> None:
    del content[_place(content, rng) :]


_CHANGES: tuple[Mutate, ...] = (
    _flip, _flip, _set, _set, _number, _number, _delete, _repeat, _insert, _marker, _swap, _cut,
)  # fmt: skip


def _resize(
    before: bytearray, frame: bytearray, rng: np.random.Generator, *, big_endian: bool
) -> None:
    """Claim another size in Rows, Columns and the codestream alike."""
    rows, columns = (_SIDES[int(rng.integers(len(_SIDES)))] for _ in range(2))
    order = ">" if big_endian else "<"
    for old, new in ((ROWS, rows), (COLUMNS, columns)):
        for head in (b"US\x02\x00", b"US\x00\x02", b"\x02\x00\x00\x00"):
            found = before.find(head + struct.pack(f"{order}H", old))
            if found >= 0:
                struct.pack_into(f"{order}H", before, found + len(head), new)
    # SOF and JPEG-LS: rows, columns; SIZ of JPEG 2000: columns, rows.
    for old_text, new_text in (
        (struct.pack(">HH", ROWS, COLUMNS), struct.pack(">HH", rows, columns)),
        (struct.pack(">II", COLUMNS, ROWS), struct.pack(">II", columns, rows)),
    ):
        found = frame[:200].find(old_text)
        while found >= 0:
            frame[found : found + len(old_text)] = new_text
            found = frame[:200].find(old_text, found + 1)


def _with_checksums(png: bytes) -> bytes:
    """Give every chunk that is still whole its right CRC."""
    fixed, position = bytearray(png), 8
    while position + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, position)
        end = position + 8 + length
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[position + 4 : end]))
        position = end + 4
    return bytes(fixed)
