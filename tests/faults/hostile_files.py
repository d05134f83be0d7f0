"""Hostile PNG and TIFF files, and what else may lie in a tree: more of `CASES`."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import stat
import struct
import zlib
from pathlib import Path

from PIL import Image

from screener.outcomes import ReasonCode
from tests.faults.hostile import CASES, add, film_file
from tests.faults.seeds import seed, values

# -- PNG and TIFF ---------------------------------------------------------------------------------


def _png(**options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values() * 16).save(stream, "PNG", **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _png_of(rows: int, columns: int) -> bytes:
    whole = bytearray(seed("png"))
    struct.pack_into(">II", whole, 16, columns, rows)
    struct.pack_into(">I", whole, 29, zlib.crc32(whole[12:29]))
    return bytes(whole)


def _png_beyond_the_limit(path: Path) -> None:
    """A hundred million pixels and some, whole: half a megabyte."""
    Image.new("L", (10_000, 10_001)).save(path, "PNG", compress_level=1)


def _png_with_text_bomb() -> bytes:
    whole = seed("png")
    body = b"Comment\0\0" + zlib.compress(bytes(1 << 26), 9)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body
    return whole[:33] + chunk + struct.pack(">I", zlib.crc32(b"zTXt" + body)) + whole[33:]


_IEND = b"\0\0\0\0IEND\xaeB\x60\x82"


def _png_bomb(path: Path) -> None:
    """Half a megabyte behind a small image, which libpng inflates to a hundred megabytes."""
    whole = seed("png")
    body = zlib.compress(bytes(100 << 20), 1)
    chunk = struct.pack(">I", len(body)) + b"IDAT" + body
    path.write_bytes(whole[:33] + chunk + struct.pack(">I", zlib.crc32(b"IDAT" + body)) + _IEND)


add("png-bomb", _png_bomb, ReasonCode.BOMB)
add("png-that-claims-a-billion-pixels", _png_of(40_000, 40_000), ReasonCode.TRUNCATED)
add("png-beyond-the-pixel-limit", _png_beyond_the_limit, ReasonCode.TOO_LARGE)
add("png-cut", _png()[:-3000], ReasonCode.TRUNCATED)
add("png-with-a-text-bomb-is-read", _png_with_text_bomb())
add("png-of-garbage", b"\x89PNG\r\n\x1a\n" + bytes(range(100)), ReasonCode.MALFORMED)


def _tiff_in_a_circle() -> bytes:
    whole = bytearray(seed("tiff"))
    (first,) = struct.unpack_from("<I", whole, 4)
    (entries,) = struct.unpack_from("<H", whole, first)
    struct.pack_into("<I", whole, first + 2 + 12 * entries, first)
    return bytes(whole)


add("tiff-in-a-circle", _tiff_in_a_circle(), ReasonCode.MALFORMED)
add("tiff-cut", seed("tiff")[:-3000], ReasonCode.TRUNCATED)
add("jpeg-cut", seed("jpeg")[:-1000], ReasonCode.TRUNCATED)

# -- what lies in a tree --------------------------------------------------------------------------


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(film_file(190)[:2000])
        stream.truncate(50 << 30)


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _loop(path: Path) -> None:
    path.symlink_to("..")


def _device(path: Path) -> None:
    """/dev/zero where the account may make one, else the pipe that anybody may."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(path.parent):
        # An address has no room for a long path.
        listener.bind(path.name)


add("fifo", os.mkfifo, ReasonCode.NOT_REGULAR)
add("device", _device, ReasonCode.NOT_REGULAR)
add("socket", _socket, ReasonCode.NOT_REGULAR)
add("link", _link, ReasonCode.LINK)
add("link-in-a-circle", _loop, ReasonCode.LINK)
add("sparse", _sparse, ReasonCode.TOO_LARGE)
add("empty", b"", ReasonCode.EMPTY)
add("text", b"nothing\n" * 50, ReasonCode.OTHER_KIND)

__all__ = ["CASES"]
