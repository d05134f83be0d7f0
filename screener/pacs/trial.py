"""Objects of nobody, clearly marked, to try the doors with."""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydicom import Dataset

from screener import __version__
from screener.pacs.film import header_of_row
from screener.pacs.identity import uid_of
from screener.pacs.key_image import draw, key_image, with_meta
from screener.pacs.presentation_state import presentation_state
from screener.pacs.site import KeyImageKind, SrClass
from screener.pacs.structured_report import structured_report

PATIENT_ID = "SCREENER-TEST"
PATIENT_NAME = "SCREENER^TEST OBJECT"
WORDS = ("TEST OBJECT OF SCREENER", "NOT A PATIENT, NOT FOR DIAGNOSIS: MAY BE DELETED")
_FILM_CLASS = "1.2.840.10008.5.1.4.1.1.1"


def trial_row(priority: str) -> dict[str, Any]:
    """A row of the report about nobody, in a study that was never there before."""
    now = datetime.now(UTC)
    study = f"2.25.{uuid.uuid4().int}"
    return {
        "study_key": study,
        "patient_key": PATIENT_ID,
        "study_instance_uid": study,
        "study_date": f"{now:%Y%m%d}",
        "study_time": f"{now:%H%M%S}",
        "accession_number": PATIENT_ID,
        "patient_name": PATIENT_NAME,
        "patient_id": PATIENT_ID,
        "issuer_of_patient_id": "",
        "patient_birth_date": "",
        "patient_sex": "O",
        "modality": "OT",
        "triage": "NOT_SCREENED",
        "reason_code": "NOTHING_SCORED",
        "reason": "a test object, not a patient",
        "priority": priority,
        "finding": "nothing, a test",
        "score": 0.0,
        "threshold": 1.0,
        "operating_point": "none, a test",
        "target_sensitivity": None,
        "model": "verify-pacs, no model",
        "model_sha256": "0" * 64,
        "software_version": __version__,
        "screened_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "warnings": "",
    }


def trial_report(row: Mapping[str, Any], sr_class: SrClass) -> Dataset:
    """A report about nobody, of the class that the site sends."""
    study = row["study_instance_uid"]
    made = structured_report(
        row,
        [_image(study)],
        header_of_row(row),
        uid=uid_of("trial", study, "sr"),
        predecessor="",
        predecessor_class="",
        sr_class=sr_class,
    )
    return with_meta(made)


def trial_key_image(row: Mapping[str, Any], kind: KeyImageKind) -> Dataset:
    """A key image, or marks over a film that is not there, of the kind that the site sends."""
    study, cam = row["study_instance_uid"], np.zeros((7, 7), np.float32)
    uid = uid_of("trial", study, kind)
    header = header_of_row(row)
    if kind == "presentation-state":
        return with_meta(presentation_state(row, _film(header), header, cam, uid=uid))
    pixels = draw(np.zeros((256, 512), np.uint8), cam, WORDS)
    return key_image(row, _image(study), header, pixels, uid=uid)


def _image(study: str) -> dict[str, str]:
    return {
        "sop_class_uid": _FILM_CLASS,
        "sop_instance_uid": uid_of("trial", study, "film"),
        "series_instance_uid": uid_of("trial", study, "series"),
    }


def _film(header: Dataset) -> bytes:
    """A film of nobody that marks can be put over; it is sent to no one."""
    film = Dataset()
    film.update(header)
    image = _image(str(header.StudyInstanceUID))
    film.SOPClassUID, film.SOPInstanceUID = image["sop_class_uid"], image["sop_instance_uid"]
    film.SeriesInstanceUID, film.Modality = image["series_instance_uid"], "CR"
    film.SeriesNumber = film.InstanceNumber = 1
    film.Rows = film.Columns = 256
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.PixelData = bytes(2 * 256 * 256)
    film["PixelData"].VR = "OW"
    stream = io.BytesIO()
    with_meta(film).save_as(stream, enforce_file_format=True)
    return stream.getvalue()
