"""The columns of `triage.csv` and `images.csv`, in their order, each in words.

Columns are only ever appended; renaming or dropping one needs a new `SCHEMA_VERSION`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from screener.domain import Triage
from screener.triage import StudyReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA_VERSION = 1

TRIAGE: Mapping[str, str] = {
    "schema_version": "version of these columns",
    "run_id": "the run that wrote this row",
    "rank": "place in this file, most urgent first; not a priority",
    "triage": "FLAGGED, NOT_SCREENED, NOT_FLAGGED or NOT_APPLICABLE",
    "priority": "what the study may be raised to; empty: leave what is there",
    "reason_code": "the rule that decided",
    "reason": "the rule in words",
    "accession_number": "(0008,0050)",
    "study_instance_uid": "(0020,000D)",
    "patient_id": "(0010,0020)",
    "issuer_of_patient_id": "(0010,0021)",
    "patient_name": "(0010,0010)",
    "patient_birth_date": "(0010,0030)",
    "patient_sex": "(0010,0040)",
    "study_date": "(0008,0020)",
    "study_time": "(0008,0030)",
    "modality": "(0008,0060)",
    "view_position": "the view as the header states it",
    "images": "images of the study that are known",
    "images_scored": "how many of them were scored",
    "images_gone": "paths of the study whose files are no longer there",
    "sop_instance_uid": "(0008,0018) of the image that decided",
    "finding": "the finding with the largest margin over its threshold",
    "score": "calibrated probability of the image that decided, 0 to 1",
    "logit": "the same before calibration",
    "threshold": "a score at or above it is flagged",
    "operating_point": "name of the threshold in the model card, or `custom`",
    "target_sensitivity": "the sensitivity that the threshold was chosen for",
    "calibration_prevalence": "share of positives that the score was calibrated to",
    "novelty": "1.0 is the limit beyond which the model does not judge",
    "warnings": "warning codes, joined by ;",
    "model": "name of the model bundle",
    "model_sha256": "SHA-256 of the bundle",
    "provider": "what really computed the score",
    "software_version": "version of the program that scored",
    "institution_name": "(0008,0080)",
    "station_name": "(0008,1010)",
    "source": "the PATH of the command under which the image was found",
    "study_key": "the StudyInstanceUID, else file: or path: and a SHA-256",
    "path": "path of the image that decided",
    "is_new": "false where the last published report said the same",
    "change": "NEW, CHANGED or SAME",
    "previous_triage": "what the last published report said",
    "screened_at": "when, ISO 8601 UTC",
}

IMAGE: Mapping[str, str] = {
    "schema_version": "version of these columns",
    "run_id": "the run that wrote this row",
    "path": "the path; bytes that are no text as \\xNN",
    "sha256": "of the file's content",
    "outcome": "SCORED, INELIGIBLE, FAILED or NOT_AN_IMAGE",
    "reason_code": "why it was not scored",
    "reason": "the same in words",
    "warnings": "warning codes, joined by ;",
    "study_key": "the study in triage.csv",
    "study_instance_uid": "(0020,000D)",
    "series_instance_uid": "(0020,000E)",
    "sop_instance_uid": "(0008,0018)",
    "sop_class_uid": "(0008,0016)",
    "transfer_syntax_uid": "(0002,0010)",
    "modality": "(0008,0060)",
    "view_position": "the view as the header states it",
    "body_part_examined": "(0018,0015)",
    "photometric_interpretation": "(0028,0004)",
    "rows": "(0028,0010)",
    "columns": "(0028,0011)",
    "voi_source": "which VOI transformation was applied",
    "levels_dropped": "halvings of the size at decoding",
    "score": "calibrated probability, 0 to 1",
    "logit": "the same before calibration",
    "novelty": "1.0 is the limit beyond which the model does not judge",
    "cam_peak_row": "row of the strongest cell of the class activation map",
    "cam_peak_column": "its column",
    "decoder": "what decoded the pixels",
    "decode_ms": "how long that took",
    "duplicate_of": "path of the image with the same content that was scored",
    "screened_at": "when, ISO 8601 UTC",
}

TRIAGE_COLUMNS: tuple[str, ...] = tuple(TRIAGE)
IMAGE_COLUMNS: tuple[str, ...] = tuple(IMAGE)

DATE_COLUMNS = frozenset({"patient_birth_date", "study_date"})
"""DICOM DA (PS3.5 6.2), verbatim."""
TIME_COLUMNS = frozenset({"study_time"})
"""DICOM TM (PS3.5 6.2), verbatim."""
TIMESTAMP_COLUMNS = frozenset({"screened_at"})
"""Our own times, ISO 8601 UTC with Z."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "triage": tuple(each.value for each in Triage),
    "previous_triage": ("", *(each.value for each in Triage)),
    "reason_code": tuple(each.value for each in StudyReason),
    "is_new": ("true", "false"),
    "change": ("NEW", "CHANGED", "SAME"),
}
"""Columns of `triage.csv` with a closed list of values."""


def image_columns(findings: Sequence[str]) -> tuple[str, ...]:
    """The columns of `images.csv`: with several findings the score of each is appended."""
    if len(findings) < 2:
        return IMAGE_COLUMNS
    return IMAGE_COLUMNS + tuple(f"score_{finding}" for finding in findings)
