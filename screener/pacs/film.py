"""The film that an object is about: its header as the source of patient and study, and its picture.

Read only where its content is still the one that was scored: a worker has decoded that very content
before, within its limits, so it is safe to read it here.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

from screener.dicom import read_instance
from screener.dicom_pixels import read_stored
from screener.domain import Limits
from screener.errors import FileRejected
from screener.preprocess import PERCENTILES, Lut, Window, apply_lut, apply_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from screener.preprocess import Display

LONGEST_SIDE = 1024
_JUDGED = 500_000
UTF_8 = "ISO_IR 192"
# Patient, General Study and Patient Study modules (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2): what says who
# it is and which study, and nothing that a stranger could have hidden text or code in.
_COPIED = (
    "SpecificCharacterSet",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyInstanceUID",
    "StudyID",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "TypeOfPatientID",
    "OtherPatientIDs",
    "TimezoneOffsetFromUTC",
)
# Type 2: they must be there, and may be empty.
_REQUIRED = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
)


class FilmGoneError(Exception):
    """The file is not there, or no longer holds what was scored."""


@dataclass(frozen=True, slots=True)
class Film:
    """A film's content, whose hash was compared."""

    content: bytes

    def header(self) -> Dataset:
        """The patient and study of the film, its text under its own character sets."""
        with warnings.catch_warnings():
            # pydicom warns of values that break the standard, in words that hold them.
            warnings.simplefilter("ignore")
            source = dcmread(
                io.BytesIO(self.content),
                force=True,
                stop_before_pixels=True,
                specific_tags=[*_COPIED, "SOPClassUID", "SOPInstanceUID", "PatientOrientation"],
            )
            return _copied(source)

    def picture(self) -> NDArray[np.uint8]:
        """The film as it is read, air dark, its longest side at most 1024: uint8 (rows, columns).

        Raises:
            FilmGoneError: it cannot be decoded, though it could be when it was scored.
        """
        limits = Limits()
        try:
            file = read_instance(memoryview(self.content), limits)
            pixels = read_stored(file, limits, full_size=True)
        except (FileRejected, OSError, ValueError, MemoryError):
            raise FilmGoneError from None
        shown = _presented(pixels.stored.values, pixels.display, pixels.valid)
        top, left, bottom, right = pixels.stored.extent or (0.0, 0.0, *map(float, shown.shape))
        scale = min(LONGEST_SIDE / max(file.instance.rows, file.instance.columns), 1.0)
        size = (
            max(round(file.instance.columns * scale), 1),
            max(round(file.instance.rows * scale), 1),
        )
        image = Image.fromarray(shown).resize(
            size, Image.Resampling.BOX, box=(left, top, right, bottom)
        )
        return np.asarray(image)


