r"""The key image: the film with the map of where its score comes from, and the words on it.

A secondary capture (PS3.3 A.8.1) in colour, DERIVED\SECONDARY, made by this program: no scan
takes it for a film.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from screener import __version__
from screener.domain import OWN_MANUFACTURER
from screener.pacs.identity import series_uid, uid_of
from screener.pacs.moment import local_moment, stamp_content

if TYPE_CHECKING:
    from numpy.typing import NDArray

SERIES_NUMBER = 9902
NOTICE = "NOT FOR DIAGNOSIS"
DESCRIPTION = "screener key image, not for diagnosis"
# Of the map's own range: what is fainter is not drawn; and how much of the film the rest hides.
_FAINTEST, _MOST_OPAQUE = 0.5, 0.45


def cam_of(content: str, finding: int) -> NDArray[np.float32]:
    """A class activation map from its bytes in hexadecimal: float32 (7, 7)."""
    cam = np.frombuffer(bytes.fromhex(content), dtype="<f2").reshape(-1, 7, 7)
    return np.asarray(cam[finding], np.float32)


def words(row: Mapping[str, Any]) -> tuple[str, str]:
    """The two lines on a key image: no patient, no promise."""
    score = f"score {row['score']:.4f} of {row['finding']}, threshold {row['threshold']:.4f}"
    return f"screener {NOTICE}", f"{row['triage']}  {score}, {row['model']}"


def draw(
    picture: NDArray[np.uint8], cam: NDArray[np.float32], lines: tuple[str, ...]
) -> NDArray[np.uint8]:
    """The film in grey, the map over it in red, the words on a black strip below.

    Args:
        picture: uint8 (rows, columns), air dark.
        cam: float32 (7, 7), stretched over the whole film as the model saw it.
        lines: Of plain ASCII.

    Returns:
        uint8 (rows + strip, columns, 3).
    """
    rows, columns = picture.shape
    low, high = float(cam.min()), float(cam.max())
    share = (cam - low) / ((high - low) or 1.0)
    grown = np.asarray(
        Image.fromarray(share).resize((columns, rows), Image.Resampling.BICUBIC), np.float32
    )
    opacity = np.clip((grown - _FAINTEST) / (1 - _FAINTEST), 0, 1) * _MOST_OPAQUE
    grey = picture.astype(np.float32)
    coloured = np.stack(
        [grey * (1 - opacity) + 255 * opacity, grey * (1 - opacity), grey * (1 - opacity)], axis=-1
    )
    size = max(columns // 44, 10)
    strip = Image.new("RGB", (columns, (size + 6) * len(lines) + 6))
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        font = ImageFont.load_default(_fitting(line, size, columns - 12))
        pen.text((6, 4 + number * (size + 6)), line, fill=(255, 255, 255), font=font)
    return np.concatenate([np.rint(coloured).astype(np.uint8), np.asarray(strip)], axis=0)


def _fitting(line: str, size: int, width: int) -> int:
    """The largest size at which a line fits, at least 6."""
    while size > 6 and ImageFont.load_default(size).getlength(line) > width:
        size -= 1
    return size


def key_image(
    row: Mapping[str, Any],
    image: Mapping[str, Any],
    header: Dataset,
    pixels: NDArray[np.uint8],
    *,
    uid: str,
) -> Dataset:
    """A secondary capture of drawn pixels, uint8 (rows, columns, 3), with its meta information.

    Args:
        row: The verdict, as the ledger keeps it.
        image: The film that it shows: its three UIDs.
        header: Patient and study, as `screener.pacs.film` copies them.
        pixels: What `draw` made.
        uid: The SOP Instance UID, made from what is said.
    """
    dataset = deepcopy(header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study_uid = str(header.StudyInstanceUID)
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.SOPInstanceUID = uid
        dataset.SeriesInstanceUID = series_uid(study_uid, "key_image")
        dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER, 1
        dataset.SeriesDescription = DESCRIPTION
        dataset.Modality = "OT"
        dataset.Laterality = ""
        dataset.ConversionType = "WSD"
        dataset.Manufacturer = OWN_MANUFACTURER
        dataset.ManufacturerModelName = str(row["model"])[:64]
        dataset.SoftwareVersions = str(row["software_version"] or __version__)
        dataset.SecondaryCaptureDeviceManufacturer = OWN_MANUFACTURER
        dataset.SecondaryCaptureDeviceID = str(row["model_sha256"])[:16]
        dataset.ImageType = ["DERIVED", "SECONDARY"]
        dataset.DerivationDescription = (
            "class activation map over the film, research use, not for diagnosis"
        )
        dataset.ImageComments = " | ".join(words(row))
        dataset.PatientOrientation = ""
        # The strip bears no patient's name; what was burned into the film itself is still there.
        burned = "BURNED_IN_ANNOTATION" in str(row["warnings"])
        dataset.BurnedInAnnotation = "YES" if burned else "NO"
        source = Dataset()
        source.ReferencedSOPClassUID = image["sop_class_uid"]
        source.ReferencedSOPInstanceUID = image["sop_instance_uid"]
        dataset.SourceImageSequence = [source]
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0
        content = np.ascontiguousarray(pixels).tobytes()
        dataset.PixelData = content + b"\0" * (len(content) % 2)
        dataset["PixelData"].VR = "OB"
    moment = local_moment(str(row["screened_at"]), header)
    stamp_content(dataset, moment)
    dataset.DateOfSecondaryCapture = dataset.ContentDate
    dataset.TimeOfSecondaryCapture = dataset.ContentTime
    return with_meta(dataset)


def with_meta(dataset: Dataset) -> Dataset:
    """Add the file meta information (PS3.10 7.1) that both network doors want."""
    dataset.file_meta = FileMetaDataset()
    # The length is put right when it is written; not every writer adds either of them.
    dataset.file_meta.FileMetaInformationGroupLength = 0
    dataset.file_meta.FileMetaInformationVersion = b"\0\1"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = UID(uid_of("implementation", OWN_MANUFACTURER))
    dataset.file_meta.ImplementationVersionName = f"SCREENER_{__version__}"[:16]
    return dataset
