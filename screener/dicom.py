"""The content of a DICOM file -> Instance: what the header says, without pixels.

A header that breaks off is no reason to forget what stands before the break: `DicomFile.fault`
carries it, the rules of `screener.eligibility` come first, and `screener.dicom_pixels` raises it.
With `dicom_header`, `dicom_elements`, `dicom_text` and `dicom_pixels` the only room that imports
pydicom on the way of a scan.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from screener.body_part import BodyPart
from screener.dicom_header import PixelElement, read_header
from screener.dicom_tags import OVERLAY_BIT_POSITIONS, Tag
from screener.domain import OWN_MANUFACTURER, FileKind, Instance, Limits, Rejection, View
from screener.eligibility import FILM_SOP_CLASSES, body_part_of
from screener.errors import FileRejected
from screener.outcomes import ReasonCode, Warn
from screener.views import ViewEvidence, judge_view

if TYPE_CHECKING:
    from screener.dicom_elements import Elements
    from screener.dicom_header import Header

_WANTED = frozenset((*Tag, *OVERLAY_BIT_POSITIONS))
_DICOMDIR = "1.2.840.10008.1.3.10"
# JPEG Baseline and Extended, JPEG-LS near-lossless; JPEG 2000 and HTJ2K that need not be lossless.
_ALWAYS_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81))
_PERHAPS_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (91, 203))
_AGE = re.compile(r"(\d{1,3})([DWMY])")
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_OLDEST = 125
# From what belongs to the image to what belongs to the procedure.
_DESCRIPTIONS = (
    (Tag.ACQUISITION_DEVICE_PROCESSING_DESCRIPTION, "AcquisitionDeviceProcessingDescription"),
    (Tag.SERIES_DESCRIPTION, "SeriesDescription"),
    (Tag.PERFORMED_PROCEDURE_STEP_DESCRIPTION, "PerformedProcedureStepDescription"),
)


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A DICOM file whose header has been read.

    Attributes:
        instance: What the header says.
        elements: The elements that were read, for the pixel data.
        content: What `pixels.offset` counts in.
        pixels: Where the pixel data is; None where there is none.
        fault: What ended the reading of the header before its time.
    """

    instance: Instance
    elements: Elements
    content: memoryview
    pixels: PixelElement | None
    fault: Rejection | None


def read_instance(content: memoryview, limits: Limits) -> DicomFile:
    """Read the header of a DICOM file, with or without preamble.

    Args:
        content: The whole file.
        limits: Bounds of lengths and of what a deflated data set may unpack to.

    Raises:
        FileRejected: MALFORMED, TRUNCATED or BOMB where not even the SOP class can be told, and
            DICOMDIR.
    """
    header = read_header(content, limits, _WANTED)
    elements, meta = header.elements, header.meta
    sop_class_uid = _either(header, Tag.SOP_CLASS_UID, Tag.MEDIA_STORAGE_SOP_CLASS_UID)
    if _DICOMDIR in (sop_class_uid, meta.uid(Tag.MEDIA_STORAGE_SOP_CLASS_UID)):
        raise FileRejected(ReasonCode.DICOMDIR)
    if not sop_class_uid:
        # A file that ends before the place of the SOP class looks whole, and is cut.
        cut = header.last_tag < Tag.SOP_CLASS_UID
        code = ReasonCode.TRUNCATED if cut else ReasonCode.MALFORMED
        fault = header.fault or Rejection(code, "no SOP class")
        raise FileRejected(fault.code, fault.detail)
    instance = _fill(header, sop_class_uid)
    return DicomFile(instance, elements, header.content, header.pixels, header.fault)


def _fill(header: Header, sop_class_uid: str) -> Instance:
    elements = header.elements
    view, view_source = judge_view(_view_evidence(elements))
    regions = elements.items(Tag.ANATOMIC_REGION_SEQUENCE)
    values = Instance(
        kind=FileKind.DICOM,
        rows=_count(elements, Tag.ROWS),
        columns=_count(elements, Tag.COLUMNS),
        sop_class_uid=sop_class_uid,
        sop_instance_uid=_either(header, Tag.SOP_INSTANCE_UID, Tag.MEDIA_STORAGE_SOP_INSTANCE_UID),
        series_instance_uid=elements.uid(Tag.SERIES_INSTANCE_UID),
        study_instance_uid=elements.uid(Tag.STUDY_INSTANCE_UID),
        transfer_syntax_uid=header.transfer_syntax_uid,
        modality=elements.text(Tag.MODALITY),
        view_position=elements.text(Tag.VIEW_POSITION),
        view=view,
        body_part_examined=elements.text(Tag.BODY_PART_EXAMINED),
        photometric_interpretation=elements.text(Tag.PHOTOMETRIC_INTERPRETATION),
        number_of_frames=_frames(elements),
        patient_id=elements.text(Tag.PATIENT_ID, identifier=True),
        issuer_of_patient_id=elements.text(Tag.ISSUER_OF_PATIENT_ID, identifier=True),
        patient_name=elements.person_name(Tag.PATIENT_NAME),
        patient_birth_date=elements.text(Tag.PATIENT_BIRTH_DATE),
        patient_sex=elements.text(Tag.PATIENT_SEX),
        age_years=_age_years(elements),
        accession_number=elements.text(Tag.ACCESSION_NUMBER, identifier=True),
        study_date=elements.text(Tag.STUDY_DATE),
        study_time=elements.text(Tag.STUDY_TIME),
        institution_name=elements.text(Tag.INSTITUTION_NAME),
        station_name=elements.text(Tag.STATION_NAME),
        view_source=view_source,
        anatomic_region=regions[0].text(Tag.CODE_MEANING) if regions else "",
        presentation_intent=elements.code(Tag.PRESENTATION_INTENT_TYPE),
        presentation_lut_shape=elements.code(Tag.PRESENTATION_LUT_SHAPE),
        own_output=_own_output(elements),
        burned_in_annotation=elements.code(Tag.BURNED_IN_ANNOTATION) == "YES",
        lossy=_lossy(elements, header.transfer_syntax_uid),
    )
    return replace(values, warnings=frozenset(header.warnings | _warnings_of(values)))


