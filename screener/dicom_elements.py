"""Raw data elements -> values: text, numbers, tables, sequence items. Part of reading a header.

Values are read here and not by pydicom's conversion, which raises, warns with patient data in its
words, or passes nonsense on, depending on the VR. Whatever cannot be read is empty or None, and
`warnings` says so.
"""

from __future__ import annotations

import math
import re
import struct
import warnings as python_warnings
from typing import TYPE_CHECKING

import numpy as np

from screener.dicom_library import DataElement, RawDataElement, convert_SQ
from screener.dicom_library import Sequence as PydicomSequence
from screener.dicom_text import (
    DEFAULT,
    PERSON_NAME_LIMIT,
    TEXT_LIMIT,
    CharacterSets,
    clean_text,
    decode_text,
    read_character_sets,
)
from screener.outcomes import Warn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_SPECIFIC_CHARACTER_SET = 0x00080005
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DECIMAL = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BINARY = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
# What pydicom raises on bytes that are no elements; RecursionError comes from nested sequences.
BROKEN = (
    OSError,
    EOFError,
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    RecursionError,
)


class Elements:
    """The elements of a data set or of a sequence item, read by tag.

    Attributes:
        warnings: Grows by what reading a value shows to be wrong; shared with all items.
    """

    __slots__ = ("_elements", "_little", "_sets", "warnings")

    def __init__(
        self,
        elements: Mapping[int, RawDataElement | DataElement],
        *,
        little: bool,
        warnings: set[Warn],
        sets: CharacterSets = DEFAULT,
    ) -> None:
        self._elements, self._little, self.warnings = elements, little, warnings
        self._sets = sets
        if _SPECIFIC_CHARACTER_SET in elements:
            self._sets, unknown = read_character_sets(self.raw(_SPECIFIC_CHARACTER_SET))
            warnings.update(unknown)

    def __contains__(self, tag: int) -> bool:
        return tag in self._elements

    def raw(self, tag: int) -> bytes:
        """The bytes of a value; empty where there is none."""
        value = getattr(self._elements.get(tag), "value", None)
        return value if isinstance(value, bytes) else b""

    def vr(self, tag: int) -> str:
        """The VR that the file states; empty in implicit VR."""
        return str(getattr(self._elements.get(tag), "VR", None) or "")

    def text(self, tag: int, *, identifier: bool = False, limit: int = TEXT_LIMIT) -> str:
        """The whole value as text, verbatim but for its padding."""
        return self._clean(self.raw(tag), identifier=identifier, limit=limit)

    def person_name(self, tag: int) -> str:
        """A PN with its component groups as they stand in the file."""
        value = self.raw(tag)
        return self._clean(value, person_name=True, limit=PERSON_NAME_LIMIT)

    def uid(self, tag: int) -> str:
        """A UID; one that breaks the rules of PS3.5 9.1 is kept and told."""
        uid = self._clean(self.raw(tag), identifier=True)
        if uid and not _UID.fullmatch(uid):
            self.warnings.add(Warn.HEADER)
        return uid

    def codes(self, tag: int) -> tuple[str, ...]:
        """The values of a CS in capitals; for rules, not for reports."""
        text = self.raw(tag).decode("latin-1").rstrip("\0 ")
        if not text or not text.isprintable():
            return ()
        return tuple(part.strip().upper() for part in text.split("\\"))

    def code(self, tag: int) -> str:
        """The first value of a CS in capitals, empty where there is none."""
        return next(iter(self.codes(tag)), "")

    def numbers(self, tag: int, vr: str) -> tuple[float, ...] | None:
        """The numbers of a value; NaN for one that is none.

        Args:
            tag: Of the element.
            vr: The dictionary's, for implicit VR; DS stands for IS too.

        Returns:
            None where the element is missing; empty where its value is.
        """
        element = self._elements.get(tag)
        if element is None:
            return None
        if element.VR in _BINARY or element.VR in ("DS", "IS"):
            vr = str(element.VR)
        value = self.raw(tag)
        if vr in _BINARY:
            count = len(value) // struct.calcsize("=" + _BINARY[vr])
            order = "<" if self._little else ">"
            size = struct.calcsize("=" + _BINARY[vr]) * count
            return tuple(map(float, struct.unpack(f"{order}{count}{_BINARY[vr]}", value[:size])))
        value = value.strip(b"\0 ")
        return tuple(_decimal(part) for part in value.split(b"\\")) if value else ()

    def integer(self, tag: int, vr: str) -> int | None:
        """The first number where it is a whole one; None where it is missing or none."""
        numbers = self.numbers(tag, vr)
        if not numbers:
            return None
        if not math.isfinite(numbers[0]) or numbers[0] != int(numbers[0]):
            self.warnings.add(Warn.HEADER)
            return None
        return int(numbers[0])

    def words(self, tag: int, *, signed: bool = False) -> NDArray[np.uint16] | NDArray[np.int16]:
        """A value of 16-bit words (US, SS or OW), of the machine's own byte order."""
        value = self.raw(tag)
        stored = np.frombuffer(value[: len(value) // 2 * 2], "<u2" if self._little else ">u2")
        words = stored.astype(np.uint16)
        return words.view(np.int16) if signed else words

    def items(self, tag: int) -> tuple[Elements, ...]:
        """The items of a sequence; none where it is missing, empty or broken."""
        element = self._elements.get(tag)
        if element is None:
            return ()
        sequence = element.value
        if isinstance(element, RawDataElement) and isinstance(sequence, bytes):
            # UN holds implicit VR little endian whatever is around it (PS3.5 6.2.2).
            unknown = element.VR == "UN"
            try:
                with python_warnings.catch_warnings():
                    python_warnings.simplefilter("ignore")
                    sequence = convert_SQ(
                        sequence,
                        element.is_implicit_VR or unknown,
                        element.is_little_endian or unknown,
                    )
            except BROKEN:
                self.warnings.add(Warn.HEADER)
                return ()
        if not isinstance(sequence, PydicomSequence):
            return ()
        return tuple(
            Elements(
                # Raw: pydicom would convert an empty element, and raise on its VR.
                {int(key): item.get_item(key, keep_deferred=True) for key in item.keys()},  # noqa: SIM118
                little=self._little,
                warnings=self.warnings,
                sets=self._sets,
            )
            for item in sequence
        )

    def _clean(
        self,
        value: bytes,
        *,
        person_name: bool = False,
        identifier: bool = False,
        limit: int = TEXT_LIMIT,
    ) -> str:
        # NUL is the padding of UI and a common mistake elsewhere.
        text, odd = decode_text(value.rstrip(b"\0 "), self._sets, person_name=person_name)
        text, refused = clean_text(text, limit=limit, identifier=identifier)
        self.warnings |= odd | refused
        return text


def _decimal(value: bytes) -> float:
    value = value.strip(b"\0 ")
    return float(value) if _DECIMAL.fullmatch(value) else math.nan
