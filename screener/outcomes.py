"""What may become of a path, why, and what a reader should know of it: the closed lists.

The nouns that carry these codes stand in `screener.domain`; `images.csv` shows them as they are.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of one path."""

    SCORED = "SCORED"
    INELIGIBLE = "INELIGIBLE"
    """A rule says that this is no frontal chest radiograph for this model."""
    FAILED = "FAILED"
    """It should have been screened and was not. Never a negative."""
    NOT_AN_IMAGE = "NOT_AN_IMAGE"


class ReasonCode(StrEnum):
    """Why a path was not scored. A closed list; `REASONS` gives the words and the outcome."""

    SOP_CLASS = "SOP_CLASS"
    OWN_OUTPUT = "OWN_OUTPUT"
    MULTI_FRAME = "MULTI_FRAME"
    FOR_PROCESSING = "FOR_PROCESSING"
    MODALITY = "MODALITY"
    VIEW = "VIEW"
    BODY_PART = "BODY_PART"
    AGE = "AGE"
    COLOUR = "COLOUR"
    TOO_SMALL = "TOO_SMALL"
    NOVEL = "NOVEL"
    PURGED = "PURGED"

    UNREADABLE = "UNREADABLE"
    UNSTABLE = "UNSTABLE"
    TRUNCATED = "TRUNCATED"
    FRAME_TRUNCATED = "FRAME_TRUNCATED"
    MALFORMED = "MALFORMED"
    NO_PIXEL_DATA = "NO_PIXEL_DATA"
    UNSUPPORTED_SYNTAX = "UNSUPPORTED_SYNTAX"
    DECODE_ERROR = "DECODE_ERROR"
    DECODER_CRASH = "DECODER_CRASH"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TOO_LARGE = "TOO_LARGE"
    BOMB = "BOMB"
    INVALID_PIXELS = "INVALID_PIXELS"

    OTHER_KIND = "OTHER_KIND"
    EMPTY = "EMPTY"
    DICOMDIR = "DICOMDIR"
    LINK = "LINK"
    NOT_REGULAR = "NOT_REGULAR"


REASONS: dict[ReasonCode, tuple[Outcome, str]] = {
    ReasonCode.SOP_CLASS: (Outcome.INELIGIBLE, "the SOP class is not a CR or DX image"),
    ReasonCode.OWN_OUTPUT: (Outcome.INELIGIBLE, "written by this program, never screened again"),
    ReasonCode.MULTI_FRAME: (Outcome.INELIGIBLE, "more than one frame"),
    ReasonCode.FOR_PROCESSING: (Outcome.INELIGIBLE, "raw pixels meant for processing, not reading"),
    ReasonCode.MODALITY: (Outcome.INELIGIBLE, "the modality is not radiography"),
    ReasonCode.VIEW: (Outcome.INELIGIBLE, "the header states a view that is not frontal"),
    ReasonCode.BODY_PART: (
        Outcome.INELIGIBLE,
        "the header states a body part other than the chest",
    ),
    ReasonCode.AGE: (Outcome.INELIGIBLE, "the patient is outside the model's age range"),
    ReasonCode.COLOUR: (Outcome.INELIGIBLE, "a colour image"),
    ReasonCode.TOO_SMALL: (Outcome.INELIGIBLE, "fewer rows or columns than a radiograph has"),
    ReasonCode.NOVEL: (Outcome.INELIGIBLE, "does not look like a frontal chest radiograph"),
    ReasonCode.PURGED: (Outcome.INELIGIBLE, "the patient was purged from this program"),
    ReasonCode.UNREADABLE: (Outcome.FAILED, "could not be opened or read"),
    ReasonCode.UNSTABLE: (Outcome.FAILED, "still being written; tried again next run"),
    ReasonCode.TRUNCATED: (Outcome.FAILED, "the file ends too early"),
    ReasonCode.FRAME_TRUNCATED: (Outcome.FAILED, "the compressed image ends too early"),
    ReasonCode.MALFORMED: (Outcome.FAILED, "the file breaks the rules of its format"),
    ReasonCode.NO_PIXEL_DATA: (Outcome.FAILED, "an image without pixel data"),
    ReasonCode.UNSUPPORTED_SYNTAX: (Outcome.FAILED, "no decoder for this transfer syntax"),
    ReasonCode.DECODE_ERROR: (Outcome.FAILED, "the decoder refused the pixel data"),
    ReasonCode.DECODER_CRASH: (Outcome.FAILED, "the decoder crashed on the pixel data"),
    ReasonCode.TIMEOUT: (Outcome.FAILED, "decoding took longer than the limit"),
    ReasonCode.OUT_OF_MEMORY: (Outcome.FAILED, "decoding needed more memory than the limit"),
    ReasonCode.TOO_LARGE: (Outcome.FAILED, "more pixels or bytes than the limit"),
    ReasonCode.BOMB: (Outcome.FAILED, "compressed data that unpacks beyond the limit"),
    ReasonCode.INVALID_PIXELS: (Outcome.FAILED, "pixels that cannot be a radiograph's"),
    ReasonCode.OTHER_KIND: (Outcome.NOT_AN_IMAGE, "neither DICOM, PNG, JPEG nor TIFF"),
    ReasonCode.EMPTY: (Outcome.NOT_AN_IMAGE, "an empty file"),
    ReasonCode.DICOMDIR: (Outcome.NOT_AN_IMAGE, "a DICOM directory file"),
    ReasonCode.LINK: (Outcome.NOT_AN_IMAGE, "a symbolic link, not followed"),
    ReasonCode.NOT_REGULAR: (Outcome.NOT_AN_IMAGE, "not a regular file, not opened"),
}


