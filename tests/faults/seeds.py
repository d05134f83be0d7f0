"""One small film in every form that is read: what the proofs cut, mutate and scan.

Encoded by imagecodecs and pydicom, which the base and the tests have: nothing else is needed.
"""

from __future__ import annotations

import io
from functools import cache

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from tests.films import dataset, draw

ROWS, COLUMNS = 131, 137
SIZE = 140
CANARY = "Canary^Name"
"""Stands in the text of every seed: no log, error or detail may hold it."""

_ROOT = "1.2.840.10008.1.2"
SYNTAXES = {
    "implicit": _ROOT,
    "explicit": f"{_ROOT}.1",
    "deflated": f"{_ROOT}.1.99",
    "big-endian": f"{_ROOT}.2",
    "rle": f"{_ROOT}.5",
    "jpeg-baseline": f"{_ROOT}.4.50",
    "jpeg-extended": f"{_ROOT}.4.51",
    "jpeg-lossless": f"{_ROOT}.4.57",
    "jpeg-lossless-sv1": f"{_ROOT}.4.70",
    "jpeg-ls": f"{_ROOT}.4.80",
    "jpeg-ls-near": f"{_ROOT}.4.81",
    "jpeg2000-lossless": f"{_ROOT}.4.90",
    "jpeg2000": f"{_ROOT}.4.91",
    "htj2k-lossless": f"{_ROOT}.4.201",
    "htj2k-rpcl": f"{_ROOT}.4.202",
    "htj2k": f"{_ROOT}.4.203",
}
RASTERS = ("png", "jpeg", "tiff", "tiff-deflate", "tiff-jpeg")
NAMES = (*SYNTAXES, *RASTERS)


def values() -> NDArray[np.uint16]:
    """The film: uint16 (131, 137), 12 bits, odd in both sizes."""
    return np.ascontiguousarray(draw(1, size=SIZE)[:ROWS, :COLUMNS])


@cache
def seed(name: str) -> bytes:
    """A whole file of one of `NAMES`."""
    if name in RASTERS:
        return _raster(name)
    film = values()
    ds = dataset(film, 1, PatientName=CANARY, InstitutionName=CANARY, StationName=CANARY)
    if name in ("implicit", "explicit", "deflated", "big-endian"):
        if name == "big-endian":
            ds.PixelData = film.astype(">u2").tobytes()
        ds["PixelData"].VR = "OW"
        whole = file_of(ds, SYNTAXES[name])
        # The byte that makes a deflated file even holds nothing: without it every cut is one.
        return whole[:-1] if name == "deflated" and whole[-1] == 0 else whole
    if name == "jpeg-baseline":
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = encapsulate([encode(name, film)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return file_of(ds, SYNTAXES[name])


def encode(name: str, film: NDArray[np.uint16]) -> bytes:
    """One codestream of a 12-bit film; baseline holds its upper 8 bits."""
    match name:
        case "rle":
            planes = [(film >> 8).astype(np.uint8), (film & 0xFF).astype(np.uint8)]
            segments = [imagecodecs.packbits_encode(plane, axis=-1) for plane in planes]
            segments = [part + b"\0" * (len(part) % 2) for part in segments]
            offsets = [2, 64, 64 + len(segments[0]), *[0] * 13]
            return np.array(offsets, "<u4").tobytes() + b"".join(map(bytes, segments))
        case "jpeg-baseline":
            return bytes(imagecodecs.jpeg8_encode((film >> 4).astype(np.uint8), level=90))
        case "jpeg-extended":
            return bytes(imagecodecs.jpeg8_encode(film, bitspersample=12, level=90))
        case "jpeg-lossless" | "jpeg-lossless-sv1":
            predictor = 1 if name.endswith("sv1") else 4
            return bytes(
                imagecodecs.jpeg8_encode(film, bitspersample=12, lossless=True, predictor=predictor)
            )
        case "jpeg-ls" | "jpeg-ls-near":
            return bytes(imagecodecs.jpegls_encode(film, level=2 * name.endswith("near")))
        case "jpeg2000-lossless" | "jpeg2000":
            return bytes(
                imagecodecs.jpeg2k_encode(
                    film,
                    level=0 if name.endswith("lossless") else 50,
                    codecformat="j2k",
                    bitspersample=12,
                    resolutions=4,
                )
            )
        case "htj2k-lossless" | "htj2k-rpcl" | "htj2k":
            return bytes(imagecodecs.htj2k_encode(film, resolutions=3))
    raise ValueError(name)


def file_of(ds: Dataset, syntax: str) -> bytes:
    """A data set as a file with preamble."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _raster(name: str) -> bytes:
    film = values() * 16
    if name == "jpeg":
        return bytes(imagecodecs.jpeg8_encode((film >> 8).astype(np.uint8), level=90))
    stream = io.BytesIO()
    options = {
        "tiff-deflate": {"compression": "tiff_adobe_deflate"},
        "tiff-jpeg": {"compression": "jpeg", "quality": 90},
    }.get(name, {})
    if name == "tiff-jpeg":
        film = (film >> 8).astype(np.uint8)
    Image.fromarray(film).save(stream, name.partition("-")[0].upper(), **options)
    return stream.getvalue()
