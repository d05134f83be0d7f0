"""The strips and tiles of a JPEG-compressed TIFF -> samples as coded.

Beside `screener.tiff`, which reads the tags and leaves these pages to it: libtiff turns, inverts
and converts a page of JPEG by its tags before it gives it out, and any other page not, and where a
strip is missing or too short it gives black and no error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from screener.codestream import read_jpeg_header, to_end_marker
from screener.errors import FileRejected
from screener.frame_decoders import decode_jpeg_any
from screener.jpeg_scans import check_scans
from screener.outcomes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Samples = NDArray[Any]

_PROCESSES = frozenset({0xC0, 0xC1, 0xC2, 0xC3})
_START = b"\xff\xd8"


@dataclass(frozen=True, slots=True)
class JpegPage:
    """What the tags say of a page of JPEG strips or tiles (TIFF Technical Note 2).

    `piece_rows`, `piece_columns`: of a strip or tile. `planes`: 1 where the samples of a pixel lie
    together, else their number. `tables`: JPEGTables, a codestream of tables alone; may be empty.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    precision: int
    piece_rows: int
    piece_columns: int
    planes: int
    tables: bytes


def decode_pieces(pieces: Sequence[memoryview], page: JpegPage) -> Samples:
    """Decode every strip or tile and lay them side by side.

    Returns:
        uint8 or uint16 (rows, columns), or (rows, columns, 3) as coded: YCbCr stays so.

    Raises:
        FileRejected: FRAME_TRUNCATED, MALFORMED, UNSUPPORTED_SYNTAX, DECODE_ERROR.
    """
    down = -(-page.rows // page.piece_rows)
    across = -(-page.columns // page.piece_columns)
    if len(pieces) != down * across * page.planes:
        raise FileRejected(ReasonCode.MALFORMED, "TIFF strips or tiles are missing")
    components = page.samples_per_pixel // page.planes
    shape = (page.rows, page.columns, page.planes, components)
    samples = np.empty(shape, np.uint8 if page.precision <= 8 else np.uint16)
    for number, piece in enumerate(pieces):
        plane, place = divmod(number, down * across)
        top, left = (place // across) * page.piece_rows, (place % across) * page.piece_columns
        rows = min(page.rows - top, page.piece_rows)
        columns = min(page.columns - left, page.piece_columns)
        cells = _decode(piece, page, rows, components)[:rows, :columns]
        samples[top : top + rows, left : left + columns, plane] = cells
    if page.samples_per_pixel == 1:
        return samples[:, :, 0, 0]
    return samples.reshape(page.rows, page.columns, page.samples_per_pixel)


def _decode(piece: memoryview, page: JpegPage, least_rows: int, components: int) -> Samples:
    """One strip or tile: (rows, piece columns, components); the last strip may be shorter."""
    codestream = to_end_marker(piece)
    header = read_jpeg_header(codestream)
    if header.process not in _PROCESSES:
        raise FileRejected(ReasonCode.UNSUPPORTED_SYNTAX, "a JPEG process that nobody writes")
    check_scans(codestream, header.process)
    described = (header.columns, header.components, header.precision)
    if described != (page.piece_columns, components, page.precision):
        raise FileRejected(ReasonCode.MALFORMED, "a JPEG strip or tile of another kind")
    if not least_rows <= header.rows <= page.piece_rows:
        raise FileRejected(ReasonCode.MALFORMED, "a JPEG strip or tile of another size")
    if page.tables:
        codestream = to_end_marker(page.tables)[:-2] + codestream[2:]
    cells = decode_jpeg_any(codestream, header)
    if cells.shape[:2] != (header.rows, header.columns):
        raise FileRejected(ReasonCode.DECODE_ERROR, "the decoder gave another size")
    return cells.reshape(header.rows, header.columns, components)
