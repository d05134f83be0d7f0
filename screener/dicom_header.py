"""The content of a DICOM file -> its elements before the pixel data, and where those begin.

pydicom's element generator reads the elements; around it stand the bounds that hostile and cut
files need. A fault does not throw away what was read before it: the SOP class, which comes early,
may rule the file out whatever is broken behind it.
"""

from __future__ import annotations

import logging
import re
import warnings
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, cast

from screener.dicom_elements import BROKEN, Elements
from screener.dicom_library import (
    EXPLICIT_VR_LENGTH_32,
    DataElement,
    RawDataElement,
    data_element_generator,
)
from screener.domain import Limits, Rejection
from screener.outcomes import ReasonCode, Warn

if TYPE_CHECKING:
    from collections.abc import Callable

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = frozenset(
    {IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, DEFLATED_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN}
)
UNDEFINED = 0xFFFFFFFF

_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_TRANSFER_SYNTAX_UID = 0x00020010
_MAGIC = b"DICM"
# Headers of executables, archives and documents that may hide in a preamble (CVE-2019-11687).
_FOREIGN = re.compile(
    rb"MZ|\x7fELF|#!|%PDF|PK|II[*+]\0|MM\0[*+]|GIF8|<|\xca\xfe\xba\xbe|[\xcf\xce]\xfa\xed\xfe|\xff\xd8\xff"
)
# Elements out of order happen; a whole crowd of them means that values are read as elements.
_DISORDER_LIMIT = 16
# No value that is read here is longer, but for tables and sequences: a length that swallowed more.
_VALUE_LIMIT = 1 << 16
_TABLE_LIMIT = 1 << 24
_TABLES = {0x00283000, 0x00283010, 0x00281201, 0x00281202, 0x00281203, 0x7FE00001}
_INFLATE_STEP = 1 << 20
# pydicom logs what it warns of, and its words may hold patient data.
logging.getLogger("pydicom").addFilter(lambda _record: False)


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the value of PixelData lies in the content; `length` as the header states it."""

    tag: int
    offset: int
    length: int


@dataclass(slots=True)
class Header:
    """What lies before the pixel data.

    Attributes:
        elements: The data set's elements that were asked for.
        meta: The File Meta Information.
        content: What `pixels.offset` counts in: the file, or its data set inflated.
        transfer_syntax_uid: As stated, else as guessed from the first element.
        pixels: None where no pixel data was reached.
        fault: What ended the reading before its time.
        last_tag: Of the last element seen, wanted or not; -1 where there was none.
        warnings: What the reading noticed.
    """

    elements: Elements
    meta: Elements
    content: memoryview
    transfer_syntax_uid: str = ""
    pixels: PixelElement | None = None
    fault: Rejection | None = None
    last_tag: int = -1
    warnings: set[Warn] = field(default_factory=set)


def read_header(content: memoryview, limits: Limits, wanted: frozenset[int]) -> Header:
    """Read the elements in `wanted` up to the pixel data. Never raises for what the bytes hold.

    Args:
        content: The whole file.
        limits: A deflated data set may take a quarter of its memory; beyond it is a BOMB.
        wanted: Tags of the elements to keep.
    """
    warned: set[Warn] = set()
    start = 0
    if bytes(content[128:132]) == _MAGIC:
        start = 132
        if _FOREIGN.match(content[:128]):
            warned.add(Warn.PREAMBLE)
    reader = _Reader(content, limits, wanted)
    meta_elements = reader.read(start, little=True, implicit=False, stop=_after_group_2)
    meta = Elements(meta_elements, little=True, warnings=warned)
    start = reader.position
    syntax = meta.uid(_TRANSFER_SYNTAX_UID)
    fault = None
    if syntax == DEFLATED_LITTLE_ENDIAN:
        content, fault = _inflate(content[start:], limits.memory_bytes // 4)
        reader, start = _Reader(content, limits, wanted), 0
    syntax, little, implicit, odd = _encoding(content[start : start + 6], syntax)
    if odd:
        warned.add(Warn.HEADER)
    elements = reader.read(start, little=little, implicit=implicit, stop=_at_pixel_data)
    if reader.disorder:
        warned.add(Warn.HEADER)
    return Header(
        Elements(elements, little=little, warnings=warned),
        meta,
        content,
        syntax,
        reader.pixels,
        fault or reader.fault,
        reader.last_tag,
        warned,
    )


def _after_group_2(tag: int) -> bool:
    return tag >> 16 != 2


def _at_pixel_data(tag: int) -> bool:
    return tag in _PIXEL_DATA


def _encoding(head: memoryview, syntax: str) -> tuple[str, bool, bool, bool]:
    """Tell how the data set is written from its first element, because some syntaxes lie.

    Returns:
        The transfer syntax (guessed by pydicom's rule where none is stated), little endian,
        implicit VR, and whether the statement was missing or wrong.
    """
    letters = bytes(head[4:6])
    explicit = len(letters) == 2 and all(0x41 <= letter <= 0x5A for letter in letters)
    if syntax:
        stated_explicit = syntax != IMPLICIT_LITTLE_ENDIAN
        odd = len(letters) == 2 and stated_explicit != explicit
        return syntax, syntax != EXPLICIT_BIG_ENDIAN, not (explicit or len(letters) < 2), odd
    if not explicit:
        return IMPLICIT_LITTLE_ENDIAN, True, True, True
    # A group below 0x0100 has its number in the second byte when it is big endian.
    little = int.from_bytes(head[:2], "little") < 0x0400
    return EXPLICIT_LITTLE_ENDIAN if little else EXPLICIT_BIG_ENDIAN, little, False, True


def _inflate(deflated: memoryview, limit: int) -> tuple[memoryview, Rejection | None]:
    """Inflate a data set (PS3.5 A.5) in steps, so that what precedes a fault is kept."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    total = 0
    fault = None
    pending: bytes | memoryview = b""
    position = 0
    while not inflater.eof and (pending or position < len(deflated)):
        if not pending:
            pending = deflated[position : position + _INFLATE_STEP]
            position += len(pending)
        try:
            part = inflater.decompress(pending, _INFLATE_STEP)
        except zlib.error:
            fault = Rejection(ReasonCode.MALFORMED, "deflated data set")
            break
        pending = inflater.unconsumed_tail
        total += len(part)
        if total > limit:
            fault = Rejection(ReasonCode.BOMB, "deflated data set")
            break
        parts.append(part)
    if fault is None and not inflater.eof:
        # The inflater may still hold output when the input has been used up.
        parts.append(inflater.flush())
        if not inflater.eof:
            fault = Rejection(ReasonCode.TRUNCATED, "deflated data set")
    return memoryview(b"".join(parts)), fault


class _Stream:
    """The reading half of a file over a memoryview: nothing is copied but what is read.

    `ran_out`: a read wanted more than there was; `tail`: how much the last such read still got.
    """

    def __init__(self, content: memoryview) -> None:
        self.content, self.position = content, 0
        self.start(0)

    def start(self, position: int) -> None:
        """Begin at `position`; nothing has run out yet."""
        self.position, self.ran_out, self.tail = position, False, 0

    def read(self, size: int = -1) -> bytes:
        end = len(self.content) if size < 0 else self.position + size
        part = bytes(self.content[self.position : end])
        if len(part) < end - self.position:
            self.ran_out, self.tail = True, len(part)
        self.position += len(part)
        return part

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self.position, len(self.content))[whence]
        self.position = max(0, base + offset)
        return self.position

    def tell(self) -> int:
        return self.position


