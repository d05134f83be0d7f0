"""The pixel data element -> the bytes of its one frame, native or encapsulated (PS3.5 A.4).

Nothing is trusted that does not add up: bytes are missing in a half-copied file, and surplus bytes
mean that the header describes another image than the one that follows.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from screener.codestream import has_end_marker
from screener.dicom_header import EXPLICIT_BIG_ENDIAN, NATIVE, UNDEFINED
from screener.dicom_tags import Tag
from screener.eligibility import FILM_SOP_CLASSES
from screener.errors import FileRejected
from screener.outcomes import ReasonCode, Warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from screener.dicom import DicomFile
    from screener.domain import PixelDescription

_PIXEL_DATA = 0x7FE00010
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_STANDARD_SYNTAXES = "1.2.840.10008.1.2."
_RLE = "1.2.840.10008.1.2.5"
# What an image cannot be described without: where it is missing, the header was cut.
_REQUIRED = (
    Tag.PHOTOMETRIC_INTERPRETATION,
    Tag.ROWS,
    Tag.COLUMNS,
    Tag.BITS_ALLOCATED,
    Tag.BITS_STORED,
    Tag.PIXEL_REPRESENTATION,
)


def check_described(file: DicomFile) -> None:
    """Refuse a file whose header was cut, or that holds no image.

    A file that ends between two elements looks whole; only what it should hold betrays it.

    Raises:
        FileRejected: The header's own fault, TRUNCATED, NO_PIXEL_DATA or MALFORMED.
    """
    if file.fault is not None:
        raise FileRejected(file.fault.code, file.fault.detail)
    complete = all(file.elements.raw(tag) for tag in _REQUIRED)
    if file.pixels is None:
        code = ReasonCode.NO_PIXEL_DATA if complete else ReasonCode.TRUNCATED
        raise FileRejected(code, "the file ends before its pixel data")
    if file.pixels.tag != _PIXEL_DATA:
        raise FileRejected(ReasonCode.NO_PIXEL_DATA, "floating point pixel data")
    if not complete:
        raise FileRejected(ReasonCode.MALFORMED, "the Image Pixel module is incomplete")
    if file.pixels.length == 0:
        raise FileRejected(ReasonCode.NO_PIXEL_DATA, "empty pixel data")


def ends_early(file: DicomFile) -> bool:
    """Whether the file ends before its header or its pixel data does; reads no pixel."""
    if file.fault is not None:
        return file.fault.code is ReasonCode.TRUNCATED
    try:
        if file.pixels is None:
            # Another kind of object than a film need not have any.
            if file.instance.sop_class_uid in FILM_SOP_CLASSES:
                check_described(file)
        elif file.pixels.length == UNDEFINED:
            end = file.pixels.offset
            for item in _items(file.content, end):
                end += 8 + len(item)
            return not _is_closed(file.content, end)
        else:
            return file.pixels.length > len(file.content) - file.pixels.offset
    except FileRejected as error:
        return error.rejection.code is ReasonCode.TRUNCATED
    return False


def read_frame(file: DicomFile, description: PixelDescription) -> memoryview:
    """Find the bytes of the frame; copied only where several fragments must be joined.

    Raises:
        FileRejected: TRUNCATED, MALFORMED, NO_PIXEL_DATA or UNSUPPORTED_SYNTAX.
    """
    check_described(file)
    pixels = file.pixels
    if pixels is None:
        raise FileRejected(ReasonCode.NO_PIXEL_DATA)
    encapsulated = pixels.length == UNDEFINED
    syntax = description.transfer_syntax_uid
    if syntax in NATIVE:
        if encapsulated:
            raise FileRejected(ReasonCode.MALFORMED, "undefined length in a native syntax")
        return _native_frame(file, description, pixels.offset, pixels.length)
    if not syntax.startswith(_STANDARD_SYNTAXES):
        # Nobody knows how its bytes lie.
        raise FileRejected(ReasonCode.UNSUPPORTED_SYNTAX)
    if not encapsulated:
        raise FileRejected(ReasonCode.MALFORMED, "native pixel data in a compressed syntax")
    return _encapsulated_frame(file, pixels.offset, syntax)


def native_length(description: PixelDescription) -> int:
    """Bytes of one native frame, without the byte that makes its length even."""
    samples = description.samples_per_pixel
    if description.photometric_interpretation == "YBR_FULL_422":
        samples = 2
    cells = description.rows * description.columns * samples
    return (cells * description.bits_allocated + 7) // 8


def _native_frame(
    file: DicomFile, description: PixelDescription, offset: int, length: int
) -> memoryview:
    if length > len(file.content) - offset:
        raise FileRejected(ReasonCode.TRUNCATED, "pixel data")
    expected = native_length(description)
    if length < expected:
        raise FileRejected(ReasonCode.MALFORMED, "less pixel data than rows x columns")
    surplus = file.content[offset + expected : offset + length]
    if len(surplus) > 1:
        # Zeros that fill a block up are harmless; anything else is another image than described.
        if len(surplus) >= expected or any(surplus):
            raise FileRejected(ReasonCode.MALFORMED, "more pixel data than rows x columns")
        file.elements.warnings.add(Warn.HEADER)
    if description.transfer_syntax_uid == EXPLICIT_BIG_ENDIAN and description.bits_allocated == 8:
        vr = bytes(file.content[offset - 8 : offset - 6])
        if vr == b"OW":
            return _swap_words(file.content[offset : offset + length])[:expected]
    return file.content[offset : offset + expected]


def _swap_words(content: memoryview) -> memoryview:
    """8-bit samples in big endian words: the second of a pair comes first (PS3.5 8.1.1, D)."""
    even = len(content) // 2 * 2
    swapped = np.frombuffer(content[:even], dtype=np.uint16).byteswap().tobytes()
    return memoryview(swapped + bytes(content[even:]))


def _encapsulated_frame(file: DicomFile, offset: int, syntax: str) -> memoryview:
    items = _items(file.content, offset)
    basic_offsets = next(items, None)
    if basic_offsets is None:
        code = (
            ReasonCode.NO_PIXEL_DATA if _is_closed(file.content, offset) else ReasonCode.TRUNCATED
        )
        raise FileRejected(code, "no items")
    extended = len(file.elements.raw(Tag.EXTENDED_OFFSET_TABLE)) // 8
    if len(basic_offsets) // 4 > 1 or extended > 1:
        # The one frame is all the fragments (PS3.5 A.4); with two frames the header is wrong.
        raise FileRejected(ReasonCode.MALFORMED, "more frames than NumberOfFrames")
    end = offset + 8 + len(basic_offsets)
    fragments = []
    for item in items:
        end += 8 + len(item)
        if len(item):
            fragments.append(item)
    closed = _is_closed(file.content, end)
    if not fragments:
        code = ReasonCode.NO_PIXEL_DATA if closed else ReasonCode.TRUNCATED
        raise FileRejected(code, "no fragments")
    frame = fragments[0] if len(fragments) == 1 else memoryview(b"".join(fragments))
    if not closed:
        # Archives are known that leave the delimiter out. The codestream's own end marker says
        # that nothing is missing before it; RLE has none, and a cut file is like it.
        if syntax == _RLE or not has_end_marker(frame):
            raise FileRejected(ReasonCode.TRUNCATED, "pixel data")
        file.elements.warnings.add(Warn.HEADER)
    return frame


def _items(content: memoryview, position: int) -> Iterator[memoryview]:
    """Yield the values of the items up to the sequence delimiter, or to where only zeros follow."""
    while True:
        head = content[position : position + 8]
        if not any(head) and not any(bytes(content[position:])):
            return
        if len(head) < 8:
            raise FileRejected(ReasonCode.TRUNCATED, "pixel data")
        group, element, length = struct.unpack("<HHL", head)
        position += 8
        if (group, element) == _DELIMITER:
            return
        if (group, element) != _ITEM or length == UNDEFINED:
            raise FileRejected(ReasonCode.MALFORMED, "pixel data that is no sequence of items")
        if length > len(content) - position:
            raise FileRejected(ReasonCode.TRUNCATED, "pixel data")
        yield content[position : position + length]
        position += length


def _is_closed(content: memoryview, position: int) -> bool:
    """Whether the sequence delimiter stands where the items end."""
    return bytes(content[position : position + 4]) == struct.pack("<HH", *_DELIMITER)
