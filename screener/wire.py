"""What a worker says of a file, as bytes: JSON and raw arrays, never pickle.

A worker runs decoders over hostile input; whatever it sends can be wrong but can never run code in
the scan. A frame is `>II`, the lengths of a JSON text and of the bytes that follow it.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from screener.domain import (
    Examined,
    FileKind,
    FileStamp,
    Instance,
    Radiograph,
    Rejection,
    Unchanged,
    View,
)
from screener.outcomes import ReasonCode, Warn
from screener.preprocess import SIZE

HEAD = struct.Struct(">II")
LONGEST = 1 << 20
_PIXEL_BYTES = SIZE * SIZE * 4


class BrokenFrame(ValueError):  # noqa: N818 - a state of the wire
    """Bytes that no sound worker sends."""


def pack(content: dict[str, Any], blob: bytes = b"") -> bytes:
    """A frame of a JSON object and raw bytes."""
    text = json.dumps(content).encode()
    return HEAD.pack(len(text), len(blob)) + text + blob


def split(buffer: bytearray) -> tuple[dict[str, Any], bytes] | None:
    """Take one frame off the front of a buffer; None where it is not complete yet.

    Raises:
        BrokenFrame: the bytes are no frame.
    """
    if len(buffer) < HEAD.size:
        return None
    text_length, blob_length = HEAD.unpack_from(buffer)
    if text_length > LONGEST or blob_length > LONGEST:
        raise BrokenFrame("a frame longer than any")
    end = HEAD.size + text_length + blob_length
    if len(buffer) < end:
        return None
    text = bytes(buffer[HEAD.size : HEAD.size + text_length])
    blob = bytes(buffer[HEAD.size + text_length : end])
    del buffer[:end]
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenFrame("no JSON") from error
    if not isinstance(content, dict):
        raise BrokenFrame("no object")
    return content, blob


def pack_result(result: Examined | Unchanged, *, final: bool) -> bytes:
    """What a worker found, as a frame."""
    if isinstance(result, Unchanged):
        return pack(
            {"final": final, "unchanged": [asdict(result.stamp), result.sha256]},
        )
    content: dict[str, Any] = {
        "final": final,
        "stamp": asdict(result.stamp) if result.stamp else None,
        "sha256": result.sha256,
        "decode_ms": result.decode_ms,
        "instance": None,
    }
    if result.instance is not None:
        content["instance"] = asdict(result.instance) | {
            "warnings": sorted(result.instance.warnings)
        }
    if isinstance(result.result, Rejection):
        content["rejection"] = [result.result.code, result.result.detail]
        return pack(content)
    film = result.result
    content["radiograph"] = {
        "pixels_sha256": film.pixels_sha256,
        "voi_source": film.voi_source,
        "levels_dropped": film.levels_dropped,
        "decoder": film.decoder,
        "warnings": sorted(film.warnings),
    }
    return pack(content, np.ascontiguousarray(film.pixels, "<f4").tobytes() + film.thumbnail)


def read_result(content: dict[str, Any], blob: bytes) -> Examined | Unchanged:
    """The other way round.

    Raises:
        BrokenFrame: it is not what `pack_result` writes.
    """
    try:
        if "unchanged" in content:
            stamp, sha256 = content["unchanged"]
            return Unchanged(_read_stamp(stamp), _text(sha256))
        return Examined(
            _read_stamp(content["stamp"]) if content["stamp"] else None,
            _text(content["sha256"]),
            _read_instance(content["instance"]) if content["instance"] else None,
            _read_film(content, blob),
            _number(content["decode_ms"]),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise BrokenFrame(type(error).__name__) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BrokenFrame("no text")
    # JSON can name half a character, which neither SQLite nor a report takes.
    value.encode()
    return value


def _whole(value: object) -> int:
    # What SQLite can hold.
    if not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise BrokenFrame("no whole number")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not abs(value) < 1e12:
        raise BrokenFrame("no number")
    return float(value)


def _read_stamp(values: dict[str, Any]) -> FileStamp:
    stamp = FileStamp(**values)
    for value in (stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.inode):
        # A file may be older than 1970.
        if not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
            raise BrokenFrame("stamp")
    return stamp


def _read_instance(values: dict[str, Any]) -> Instance:
    kept = dict(values)
    kept["kind"] = FileKind(kept["kind"])
    kept["view"] = View(kept["view"])
    kept["warnings"] = frozenset(Warn(name) for name in kept["warnings"])
    instance = Instance(**kept)
    for item in fields(instance):
        value, usual = getattr(instance, item.name), item.default
        if item.name == "age_years":
            if value is not None:
                _number(value)
        elif isinstance(usual, bool | str):
            if not isinstance(value, type(usual) if isinstance(usual, bool) else str):
                raise BrokenFrame(item.name)
            if isinstance(value, str):
                _text(value)
        elif isinstance(usual, int):
            _whole(value)
    return instance


def _read_film(content: dict[str, Any], blob: bytes) -> Radiograph | Rejection:
    if "rejection" in content:
        code, detail = content["rejection"]
        return Rejection(ReasonCode(code), _text(detail))
    film = content["radiograph"]
    if len(blob) < _PIXEL_BYTES:
        raise BrokenFrame("too few pixels")
    pixels = np.frombuffer(blob[:_PIXEL_BYTES], "<f4").astype(np.float32).reshape(SIZE, SIZE)
    if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        raise BrokenFrame("pixels out of range")
    return Radiograph(
        pixels,
        _text(film["pixels_sha256"]),
        _text(film["voi_source"]),
        _whole(film["levels_dropped"]),
        _text(film["decoder"]),
        blob[_PIXEL_BYTES:],
        frozenset(Warn(name) for name in film["warnings"]),
    )
