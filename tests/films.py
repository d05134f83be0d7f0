"""Small drawn films for tests of the whole way: the tiny bundle takes them for chests.

Identities are fictitious; the pixels are drawn from the tiny bundle's own grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from export.tiny import CHEST

CR = "1.2.840.10008.5.1.4.1.1.1"
TINY = Path(__file__).parent / "data" / "tiny.onnx"


def draw(seed: int = 0, *, severity: float = 0.0, size: int = 256) -> NDArray[np.uint16]:
    """A 12-bit chest, air dark: uint16 (size, size); `severity` brightens the lower lungs."""
    grid = np.array(CHEST, float)
    grid[4:6, 0:2] += severity
    grid[4:6, 5:7] += severity
    image = Image.fromarray(grid.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    noise = np.random.default_rng(seed).normal(0, 0.15, (size, size))
    plane = np.asarray(image) + noise
    scaled = (plane - plane.min()) / (plane.max() - plane.min())
    return (200 + scaled * 3600).astype(np.uint16)


def dataset(pixels: NDArray[np.uint16], number: int, **changes: Any) -> Dataset:
    """A CR image of a fictitious patient; `changes` are keywords, None removes one."""
    ds = Dataset()
    ds.SOPClassUID = CR
    ds.SOPInstanceUID = f"2.25.{1000 + number}"
    ds.StudyInstanceUID = f"2.25.{2000 + number}"
    ds.SeriesInstanceUID = f"2.25.{3000 + number}"
    ds.Modality = "CR"
    ds.PatientID = f"T{number:05d}"
    ds.PatientName = f"Drawn^Number {number}"
    ds.PatientBirthDate = "19600101"
    ds.PatientSex = "O"
    ds.StudyDate, ds.StudyTime = "20260101", "030000"
    ds.AccessionNumber = f"A{number}"
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = "PA"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = pixels.tobytes()
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def save(ds: Dataset, path: Path) -> Path:
    """Write a dataset as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True)
    return path


def save_png(pixels: NDArray[np.uint16], path: Path) -> Path:
    """Write a film as 16-bit PNG, its 12 bits scaled to 16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels.astype(np.uint32) * 16).astype(np.uint16)).save(path)
    return path


def night(folder: Path) -> Path:
    """A folder of a night: three films, a lateral, a cut file, a text, an empty one."""
    save(dataset(draw(1), 1), folder / "ward a" / "IM0001")
    save(dataset(draw(2, severity=4), 2), folder / "ward a" / "IM0002")
    save_png(draw(3, severity=2), folder / "b" / "film.png")
    save(dataset(draw(4), 4, ViewPosition="LL"), folder / "b" / "lateral.dcm")
    whole = save(dataset(draw(5), 5), folder / "b" / "cut.dcm").read_bytes()
    (folder / "b" / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("nothing to see\n")
    (folder / "empty").touch()
    return folder
