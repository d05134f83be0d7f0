"""The pictures of a report: thumbnails and class activation maps, as data that a page holds.

The thumbnail is what the model saw, reduced; the map was made on the same pixels, so the one lies
over the other whatever the film's size.
"""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    Map = NDArray[np.float32]

CELLS = 7
SIDE = 28
"""Of a map as it is drawn: a printer does not smooth what it enlarges."""
COLOUR = (255, 106, 0)
_LEVELS = 16
# As in the key image: of the map's own range, what is fainter is not drawn.
FAINTEST = 0.5
LONGEST_SIDE = 128
"""Of a film on the page, in CSS pixels; a thumbnail has up to 160."""
_NARROWEST = 48
_TOP_DOWN = ("upper", "middle", "lower")
_ACROSS = ("left", "middle", "right")


@dataclass(frozen=True, slots=True)
class Picture:
    """What a page shows of a film.

    `film` and `heat` are data URIs, the latter empty where no score decided; `width` and `height`
    give the film its own shape, for what the model saw is a square; `peak` says in words where on
    the picture the map is strongest.
    """

    film: str
    heat: str
    width: int
    height: int
    peak: str


def picture_of(facts: Mapping[str, Any], finding: str) -> Picture | None:
    """The picture of the image that decided; None where the ledger keeps none.

    Args:
        facts: `thumbnail`, `rows`, `columns`, `cam` and `findings`, the JSON list of the findings
            of the model that made the map: not always the model of tonight.
        finding: Which finding decided; empty where none did.
    """
    if not facts["thumbnail"]:
        return None
    width, height = _size(facts["rows"], facts["columns"])
    cam = map_of(facts["cam"], json.loads(facts["findings"] or "[]"), finding)
    return Picture(
        _data_uri("jpeg", facts["thumbnail"]),
        "" if cam is None else _data_uri("png", heat(cam)),
        width,
        height,
        "" if cam is None else peak(cam),
    )


def map_of(content: bytes | None, findings: list[str], finding: str) -> Map | None:
    """A finding's class activation map, float32 (7, 7); None where this model made none of it."""
    if not content or finding not in findings:
        return None
    maps = np.frombuffer(content, dtype="<f2").reshape(-1, CELLS, CELLS)
    number = findings.index(finding)
    return np.asarray(maps[number], np.float32) if number < len(maps) else None


def heat(cam: Map) -> bytes:
    """A map as a small PNG: one colour, the more opaque the more a place adds to the score.

    Relative to its own range: it tells where on this film, never how much.
    """
    low, high = float(cam.min()), float(cam.max())
    faintest = low + FAINTEST * (high - low)
    scale = (_LEVELS - 1) / ((high - faintest) or 1.0)
    levels = (
        ((_GROW @ cam @ _GROW.T - faintest) * scale + 0.5).clip(0, _LEVELS - 1).astype(np.uint8)
    )
    lines = np.zeros((SIDE, 1 + SIDE // 2), np.uint8)
    # Two pixels a byte, behind the byte that names no filter.
    lines[:, 1:] = levels[:, ::2] << 4 | levels[:, 1::2]
    return _PNG_HEAD + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 4)) + _PNG_END


def _chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG (ISO/IEC 15948, 5.3)."""
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


# Bicubic, as rows that a map is multiplied with.
_GROW = np.asarray(
    Image.fromarray(np.eye(CELLS, dtype=np.float32)).resize((CELLS, SIDE), Image.Resampling.BICUBIC)
)
# A palette of one colour in 16 steps of opacity. Written here, for 5,000 maps a night: Pillow takes
# four times as long.
_PNG_HEAD = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">2I5B", SIDE, SIDE, 4, 3, 0, 0, 0))
    + _chunk(b"PLTE", bytes(COLOUR) * _LEVELS)
    + _chunk(b"tRNS", bytes(255 * level // (_LEVELS - 1) for level in range(_LEVELS)))
)
_PNG_END = _chunk(b"IEND", b"")


def peak(cam: Map) -> str:
    """Where the strongest cell lies, by thirds of the picture: `lower left`."""
    row, column = divmod(int(cam.argmax()), CELLS)
    down, across = _TOP_DOWN[_third(row)], _ACROSS[_third(column)]
    return down if down == across else f"{down} {across}"


def _third(cell: int) -> int:
    return 0 if cell < 2 else 1 if cell < 5 else 2


def _size(rows: int | None, columns: int | None) -> tuple[int, int]:
    """Width and height on the page, in the shape of the film."""
    longest = max(rows or 0, columns or 0)
    if not rows or not columns:
        return LONGEST_SIDE, LONGEST_SIDE
    sides = (round(LONGEST_SIDE * side / longest) for side in (columns, rows))
    width, height = (max(side, _NARROWEST) for side in sides)
    return width, height


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"
