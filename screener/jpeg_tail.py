"""Whether the data of a JPEG is all that its pixels take: nothing is missing, nothing is left over.

After `screener.jpeg_scans` has followed the markers, around the decoder. Where compressed data was
lost or zeroed, libjpeg fills the film up, or ends before the data does, and tells nobody: its
warnings reach no Python library. So the frame is decoded again with other data at its end: of a
whole one that changes the last pixels, and no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from screener.codestream import jpeg_segment
from screener.errors import FileRejected
from screener.outcomes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from screener.codestream import JpegHeader

    Cells = NDArray[Any]

_LOSSLESS, _PROGRESSIVE, _SOS = 0xC3, 0xC2, 0xDA
_LEFT_OVER = 8
"""Bytes; more than encoders leave behind the last code: they fill up to a byte, some to a word."""
_OF_A_BLOCK, _BLOCK = 32, 256
"""Fewer may be the end of one block of a DCT: frequencies that rounding hides, or, of a film that
is decoded at a reduced size and shows means, all of them."""
# Without FF, which would begin a marker.
_OTHER = bytes((7 * place * place + 13 * place) % 127 for place in range(_BLOCK))
_SHORT = "the JPEG's data ends before its rows do"
_LONG = "more data than the JPEG's rows take"


def require_all_used(
    codestream: bytes, header: JpegHeader, cells: Cells, decode: Callable[[bytes], Cells]
) -> None:
    """Refuse what the decoder filled up, or had data left over for.

    A progressive JPEG passes: its last scan may be one of bits that no pixel shows. So does what
    has a scan for each component.

    Args:
        codestream: As `check_scans` let it pass.
        header: Its own.
        cells: (rows, columns) or (rows, columns, components), perhaps reduced.
        decode: What made them.

    Raises:
        FileRejected: FRAME_TRUNCATED, MALFORMED.
    """
    components, begin, end, restart = _first_scan(codestream)
    if header.process == _PROGRESSIVE or components != header.components:
        return

    def ending(length: int, other: bytes) -> Cells:
        """The cells with other bytes in the place of the last `length`."""
        start = max(begin, end - length)
        start += codestream[start - 1] == 0xFF  # not between FF and the 00 that is stuffed behind
        return decode(codestream[:start] + other + codestream[end:])

    if header.process == _LOSSLESS:
        if end - begin >= _LEFT_OVER:
            _check_lossless(cells, ending(_LEFT_OVER, _OTHER[:_LEFT_OVER]))
        return
    # Grey is what libjpeg fills up with.
    if (cells[-1, -1] == 1 << (header.precision - 1)).all():
        # The rest of an interval takes the first, a whole one that is missing what follows.
        if not np.array_equal(ending(0, _OTHER + restart + _OTHER), cells):
            raise FileRejected(ReasonCode.FRAME_TRUNCATED, _SHORT)
    elif end - begin >= _LEFT_OVER:
        _check_dct(cells, ending, reduced=len(cells) < header.rows)


def _check_dct(cells: Cells, ending: Callable[[int, bytes], Cells], *, reduced: bool) -> None:
    for size in (_LEFT_OVER, _OF_A_BLOCK, _BLOCK) if reduced else (_LEFT_OVER, _OF_A_BLOCK):
        # Nothing leaves grey behind; other bytes may leave black what is black.
        for other in (b"", _OTHER[:size]):
            if not np.array_equal(ending(size, other), cells):
                return
    raise FileRejected(ReasonCode.MALFORMED, _LONG)


def _check_lossless(cells: Cells, changed: Cells) -> None:
    # A sample takes 1 bit or more, and predicts none before it.
    last = 8 * _LEFT_OVER * (cells.size // (cells.shape[0] * cells.shape[1]))
    before, after = cells.reshape(-1), changed.reshape(-1)
    if not np.array_equal(before[:-last], after[:-last]):
        raise FileRejected(ReasonCode.FRAME_TRUNCATED, _SHORT)
    if np.array_equal(before, after):
        raise FileRejected(ReasonCode.MALFORMED, _LONG)


def _first_scan(codestream: bytes) -> tuple[int, int, int, bytes]:
    """Its components; where the last interval of its data lies; the RSTn that would follow."""
    position, marker, segment = 2, 0, b""
    while marker != _SOS:
        marker, segment, position = jpeg_segment(codestream, position)
    end = len(codestream) - 2
    while end > position and codestream[end - 1] == 0xFF:
        end -= 1
    # RSTn is the only marker within a scan; FF is data where 00 is stuffed behind it.
    mark = codestream.rfind(b"\xff", position, end)
    while mark >= 0 and codestream[mark + 1] == 0:
        mark = codestream.rfind(b"\xff", position, mark)
    if mark < 0:
        return segment[0], position, end, b"\xff\xd0"
    following = 0xD0 | (codestream[mark + 1] + 1) & 7
    return segment[0], min(mark + 2, end), end, bytes((0xFF, following))