def _view_evidence(elements: Elements) -> ViewEvidence:
    codes = tuple(
        (item.text(Tag.CODE_VALUE), item.text(Tag.CODE_MEANING))
        for item in elements.items(Tag.VIEW_CODE_SEQUENCE)
    )
    descriptions = tuple((keyword, elements.text(tag)) for tag, keyword in _DESCRIPTIONS)
    return ViewEvidence(
        position=elements.text(Tag.VIEW_POSITION),
        codes=codes,
        orientation=elements.codes(Tag.PATIENT_ORIENTATION),
        descriptions=descriptions,
    )


def _either(header: Header, tag: Tag, meta_tag: Tag) -> str:
    """A UID of the data set, else what the File Meta Information says in its place."""
    uid, stored = header.elements.uid(tag), header.meta.uid(meta_tag)
    if uid and stored and uid != stored:
        header.warnings.add(Warn.HEADER)
    return uid or stored


def _count(elements: Elements, tag: Tag) -> int:
    return max(elements.integer(tag, "US") or 0, 0)


def _frames(elements: Elements) -> int:
    frames = elements.integer(Tag.NUMBER_OF_FRAMES, "IS")
    if frames is None:
        return 1
    if frames < 1:
        elements.warnings.add(Warn.HEADER)
    # What SQLite cannot hold must not lose the row.
    return min(max(frames, 1), 2**63 - 1)


def _lossy(elements: Elements, transfer_syntax_uid: str) -> bool:
    stated = elements.code(Tag.LOSSY_IMAGE_COMPRESSION)
    may_be = transfer_syntax_uid in _PERHAPS_LOSSY and stated != "00"
    return stated == "01" or transfer_syntax_uid in _ALWAYS_LOSSY or may_be


def _own_output(elements: Elements) -> bool:
    r"""DERIVED\SECONDARY by this program: the maker, or the last of the contributing equipment."""
    if elements.codes(Tag.IMAGE_TYPE)[:2] != ("DERIVED", "SECONDARY"):
        return False
    makers = [elements.text(Tag.MANUFACTURER), elements.text(Tag.CAPTURE_DEVICE_MANUFACTURER)]
    makers += [
        item.text(Tag.MANUFACTURER) for item in elements.items(Tag.CONTRIBUTING_EQUIPMENT_SEQUENCE)
    ]
    return OWN_MANUFACTURER.casefold() in (maker.casefold() for maker in makers)


def _age_years(elements: Elements) -> float | None:
    """PatientAge (PS3.5 AS), else the time from the birth date to the study."""
    text = elements.text(Tag.PATIENT_AGE)
    stated = _AGE.fullmatch(text.upper())
    if text and not stated:
        elements.warnings.add(Warn.HEADER)
    age = _plausible(int(stated[1]) * _YEARS[stated[2]], elements) if stated else None
    if age:
        return age
    born = _read_date(elements.text(Tag.PATIENT_BIRTH_DATE))
    dates = (Tag.STUDY_DATE, Tag.ACQUISITION_DATE, Tag.SERIES_DATE, Tag.CONTENT_DATE)
    taken = next(filter(None, (_read_date(elements.text(tag)) for tag in dates)), None)
    if not born or not taken:
        return age
    dated = _plausible((taken - born).days / 365.25, elements)
    if age is not None and dated is not None and dated >= 1:
        # 000Y stands for "not filled in": an age below a year is told in days, weeks or months.
        elements.warnings.add(Warn.HEADER)
    return age if dated is None else dated


def _plausible(age: float, elements: Elements) -> float | None:
    if 0 <= age <= _OLDEST:
        return age
    # 999Y and 1900-01-01 stand for "unknown".
    elements.warnings.add(Warn.HEADER)
    return None


def _read_date(text: str) -> date | None:
    match = _DATE.fullmatch(text)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None


def _warnings_of(instance: Instance) -> set[Warn]:
    """What the report should say of the image; nothing of what is no radiograph anyway."""
    film = instance.sop_class_uid in FILM_SOP_CLASSES
    dates = (instance.study_date, instance.patient_birth_date)
    notes = {
        # Verbatim in the report, where an importer may stop at it.
        Warn.HEADER: film and any(text and not _read_date(text) for text in dates),
        Warn.NO_STUDY_UID: not instance.study_instance_uid,
        Warn.VIEW_UNKNOWN: film and instance.view is View.UNKNOWN,
        Warn.BODY_PART_UNKNOWN: film and body_part_of(instance) is BodyPart.NOT_KNOWN,
        Warn.AGE_UNKNOWN: film and instance.age_years is None,
        Warn.BURNED_IN_ANNOTATION: instance.burned_in_annotation,
        Warn.LOSSY: film and instance.lossy,
    }
    return {warning for warning, applies in notes.items() if applies}
