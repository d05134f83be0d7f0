"""Small DICOM films for tests: the header of a real chest CR, its pixels thinned out."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import data_store
import numpy as np
import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

DATA = Path(data_store.__file__).parent / "data"
PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
THINNED = 12


def read_file(name: str) -> memoryview:
    """A file of pydicom-data, else of pydicom."""
    path = DATA / name
    return memoryview((path if path.exists() else PYDICOM_FILES / name).read_bytes())


@cache
def _source() -> pydicom.Dataset:
    return pydicom.dcmread(DATA / "RG1_UNCR.dcm")


def film_values() -> np.ndarray:
    """(163, 154) uint16, 15 bits, MONOCHROME1: a PA chest."""
    return np.ascontiguousarray(_source().pixel_array[::THINNED, ::THINNED])


def film_dataset(**changes: Any) -> pydicom.Dataset:
    """The film as a data set; a keyword set to None is taken away."""
    source = _source()
    dataset = pydicom.Dataset()
    for element in source:
        if element.tag < 0x7FE00010 and not element.tag.is_private:
            dataset.add(deepcopy(element))
    values = film_values()
    dataset.Rows, dataset.Columns = values.shape
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)
    return dataset


def written(
    dataset: pydicom.Dataset, syntax: str = ExplicitVRLittleEndian, *, preamble: bool = True
) -> memoryview:
    """The bytes of a file that holds `dataset`."""
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "1.2.3")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
    stream = BytesIO()
    if not preamble:
        del dataset.file_meta
        stream_dataset = dataset
        pydicom.dcmwrite(
            stream,
            stream_dataset,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            enforce_file_format=False,
        )
        return memoryview(stream.getvalue())
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return memoryview(stream.getvalue())


def film(syntax: str = ExplicitVRLittleEndian, **changes: Any) -> memoryview:
    """The film as a file, changed."""
    dataset = film_dataset(**changes)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    return written(dataset, syntax)


def raw_element(tag: int, vr: str, value: bytes) -> bytes:
    """One element in explicit VR little endian, whatever pydicom would say of it."""
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr.encode()
    if vr in ("OB", "OW", "SQ", "UN", "UT"):
        return head + b"\0\0" + len(value).to_bytes(4, "little") + value
    return head + len(value).to_bytes(2, "little") + value


def patched(content: memoryview, tag: int, vr: str, value: bytes) -> memoryview:
    """The file with the value of one element replaced byte by byte."""
    whole = bytes(content)
    start = whole.index(raw_element(tag, vr, b"")[:6])
    length = int.from_bytes(whole[start + 6 : start + 8], "little")
    return memoryview(whole[:start] + raw_element(tag, vr, value) + whole[start + 8 + length :])


__all__ = [
    "DATA",
    "PYDICOM_FILES",
    "DeflatedExplicitVRLittleEndian",
    "ExplicitVRBigEndian",
    "ExplicitVRLittleEndian",
    "ImplicitVRLittleEndian",
    "film",
    "film_dataset",
    "film_values",
    "patched",
    "raw_element",
    "read_file",
    "written",
]
