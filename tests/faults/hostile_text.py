"""Hostile words in headers, foreign preambles, and what the rules turn away: more of `CASES`."""

from __future__ import annotations

import warnings

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from screener.domain import OWN_MANUFACTURER
from screener.outcomes import ReasonCode, Warn
from tests.dicom_films import patched
from tests.faults.hostile import add, film_file
from tests.faults.hostile_files import CASES
from tests.faults.seeds import SYNTAXES, file_of
from tests.films import dataset, draw

FORMULA = "=cmd|' /C calc'!A0"
SCRIPT = "<script>alert(1)</script>"
WORDS = {
    "formula-equals": FORMULA,
    "formula-plus": "+1+1",
    "formula-minus": "-1+1",
    "formula-at": "@SUM(A1)",
    "script": SCRIPT,
    "quotes": 'a"b,c;d',
    "html-entity": "&amp;<b>",
    "terminal": "\x1b]0;owned\x07",
    "line-break": "a\r\nforged,line",
    "null": "a\x00b",
    "tab": "\ta",
    "direction": "a\u202eb",
    "separator": "a\u2028b",
    "endless": "x" * 65_000,
}
"""Text that a spreadsheet, a browser, a terminal or a log would obey."""
_UNREADABLE_TEXT = frozenset(
    {"terminal", "line-break", "null", "tab", "direction", "separator", "endless"}
)
TEXT_KEYWORDS = (
    "PatientName", "PatientID", "IssuerOfPatientID", "AccessionNumber", "InstitutionName",
    "StationName",
)  # fmt: skip
_NUMBERS = {name: 200 + index for index, name in enumerate(WORDS)}


def _with_words(name: str) -> bytes:
    """The words in every free text of a film; what a VR is too short for stands in a long one."""
    ds = dataset(draw(_NUMBERS[name], size=160), _NUMBERS[name], SpecificCharacterSet="ISO_IR 192")
    words = WORDS[name].encode()
    with warnings.catch_warnings():
        # pydicom knows that no writer should do this.
        warnings.simplefilter("ignore")
        for keyword in TEXT_KEYWORDS:
            ds[keyword] = DataElement(keyword, "UT" if len(words) > 60_000 else "LO", words)
        return file_of(ds, SYNTAXES["explicit"])


for _name in WORDS:
    _odd = Warn.VALUE_TOO_LONG if _name == "endless" else Warn.CONTROL_CHARACTERS
    add(f"words-{_name}", _with_words(_name), None, *([_odd] if _name in _UNREADABLE_TEXT else []))

# -- character sets -------------------------------------------------------------------------------


def _named(number: int, charset: bytes, name: bytes) -> bytes:
    content = memoryview(film_file(number, SpecificCharacterSet="ISO_IR 100"))
    content = patched(content, 0x00080005, "CS", charset)
    return bytes(patched(content, 0x00100010, "PN", name))


add("charset-unknown", _named(230, b"NO_SUCH_SET ", b"a\xfcb "), None, Warn.CHARSET)
add("charset-that-lies", _named(231, b"ISO_IR 192", b"a\xfc\xffb"), None, Warn.CHARSET)
add("charset-broken-escape", _named(232, b"\\ISO 2022 IR 87", b"a\x1b$Bz"), None, Warn.CHARSET)

# -- preambles and media --------------------------------------------------------------------------

for _index, _magic in enumerate((b"MZ\x90\0", b"\x7fELF", b"%PDF-1.7", b"PK\x03\x04")):
    _whole = film_file(240 + _index)
    add(f"polyglot-{_index}", _magic + _whole[len(_magic) :], None, Warn.PREAMBLE)


def _dicomdir() -> bytes:
    """A directory whose only record names a file above it (CVE-2026-32711)."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.1.3.10", "2.25.9"
    record = Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["AA", "AA", "ETC"]
    ds.DirectoryRecordSequence = Items([record])
    return file_of(ds, SYNTAXES["explicit"]).replace(rb"AA\AA\ETC", rb"..\..\ETC")


add("dicomdir-traversal", _dicomdir(), ReasonCode.DICOMDIR)

# -- the rules ------------------------------------------------------------------------------------

add("ct", film_file(250, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT"),
    ReasonCode.SOP_CLASS)  # fmt: skip
add(
    "own-output",
    film_file(251, ImageType=["DERIVED", "SECONDARY"], Manufacturer=OWN_MANUFACTURER),
    ReasonCode.OWN_OUTPUT,
)
add("for-processing", film_file(252, SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1.1"),
    ReasonCode.FOR_PROCESSING)  # fmt: skip
add("modality", film_file(253, Modality="MG"), ReasonCode.MODALITY)
add("lateral", film_file(254, ViewPosition="LL"), ReasonCode.VIEW)
add("knee", film_file(255, BodyPartExamined="KNEE"), ReasonCode.BODY_PART)
add("child", film_file(256, PatientBirthDate="20240101"), ReasonCode.AGE)
add(
    "small",
    file_of(dataset(draw(257, size=60), 257), SYNTAXES["explicit"]),
    ReasonCode.TOO_SMALL,
)


def _coloured() -> bytes:
    grey = (draw(258, size=160) >> 4).astype(np.uint8)
    ds = dataset(draw(258, size=160), 258)
    ds.PhotometricInterpretation, ds.SamplesPerPixel, ds.PlanarConfiguration = "RGB", 3, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = np.stack([grey, 255 - grey, grey], axis=-1).tobytes()
    return file_of(ds, SYNTAXES["explicit"])


def _noise() -> bytes:
    noise = np.random.default_rng(259).integers(0, 4096, (160, 160)).astype(np.uint16)
    return file_of(dataset(noise, 259), SYNTAXES["explicit"])


add("coloured", _coloured(), ReasonCode.COLOUR)
add("noise", _noise(), ReasonCode.NOVEL)

__all__ = ["CASES", "FORMULA", "SCRIPT", "TEXT_KEYWORDS", "WORDS"]
