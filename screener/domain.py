"""The nouns of the program: what travels from a path to a line of the report.

Every path that the walk finds becomes exactly one `Score` or one `Rejection`; the policy turns the
images of a study into one `StudyTriage`. All types are immutable and hold no behaviour beyond what
follows from their own fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from screener.outcomes import REASONS, Outcome, ReasonCode, Warn

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.float32]


OWN_MANUFACTURER = "screener"
"""Manufacturer (0008,0070) of all that this program writes, so that no scan takes it for a film."""


class Triage(StrEnum):
    """The verdict on one study, in the order of the report."""

    FLAGGED = "FLAGGED"
    NOT_SCREENED = "NOT_SCREENED"
    NOT_FLAGGED = "NOT_FLAGGED"
    NOT_APPLICABLE = "NOT_APPLICABLE"


class View(StrEnum):
    """The projection as far as the header states it."""

    PA = "PA"
    AP = "AP"
    OTHER = "OTHER"
    """A stated view that is not frontal: lateral, oblique, decubitus."""
    UNKNOWN = "UNKNOWN"


class FileKind(StrEnum):
    """What a file is by its content, never by its name."""

    DICOM = "DICOM"
    PNG = "PNG"
    JPEG = "JPEG"
    TIFF = "TIFF"


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """The Image Pixel module (PS3.3 C.7.6.3): how stored values lie in the pixel data."""

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar_configuration: int
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Instance:
    """What the header says. No pixels. Text is verbatim; empty where the header has none.

    Dates and times keep DICOM's own form (PS3.5 DA, TM). For PNG, JPEG and TIFF only `kind`,
    `rows` and `columns` are known.

    `view_source`: keyword of the attribute that decided `view`. `anatomic_region`: the meaning of
    the code in AnatomicRegionSequence. `own_output`: written by this program. `lossy`: compressed
    with loss at some time (PS3.3 C.7.6.1.1.5).
    """

    kind: FileKind
    rows: int = 0
    columns: int = 0
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    modality: str = ""
    view_position: str = ""
    view: View = View.UNKNOWN
    body_part_examined: str = ""
    photometric_interpretation: str = ""
    number_of_frames: int = 1
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    age_years: float | None = None
    accession_number: str = ""
    study_date: str = ""
    study_time: str = ""
    institution_name: str = ""
    station_name: str = ""
    view_source: str = ""
    anatomic_region: str = ""
    presentation_intent: str = ""
    presentation_lut_shape: str = ""
    own_output: bool = False
    burned_in_annotation: bool = False
    lossy: bool = False
    warnings: frozenset[Warn] = frozenset()


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What `fstat` said of a file when it was read; equal stamps mean an unchanged file."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileStamp:
        """The stamp in signed 64 bits, which is what SQLite holds; a clock may say year 2300."""
        numbers = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        if max(numbers) < 2**63:
            return cls(*numbers)
        return cls(*((number + 2**63) % 2**64 - 2**63 for number in numbers))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost; beyond it the file is FAILED and the next one goes on."""

    wall_s: float = 10.0
    cpu_s: float = 10.0
    memory_bytes: int = 2 * 1024**3
    pixels: int = 100_000_000
    file_bytes: int = 1024**3


@dataclass(frozen=True, slots=True)
class Rejection:
    """A path that was not scored, and why. `detail` holds no patient data and no path."""

    code: ReasonCode
    detail: str = ""

    @property
    def outcome(self) -> Outcome:
        """The outcome that the closed list gives this code."""
        return REASONS[self.code][0]


@dataclass(frozen=True, slots=True)
class Radiograph:
    """Model-sized pixels and how they came about.

    `pixels`: float32 (224, 224) in [0, 1], MONOCHROME2 polarity (air dark).
    `pixels_sha256`: of those bytes, so that equal model input is scored once.
    `thumbnail`: a JPEG of at most 4 KB.
    """

    pixels: Pixels
    pixels_sha256: str
    voi_source: str
    levels_dropped: int
    decoder: str
    thumbnail: bytes
    warnings: frozenset[Warn] = frozenset()


@dataclass(frozen=True, slots=True)
class Examined:
    """What one worker found at one path: a radiograph, or the rejection that ended its way.

    `stamp` and `sha256` are missing where the file could not be read to its end.
    """

    stamp: FileStamp | None
    sha256: str
    instance: Instance | None
    result: Radiograph | Rejection
    decode_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A path whose content is the one that the ledger knows: nothing was decoded."""

    stamp: FileStamp
    sha256: str


@dataclass(frozen=True, slots=True)
class Score:
    """What the model says of one radiograph.

    `scores`: calibrated probability in [0, 1] for each finding, rounded to 4 decimals.
    `logits`: one for each finding. `novelty`: 1.0 is the acceptance limit.
    `cam`: float32 (findings, 7, 7), mean over the map + b = logit.
    """

    scores: tuple[float, ...]
    logits: tuple[float, ...]
    novelty: float
    cam: Pixels


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold on the calibrated score of one finding, and what it was measured to give."""

    name: str
    finding: str
    threshold: float
    target_sensitivity: float | None = None
    sensitivity: float | None = None
    sensitivity_interval: tuple[float, float] | None = None
    specificity: float | None = None
    specificity_interval: tuple[float, float] | None = None
    data: str = ""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the policy needs to know of one image of a study: a row of the ledger, no pixels.

    `other_body_part` is True where the header states a body part that is not the chest, also where
    an earlier rule gave the reason code.
    """

    outcome: Outcome
    reason_code: ReasonCode | None = None
    view: View = View.UNKNOWN
    scores: tuple[float, ...] = ()
    sop_instance_uid: str = ""
    path: str = ""
    other_body_part: bool = False


@dataclass(frozen=True, slots=True)
class StudyTriage:
    """The policy's verdict on one study.

    `image` is the index of the image that decided, `finding` the index of the finding with the
    largest margin over its threshold; both None where nothing was scored. `reason_code` is a
    closed list of the policy's own rules (see `screener.triage`).
    """

    triage: Triage
    reason_code: str
    reason: str
    image: int | None = None
    finding: int | None = None
