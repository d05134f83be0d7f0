"""One film, one score: whatever syntax it is stored in, with its VOI or without.

The shipped model on the real chest film of the sample data and on a computed one. The files are
written by dcmtk and OpenJPEG, not by what decodes them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

from screener.bundle import load_bundle
from screener.classifier import Classifier
from screener.dicom import read_instance
from screener.dicom_pixels import read_stored
from screener.domain import Examined, Limits, Radiograph, Score
from screener.examine import examine
from screener.examine_settings import ExamineSettings

SAMPLES = Path(__file__).parent.parent / "sample_data" / "studies"
FILMS = {"chest CR": "CR1/20240311/IM000001", "computed": "portable ward 3/bed 12"}
DCMTK = {
    "implicit": ("dcmconv", "+ti"),
    "big endian": ("dcmconv", "+tb"),
    "deflated": ("dcmconv", "+td"),
    "RLE": ("dcmcrle",),
    "JPEG Baseline": ("dcmcjpeg", "+eb", "+q", "95"),
    "JPEG Extended": ("dcmcjpeg", "+ee", "+q", "95"),
    "JPEG Lossless": ("dcmcjpeg", "+e1"),
    "JPEG Lossless P14": ("dcmcjpeg", "+el"),
    "JPEG-LS": ("dcmcjpls", "+el"),
    "JPEG-LS near": ("dcmcjpls", "+en", "+md", "2"),
}
OWN = {
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG 2000 lossy": "1.2.840.10008.1.2.4.91",
    "HTJ2K": "1.2.840.10008.1.2.4.201",
    "HTJ2K RPCL": "1.2.840.10008.1.2.4.202",
    "HTJ2K lossy": "1.2.840.10008.1.2.4.203",
}
# What is no DICOM has no VOI, and its white is high.
PICTURES = {
    "PNG": {"format": "PNG"},
    "TIFF": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    "JPEG": {"format": "JPEG", "quality": 95},
    "TIFF of JPEG": {"format": "TIFF", "compression": "jpeg", "quality": 95},
    "TIFF of JPEG, white is zero": {
        "format": "TIFF", "compression": "jpeg", "quality": 95, "tiffinfo": {262: 0},
    },
    "TIFF of JPEG, upside down": {
        "format": "TIFF", "compression": "jpeg", "quality": 95, "tiffinfo": {274: 3},
    },
}  # fmt: skip
ALTERED = ("no VOI", "MONOCHROME inverted", "exact")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(load_bundle(), device="cpu")


def plain(name: str, path: Path) -> Path:
    """The film uncompressed, in explicit little endian."""
    source = SAMPLES / FILMS[name]
    ds = pydicom.dcmread(source)
    pixels = read_stored(
        read_instance(memoryview(source.read_bytes()), Limits()), Limits(), full_size=True
    )
    values = pixels.stored.values.astype(np.uint16)
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW"
    ds.BitsAllocated = 16
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio"):
        if keyword in ds:
            delattr(ds, keyword)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    return path


def write(form: str, source: Path, path: Path) -> Path:
    """The same film in another form."""
    if form in DCMTK:
        command = DCMTK[form]
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} of dcmtk is not installed")
        subprocess.run([*command, str(source), str(path)], check=True, capture_output=True)
        return path
    ds = pydicom.dcmread(source)
    values = np.frombuffer(ds.PixelData, np.uint16).reshape(ds.Rows, ds.Columns)
    if form in PICTURES:
        return draw(form, values, ds, path)
    if form == "no VOI":
        for keyword in ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"):
            if keyword in ds:
                delattr(ds, keyword)
    elif form == "MONOCHROME inverted":
        highest = (1 << ds.BitsStored) - 1
        ds.PixelData = (highest - values).astype(np.uint16).tobytes()
        swapped = {"MONOCHROME1": "MONOCHROME2", "MONOCHROME2": "MONOCHROME1"}
        ds.PhotometricInterpretation = swapped[ds.PhotometricInterpretation]
        ds.WindowCenter = highest - float(ds.WindowCenter)
    elif form in OWN:
        ds.PixelData = encapsulate([encode(form, values, ds.BitsStored)])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = OWN[form]
    ds.save_as(path, enforce_file_format=True)
    return path


def draw(form: str, values: np.ndarray, ds: pydicom.Dataset, path: Path) -> Path:
    """The film as a picture, of 16 bits where it may; Pillow inverts it for white is zero."""
    shown = values.astype(np.float64)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        shown = shown.max() - shown
    shown = (shown - shown.min()) / (shown.max() - shown.min())
    deep = "JPEG" not in form
    picture = np.rint(shown * (65535 if deep else 255)).astype(np.uint16 if deep else np.uint8)
    if form.endswith("upside down"):
        picture = np.ascontiguousarray(picture[::-1, ::-1])
    Image.fromarray(picture).save(path, **PICTURES[form])
    return path


def encode(form: str, values: np.ndarray, bits: int) -> bytes:
    if form == "HTJ2K lossy":
        return bytes(imagecodecs.htj2k_encode(values, level=0.001, reversible=False, resolutions=4))
    if form.startswith("HTJ2K"):
        return bytes(imagecodecs.htj2k_encode(values, resolutions=4))
    level = 60 if form.endswith("lossy") else 0
    return bytes(
        imagecodecs.jpeg2k_encode(
            values, level=level, codecformat="j2k", bitspersample=bits, resolutions=6
        )
    )


def score(path: Path, classifier: Classifier, *, exact: bool = False) -> Score:
    found = examine(os.fsencode(path), ExamineSettings(exact=exact))
    assert isinstance(found, Examined)
    assert isinstance(found.result, Radiograph), found.result
    return classifier.score(found.result.pixels[None])[0]


@pytest.mark.parametrize("name", FILMS)
def test_every_form_of_a_film_has_its_score(
    name: str, classifier: Classifier, tmp_path: Path
) -> None:
    source = plain(name, tmp_path / "plain")
    expected = score(source, classifier)
    assert expected.novelty < 1
    found = {}
    for form in (*DCMTK, *OWN, *ALTERED, *PICTURES):
        path = write(form, source, tmp_path / form)
        said = score(path, classifier, exact=form == "exact")
        found[form] = (round(said.scores[0] - expected.scores[0], 4), round(said.novelty, 3))
    print(name, expected.scores, round(expected.novelty, 3), found)
    assert all(abs(difference) <= 0.05 for difference, _ in found.values()), found
    assert all(novelty < 1 for _, novelty in found.values()), found