def read_film(path: bytes, sha256: str) -> Film:
    """Read a film if it still is the one that was scored.

    Raises:
        FilmGoneError: it is not.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError:
        raise FilmGoneError from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FilmGoneError
    return Film(content)


def header_of_row(row: Mapping[str, Any]) -> Dataset:
    """Patient and study from a row of the report, where the film itself is gone; UTF-8."""
    header = Dataset()
    header.SpecificCharacterSet = UTF_8
    names = {
        "StudyDate": "study_date",
        "StudyTime": "study_time",
        "AccessionNumber": "accession_number",
        "PatientName": "patient_name",
        "PatientID": "patient_id",
        "IssuerOfPatientID": "issuer_of_patient_id",
        "PatientBirthDate": "patient_birth_date",
        "PatientSex": "patient_sex",
        "StudyInstanceUID": "study_instance_uid",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, column in names.items():
            setattr(header, keyword, row[column] or "")
        return _copied(header)


def _copied(source: Dataset) -> Dataset:
    header = Dataset()
    for keyword in _COPIED:
        if keyword in source:
            try:
                value = source[keyword].value
                # A name as text: it forgets the bytes and sets that it was read from.
                setattr(header, keyword, str(value) if isinstance(value, PersonName) else value)
            except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
                # A value that is none: PatientWeight "unknown". The report goes without it.
                continue
    for keyword in _REQUIRED:
        if keyword not in header:
            setattr(header, keyword, "")
    if header.get("IssuerOfPatientID") == "":
        del header.IssuerOfPatientID
    return _with_sound_character_set(header)


def _with_sound_character_set(header: Dataset) -> Dataset:
    """Keep the declared character sets where the text survives them, else take UTF-8.

    A header that declares a wrong set reads as something; written under that set it would read as
    something else. What counts is that others read what we read.
    """
    declared = header.get("SpecificCharacterSet")
    if declared and _text_of(_written(header)) == _text_of(header):
        return header
    if not declared and all(text.isascii() for text in _text_of(header)):
        return header
    header.SpecificCharacterSet = UTF_8
    return header


def _written(header: Dataset) -> Dataset:
    content = Dataset()
    content.update(header)
    content.file_meta = FileMetaDataset()
    content.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    try:
        dcmwrite(stream, content, enforce_file_format=False)
    except (ValueError, LookupError, UnicodeError):
        return Dataset()
    stream.seek(0)
    return dcmread(stream, force=True)


def _text_of(header: Dataset) -> list[str]:
    return [
        f"{keyword_for_tag(element.tag)}={element.value}"
        for element in header
        if element.VR in {"PN", "LO", "SH", "LT", "ST"}
    ]


def _presented(
    stored: NDArray[np.generic], display: Display, valid: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Stored values -> 8 bits, air dark: the order of `screener.preprocess`, at the film's size."""
    values: NDArray[Any] = stored
    if display.modality_lut is not None:
        values = apply_lut(values, display.modality_lut)
    else:
        values = values.astype(np.float32) * display.slope + display.intercept
    if isinstance(display.voi, Lut):
        values = apply_lut(np.rint(values).astype(np.int64), display.voi)
    elif isinstance(display.voi, Window):
        values = apply_window(values.astype(np.float32), display.voi)
    values = values.astype(np.float32)
    if display.invert:
        values = -values
    # Of a part of the values: their order takes longer than all the rest, and a picture of a
    # thousand lines shows no difference.
    step = max(int((values.size / _JUDGED) ** 0.5), 1)
    inside = values[::step, ::step]
    if valid is not None and valid.any():
        thinned = valid[::step, ::step]
        inside = inside[thinned] if thinned.any() else values[valid]
    low, high = (float(each) for each in np.percentile(inside, PERCENTILES))
    shown = values - np.float32(low)
    shown *= np.float32(255.0 / ((high - low) or 1.0))
    np.rint(shown, out=shown)
    np.clip(shown, 0, 255, out=shown)
    if valid is not None:
        shown[~valid] = 0
    return shown.astype(np.uint8)


def plain(header: Dataset) -> Dataset:
    """The header with nothing that highdicom judges or re-encodes: not all it refuses is wrong.

    It does not know an empty first value in SpecificCharacterSet, which PS3.3 C.12.1.1.2 allows
    and every Japanese film has; and films do say "unknown" for a date.
    """
    made = Dataset()
    for keyword in _REQUIRED:
        setattr(made, keyword, "")
    made.SpecificCharacterSet = UTF_8
    made.StudyInstanceUID = header.StudyInstanceUID
    return made


def take_over(made: Dataset, header: Dataset) -> None:
    """Give an object patient and study as the film states them, in the film's character sets."""
    made.pop("SpecificCharacterSet", None)
    for element in header:
        made[element.tag] = deepcopy(element)


def reference(images: Sequence[Mapping[str, Any]], study_instance_uid: str) -> list[Dataset]:
    """Data sets that stand for images where an object refers to them: UIDs alone."""
    made = []
    for image in images:
        each = Dataset()
        each.SOPClassUID = UID(image["sop_class_uid"])
        each.SOPInstanceUID = UID(image["sop_instance_uid"])
        each.SeriesInstanceUID = UID(image["series_instance_uid"])
        each.StudyInstanceUID = UID(study_instance_uid)
        made.append(each)
    return made
