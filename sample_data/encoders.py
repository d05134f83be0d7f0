"""Stored values -> codestreams, written by dcmtk, OpenJPEG and OpenJPH.

Not by the libraries that `screener` decodes with, where there is another one: reading a sample is a
test between two toolkits.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from openjpeg.utils import encode_array
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Stored = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int16]

IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, RLE = (
    f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2", ".5")
)
JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LS, JPEG_LS_NEAR, J2K, J2K_LOSSY, HTJ2K = (
    f"1.2.840.10008.1.2.4.{end}" for end in ("50", "51", "70", "80", "81", "90", "91", "201")
)
NATIVE = frozenset((IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN))
# Syntax: dcmtk's command for it.
DCMTK = {
    RLE: ("dcmcrle",),
    JPEG_BASELINE: ("dcmcjpeg", "+eb", "+q", "95"),
    JPEG_EXTENDED: ("dcmcjpeg", "+ee", "+q", "95"),
    JPEG_LOSSLESS: ("dcmcjpeg", "+e1"),
    JPEG_LS: ("dcmcjpls", "+el"),
    JPEG_LS_NEAR: ("dcmcjpls", "+en", "+md", "3"),
}
# PS3.3 C.7.6.1.1.5.2: the methods of the lossy ones.
LOSSY_METHODS = {
    JPEG_BASELINE: "ISO_10918_1",
    JPEG_EXTENDED: "ISO_10918_1",
    JPEG_LS_NEAR: "ISO_14495_1",
    J2K_LOSSY: "ISO_15444_1",
}


def encode_frame(values: Stored, bits: int, syntax: str) -> bytes:
    """Encode one grey frame.

    Raises:
        KeyError: No encoder for the syntax here.
    """
    if syntax == HTJ2K:
        return _run_ojph(values, bits)
    if syntax not in (J2K, J2K_LOSSY):
        return _run_dcmtk(values, bits, DCMTK[syntax])
    # Codec format 0 is the bare codestream that DICOM wants (PS3.5 A.4.4).
    loss = [52.0] if syntax == J2K_LOSSY else None
    return encode_array(values, bits, use_mct=False, signal_noise_ratios=loss, codec_format=0)


def _run_dcmtk(values: Stored, bits: int, command: tuple[str, ...]) -> bytes:
    """Have dcmtk encode a plain object; only the codestream is kept, its header is not."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    dataset.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
    dataset.SOPInstanceUID = UID("2.25.1")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated = values.dtype.itemsize * 8
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.add_new(0x7FE00010, "OW", values.tobytes())
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in"), Path(folder, "out")
        dcmwrite(source, dataset, enforce_file_format=True)
        _run([*command, str(source), str(target)])
        encoded = dcmread(target)
    return next(generate_frames(encoded.PixelData, number_of_frames=1))


def _run_ojph(values: Stored, bits: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.pgm"), Path(folder, "out.j2c")
        header = f"P5\n{values.shape[1]} {values.shape[0]}\n{2**bits - 1}\n".encode()
        source.write_bytes(header + values.astype(">u2").tobytes())
        _run(["ojph_compress", "-i", str(source), "-o", str(target), "-reversible", "true"])
        return target.read_bytes()


def _run(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(f"{command[0]} is not installed: see README.md, To remake")
    subprocess.run(command, check=True, capture_output=True)
