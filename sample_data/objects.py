"""Films -> DICOM objects: CR, DX and CT images with fictitious identities, and their syntaxes.

Everything is derived from the sample's key, so that the same films give the same bytes: UIDs are
hashes under 2.25 (PS3.5 B.2), dates are fixed. `encoders.py` makes the codestreams.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from encoders import BIG_ENDIAN, LOSSY_METHODS, NATIVE, encode_frame
from pydicom import Dataset, Sequence, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

if TYPE_CHECKING:
    from pathlib import Path

    from encoders import Stored

SOP_CLASSES = {"CR": "1.2.840.10008.5.1.4.1.1.1", "DX": "1.2.840.10008.5.1.4.1.1.1.1"}
SOP_CLASSES["CT"] = "1.2.840.10008.5.1.4.1.1.2"
VIEW_CODES = {
    "PA": ("272479007", "postero-anterior"),
    "AP": ("399348003", "antero-posterior"),
    "LL": ("399173006", "left lateral"),
}
ORIENTATIONS = {"PA": ["L", "F"], "AP": ["L", "F"], "LL": ["P", "F"], "": ["L", "F"]}
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "samples.screener.invalid")


@dataclass(frozen=True, slots=True)
class Patient:
    """A person who does not exist; in each language the family name means "sample"."""

    patient_id: str
    name: str
    birth_date: str
    sex: str
    charset: str | list[str] = ""


@dataclass(frozen=True, slots=True)
class Study:
    """One visit: `time` and `accession` are of the night that the folder pretends to be."""

    patient: Patient
    accession: str
    date: str
    time: str
    description: str
    station: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What is stored in one object.

    `values` are as stored, of `bits`. `voi`: "" for none, "LUT", or a window's function.
    `derivation` says what was done to the source; `pixel_mm` is 0 where the source has none.
    """

    values: Stored
    bits: int
    modality: str
    syntax: str
    derivation: str
    view: str = ""
    voi: str = ""
    monochrome1: bool = False
    body_part: str = "CHEST"
    pixel_mm: float = 0.0


def make_uid(key: str) -> UID:
    """Derive a UID from a name, the same one in every run."""
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, key).int}")


def write_object(path: Path, study: Study, number: int, picture: Picture) -> None:
    """Build the object, encode its pixels and write a DICOM file (PS3.10)."""
    dataset = _describe(study, number, picture)
    _describe_modality(dataset, picture)
    dataset.update(_voi(picture))
    _encode(dataset, picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, dataset, enforce_file_format=True)


def _identify(patient: Patient, date: str) -> Dataset:
    """Patient module, with the age on `date`."""
    dataset = Dataset()
    if patient.charset:
        dataset.SpecificCharacterSet = patient.charset
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    dataset.IssuerOfPatientID = "SAMPLES"
    dataset.PatientBirthDate = patient.birth_date
    dataset.PatientSex = patient.sex
    years = int(date[:4]) - int(patient.birth_date[:4]) - (date[4:] < patient.birth_date[4:])
    dataset.PatientAge = f"{years:03}Y"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "header written anew with a fictitious identity"
    return dataset


def _describe(study: Study, number: int, picture: Picture) -> Dataset:
    """Patient, study, series, equipment and image pixel modules."""
    dataset = _identify(study.patient, study.date)
    key = f"{study.accession}/{number}"
    dataset.SOPClassUID = UID(SOP_CLASSES[picture.modality])
    dataset.SOPInstanceUID = make_uid(key)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = UID(picture.syntax)
    dataset.file_meta.ImplementationClassUID = make_uid("implementation")
    dataset.file_meta.ImplementationVersionName = "SAMPLES_1"
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = study.date
    dataset.AcquisitionDate = study.date
    dataset.StudyTime = study.time
    dataset.SeriesTime = dataset.ContentTime = dataset.AcquisitionTime = study.time
    dataset.AccessionNumber = study.accession
    dataset.Modality = picture.modality
    dataset.Manufacturer = "Sample data script"
    dataset.InstitutionName = "No Such Hospital (fictitious)"
    dataset.ReferringPhysicianName = ""
    dataset.StationName = study.station
    dataset.StudyDescription = study.description
    dataset.SeriesDescription = f"{picture.body_part} {picture.view}".strip()
    dataset.DerivationDescription = picture.derivation
    dataset.BodyPartExamined = picture.body_part
    dataset.SoftwareVersions = "1"
    dataset.StudyInstanceUID = make_uid(study.accession)
    dataset.SeriesInstanceUID = make_uid(f"{key}/series")
    dataset.StudyID = study.accession[-4:]
    dataset.SeriesNumber = number
    dataset.InstanceNumber = 1
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if picture.monochrome1 else "MONOCHROME2"
    dataset.Rows, dataset.Columns = picture.values.shape
    dataset.BitsAllocated = picture.values.dtype.itemsize * 8
    dataset.BitsStored = picture.bits
    dataset.HighBit = picture.bits - 1
    dataset.PixelRepresentation = int(picture.values.dtype.kind == "i")
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    return dataset