class _Reader:
    """Reads elements with pydicom, in bounds; keeps what it had when a fault ends it."""

    def __init__(self, content: memoryview, limits: Limits, wanted: frozenset[int]) -> None:
        self.stream = _Stream(content)
        self.limits = limits
        self.wanted = wanted
        self.position = 0
        self.pixels: PixelElement | None = None
        self.fault: Rejection | None = None
        self.disorder = 0
        self.last_tag = -1

    def read(
        self, start: int, *, little: bool, implicit: bool, stop: Callable[[int], bool]
    ) -> dict[int, RawDataElement | DataElement]:
        """Read from `start` until `stop` says so for a tag, the end, or a fault."""
        self.stream.start(start)
        self.fault, self.disorder, self.last_tag = None, 0, -1
        stopped = False

        def watch(tag: int, vr: str | None, length: int) -> bool:
            nonlocal stopped
            value = self.stream.position
            if stop(tag):
                if tag in _PIXEL_DATA:
                    self.pixels = PixelElement(tag, value, length)
                long_form = not implicit and vr in EXPLICIT_VR_LENGTH_32
                self.position, stopped = value - (12 if long_form else 8), True
                return True
            self.disorder += tag <= self.last_tag
            self.last_tag = tag
            self.fault = self._check(tag, vr, length)
            return self.fault is not None

        elements: dict[int, RawDataElement | DataElement] = {}
        generator = data_element_generator(
            cast("BinaryIO", self.stream),
            implicit,
            little,
            stop_when=watch,
            specific_tags=list(self.wanted),
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for element in generator:
                    elements[int(element.tag)] = element
        except BROKEN as error:
            cut = self.stream.ran_out and not isinstance(error, RecursionError)
            code = ReasonCode.TRUNCATED if cut else ReasonCode.MALFORMED
            self.fault = self.fault or Rejection(code, type(error).__name__)
        if self.fault is None and not stopped:
            self._judge_end()
        if not stopped:
            self.position = self.stream.position
        return elements

    def _check(self, tag: int, vr: str | None, length: int) -> Rejection | None:
        """Judge an element by its length before its value is read."""
        if self.disorder > _DISORDER_LIMIT:
            return Rejection(ReasonCode.MALFORMED, "elements out of order")
        if length == UNDEFINED:
            if vr in (None, "SQ", "UN", "OB", "OW"):
                return None
            return Rejection(ReasonCode.MALFORMED, "undefined length")
        if length > self.limits.file_bytes:
            return Rejection(ReasonCode.MALFORMED, "impossible length")
        if length > len(self.stream.content) - self.stream.position:
            return Rejection(ReasonCode.TRUNCATED, "header")
        limit = _TABLE_LIMIT if tag in _TABLES or vr == "SQ" else _VALUE_LIMIT
        if tag in self.wanted and length > limit:
            return Rejection(ReasonCode.MALFORMED, "impossible length")
        return None

    def _judge_end(self) -> None:
        """The elements ended without a stop: at the end of the file, or at a stray delimiter."""
        if self.stream.position < len(self.stream.content):
            self.fault = Rejection(ReasonCode.MALFORMED, "stray delimiter")
        elif self.stream.tail:
            self.fault = Rejection(ReasonCode.TRUNCATED, "header")
