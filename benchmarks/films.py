"""The films that speed is measured on: distinct, large, in one transfer syntax a folder.

A few computed films are encoded; each file then gets a window of its own, so that no two have the
same bytes or the same model input while the codestreams need not all be computed anew.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate

from benchmarks.phantom import make_film
from tests.films import dataset, save

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNCOMPRESSED = "1.2.840.10008.1.2.1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
RLE = "1.2.840.10008.1.2.5"
BITS = 12


def encode(values: NDArray[np.uint16], syntax: str, bits: int = BITS) -> bytes:
    """One frame, encoded by another library or path than the one that the program decodes with.

    Args:
        values: (rows, columns), `bits` of them used.
        syntax: A transfer syntax of the module's constants.
    """
    if syntax == UNCOMPRESSED:
        return values.tobytes()
    if syntax == JPEG_BASELINE:
        eight = (values >> (bits - 8)).astype(np.uint8)
        return bytes(imagecodecs.jpeg8_encode(eight, level=95))
    if syntax == JPEG_LOSSLESS:
        return bytes(imagecodecs.jpeg8_encode(values, lossless=True, predictor=1))
    if syntax == JPEG_LS:
        return bytes(imagecodecs.jpegls_encode(values))
    if syntax == JPEG_2000:
        return bytes(
            imagecodecs.jpeg2k_encode(
                values, level=0, codecformat="j2k", bitspersample=bits, reversible=True
            )
        )
    if syntax == HTJ2K:
        return bytes(imagecodecs.htj2k_encode(values, reversible=True))
    raise ValueError(f"no encoder for {syntax}")


def write_dicom(
    folder: Path, syntax: str, count: int, *, distinct: int, rows: int = 2500, columns: int = 2048
) -> list[Path]:
    """`count` files in one syntax, of `distinct` codestreams."""
    frames = [encode(make_film(seed, rows, columns), syntax) for seed in range(distinct)]
    small = np.zeros((8, 8), np.uint16)
    paths = []
    for number in range(count):
        ds = dataset(
            small, number, WindowCenter=2048 + number * 0.37, WindowWidth=3800 - number * 0.41
        )
        paths.append(
            save_frame(
                ds, frames[number % distinct], syntax, folder / f"{number:06d}", rows, columns
            )
        )
    return paths


def save_frame(
    ds: Any, frame: bytes, syntax: str, path: Path, rows: int, columns: int, bits: int = BITS
) -> Path:
    """Write a film as DICOM in a syntax."""
    ds.Rows, ds.Columns = rows, columns
    if syntax == JPEG_BASELINE:
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit = 7
        ds.LossyImageCompression = "01"
        if "WindowCenter" in ds:
            ds.WindowCenter = float(ds.WindowCenter) / 16
            ds.WindowWidth = float(ds.WindowWidth) / 16
    else:
        ds.BitsStored, ds.HighBit = bits, bits - 1
    save(ds, path)
    if syntax == UNCOMPRESSED:
        ds.PixelData = frame
    else:
        ds.PixelData = encapsulate([frame])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, enforce_file_format=True)
    return path


def write_pngs(folder: Path, count: int, *, rows: int = 1024, columns: int = 1024) -> list[Path]:
    """1-megapixel PNG of 8 bits, as exports for a web page or a data set are."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    base = [make_film(seed, rows + 64, columns + 64) for seed in range(8)]
    for number in range(count):
        shift = number // len(base)
        film = base[number % len(base)][shift % 64 : shift % 64 + rows, shift // 64 % 64 :][
            :, :columns
        ]
        path = folder / f"{number:06d}.png"
        buffer = io.BytesIO()
        Image.fromarray((film >> 4).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
        path.write_bytes(buffer.getvalue())
        paths.append(path)
    return paths