class Warn(StrEnum):
    """What a reader of the report should know about an image or study that was kept."""

    AGE_UNKNOWN = "AGE_UNKNOWN"
    BODY_PART_UNKNOWN = "BODY_PART_UNKNOWN"
    BURNED_IN_ANNOTATION = "BURNED_IN_ANNOTATION"
    CHARSET = "CHARSET"
    CONTROL_CHARACTERS = "CONTROL_CHARACTERS"
    HEADER = "HEADER"
    IDENTITY_CONFLICT = "IDENTITY_CONFLICT"
    LOSSY = "LOSSY"
    NO_STUDY_UID = "NO_STUDY_UID"
    PREAMBLE = "PREAMBLE"
    UID_CONFLICT = "UID_CONFLICT"
    VALUE_TOO_LONG = "VALUE_TOO_LONG"
    VIEW_UNKNOWN = "VIEW_UNKNOWN"
    VOI_FALLBACK = "VOI_FALLBACK"


WARNINGS: dict[Warn, str] = {
    Warn.AGE_UNKNOWN: "no age or birth date: taken as within the model's range",
    Warn.BODY_PART_UNKNOWN: "a body part in unknown words; novelty guards the score",
    Warn.BURNED_IN_ANNOTATION: "the header says that text is burned into the pixels",
    Warn.CHARSET: "text that does not fit its declared character set",
    Warn.CONTROL_CHARACTERS: "a text field with control characters was left empty",
    Warn.HEADER: "values in the header that break the standard",
    Warn.IDENTITY_CONFLICT: "one study UID with different patients: held back from publishing",
    Warn.LOSSY: "the pixels were compressed with loss at some time",
    Warn.NO_STUDY_UID: "no StudyInstanceUID: the file is a study of its own",
    Warn.PREAMBLE: "the preamble is another file format's header",
    Warn.UID_CONFLICT: "one SOPInstanceUID with different images",
    Warn.VALUE_TOO_LONG: "a text field that is too long was cut; an identifier left empty",
    Warn.VIEW_UNKNOWN: "the header states no view; novelty guards the score",
    Warn.VOI_FALLBACK: "the VOI transformation was unusable; the pixel range was taken",
}