def _describe_modality(dataset: Dataset, picture: Picture) -> None:
    """Add what PS3.3 A.2 (CR), A.3 (CT) and A.26 (DX) ask for beyond the common modules."""
    if picture.modality == "CT":
        half = (picture.values.shape[0] - 1) / 2 * picture.pixel_mm
        dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
        dataset.KVP = "120"
        dataset.SliceThickness = "2.5"
        dataset.PatientPosition = "FFS"
        dataset.AcquisitionNumber = 1
        dataset.FrameOfReferenceUID = make_uid(f"{dataset.AccessionNumber}/frame")
        dataset.PositionReferenceIndicator = ""
        dataset.ImagePositionPatient = [f"{-half:.3f}", f"{-half:.3f}", "0"]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing = [picture.pixel_mm, picture.pixel_mm]
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
        return
    dataset.ViewPosition = picture.view
    if picture.body_part != "CHEST":
        dataset.Laterality = "R"  # the lead letter on the film
    dataset.PatientOrientation = ORIENTATIONS[picture.view]
    if picture.pixel_mm:
        dataset.ImagerPixelSpacing = [round(picture.pixel_mm, 4)] * 2
    if picture.modality == "CR":
        return
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.AnatomicRegionSequence = [_code("51185008", "Chest")]
    dataset.ImageLaterality = "U"
    dataset.DetectorType = "SCINTILLATOR"
    dataset.PositionerType = "COLUMN"
    dataset.ViewCodeSequence = [_code(*VIEW_CODES[picture.view])]
    dataset.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence()
    dataset.AcquisitionContextSequence = Sequence()
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if picture.monochrome1 else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape = "INVERSE" if picture.monochrome1 else "IDENTITY"


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code


def _voi(picture: Picture) -> Dataset:
    """Say how to show it: all of its range, so that a score hardly depends on it."""
    voi = Dataset()
    low, high = int(picture.values.min()), int(picture.values.max())
    if picture.modality == "CT":
        voi.WindowCenter, voi.WindowWidth = -600, 1600
    elif picture.voi == "LUT":
        # A film's curve: a little steeper in the middle, 12 bits to 16.
        steps = np.linspace(-1, 1, high - low + 1)
        curve = np.rint(32767.5 * (1 + np.tanh(1.2 * steps) / np.tanh(1.2))).astype("<u2")
        item = Dataset()
        item.LUTDescriptor = [len(curve), low, 16]
        item.LUTExplanation = "FILM"
        item.add_new(0x00283006, "OW", curve.tobytes())
        voi.VOILUTSequence = [item]
    elif picture.voi:
        voi.WindowCenter, voi.WindowWidth = (low + high + 1) // 2, high - low + 1
        voi.VOILUTFunction = picture.voi
    return voi


def _encode(dataset: Dataset, picture: Picture) -> None:
    """Put the pixels in, in the picture's transfer syntax."""
    values = picture.values
    if picture.syntax in NATIVE:
        big = picture.syntax == BIG_ENDIAN
        dataset.add_new(0x7FE00010, "OW", (values.byteswap() if big else values).tobytes())
        return
    frame = encode_frame(values, picture.bits, picture.syntax)
    if picture.syntax in LOSSY_METHODS:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = round(values.nbytes / len(frame), 2)
        dataset.LossyImageCompressionMethod = LOSSY_METHODS[picture.syntax]
    dataset.add_new(0x7FE00010, "OB", encapsulate([frame]))
    dataset["PixelData"].is_undefined_length = True
