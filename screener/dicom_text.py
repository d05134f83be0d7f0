"""Bytes of a text element -> text that is safe to hand on, and what was wrong with it.

The character sets are those of PS3.3 C.12.1.1.2; code extensions follow PS3.5 6.1.2. Nothing that
a terminal, a log or a spreadsheet would obey passes: such a value is left empty.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from screener.dicom_library import STAND_ALONE_ENCODINGS, decode_bytes, python_encoding
from screener.outcomes import Warn

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

TEXT_LIMIT = 64
"""Characters of LO, CS and UI (PS3.5 6.2); SH has 16 there, which few sites keep to."""
PERSON_NAME_LIMIT = 3 * 64 + 2
"""Three component groups of 64 characters each, joined by '=' (PS3.5 6.2.1)."""

# After these a code extension ends and the first character set is in force again (PS3.5 6.1.2.5.3).
_RESET = frozenset(b"\r\n\t\f\\")
_RESET_IN_NAME = _RESET | frozenset(b"^=")
_ESCAPE = 0x1B
# Cc, the line and paragraph separators, and what changes the direction of all text that follows.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _spelling(term: str) -> str:
    return re.sub("[ _-]+", " ", term.strip().upper())


_ENCODINGS = {_spelling(term): encoding for term, encoding in python_encoding.items() if term}
# Latin alphabet No. 9 came with the edition of 2022; pydicom 3.0 does not know it.
_ENCODINGS |= {"UTF 8": "UTF8", "UTF8": "UTF8", "ISO IR 203": "iso8859-15"}
_STAND_ALONE = frozenset(_spelling(term) for term in STAND_ALONE_ENCODINGS)


@dataclass(frozen=True, slots=True)
class CharacterSets:
    """The character sets in force: Python encodings, the first one at the start of each value.

    `declared` is False for the default repertoire (ISO IR 6, plain ASCII).
    """

    encodings: tuple[str, ...] = ("ascii",)
    declared: bool = False


DEFAULT = CharacterSets()


def read_character_sets(value: bytes) -> tuple[CharacterSets, frozenset[Warn]]:
    """Read SpecificCharacterSet (0008,0005); a term that is unknown is left out and told."""
    terms = [_spelling(term) for term in value.decode("latin-1").rstrip("\0 ").split("\\")]
    if not any(terms):
        return DEFAULT, frozenset()
    encodings: list[str] = []
    unknown = False
    for position, term in enumerate(terms):
        encoding = _ENCODINGS.get(term or "ISO IR 6")
        if encoding is None or (position > 0 and term in _STAND_ALONE):
            unknown = True
            encoding = python_encoding[""] if position == 0 else None
        if encoding is not None:
            encodings.append(encoding)
        if term in _STAND_ALONE and position == 0:
            break
    plain = terms in (["ISO IR 6"], ["ISO 2022 IR 6"])
    sets = DEFAULT if plain else CharacterSets(tuple(encodings), declared=not unknown)
    return sets, frozenset({Warn.CHARSET}) if unknown else frozenset()


def decode_text(
    value: bytes, sets: CharacterSets, *, person_name: bool = False
) -> tuple[str, frozenset[Warn]]:
    """Decode one value; bytes that do not fit become U+FFFD, and `CHARSET` says so."""
    if _ESCAPE not in value:
        if value.isascii():
            return value.decode("ascii"), frozenset()
        if not sets.declared:
            return _guess(value), frozenset({Warn.CHARSET})
    delimiters = set(_RESET_IN_NAME if person_name else _RESET)
    encodings = sets.encodings if sets.encodings != DEFAULT.encodings else (python_encoding[""],)
    try:
        with warnings.catch_warnings():
            # pydicom warns, with patient data in the words, where bytes do not fit.
            warnings.simplefilter("error")
            return decode_bytes(value, encodings, delimiters), frozenset()
    except (UserWarning, UnicodeError, LookupError):
        text = value.decode(encodings[0], errors="replace")
        return text, frozenset({Warn.CHARSET})


def _guess(value: bytes) -> str:
    # Undeclared text beyond ASCII is nearly always one of these two.
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def clean_text(
    text: str, *, limit: int = TEXT_LIMIT, identifier: bool = False
) -> tuple[str, AbstractSet[Warn]]:
    """Strip padding, refuse control characters, keep to `limit` characters.

    A part of an identifier is another identifier: where one is too long it is left empty, all
    other text is cut.
    """
    text = text.rstrip("\0").strip(" ").rstrip("\0 ")
    if _CONTROL.search(text):
        return "", {Warn.CONTROL_CHARACTERS}
    if len(text) > limit:
        return "" if identifier else text[:limit], {Warn.VALUE_TOO_LONG}
    return text, frozenset()
