"""Remake the frames under tests/data/codestreams and the samples of screener/decoder_samples.py.

    python tests/data/make_codestreams.py

Needs Debian's dcmtk (dcmcjpeg, dcmcjpls, dcmcrle: another toolkit than the decoders under test)
and, for JPEG 2000 and HTJ2K, imagecodecs: HTJ2K is coded by OpenJPH and decoded by OpenJPEG, and
JPEG 2000 is also checked against pydicom's files. The images are a computed gradient with noise.
Each NAME.bin is one frame; frames.json describes it; what it must give is computed by `image`.
"""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.uid import UID, ExplicitVRLittleEndian

HERE = Path(__file__).parent / "codestreams"
SYNTAX = "1.2.840.10008.1.2"
ROWS, COLUMNS = 29, 23


def image(kind: str) -> np.ndarray[Any, Any]:
    """A gradient with noise, odd in both sizes; the same on every machine."""
    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS]
    noise = (rows * 7919 + columns * 104729 + rows * columns * 31) % 13
    plane = rows * 71 + columns * 59 + noise
    match kind:
        case "u8":
            return (plane // 14).astype(np.uint8)
        case "u12":
            return plane.astype(np.uint16)
        case "s12":
            return (plane - 1700).astype(np.int16)
        case "u16":
            return (plane * 18).astype(np.uint16)
        case "s16":
            return (plane * 18 - 30000).astype(np.int16)
        case "rgb8":
            planes = (plane // 14, (plane[::-1] // 14), (plane[:, ::-1] // 14))
            return np.stack(planes, axis=-1).astype(np.uint8)
    raise ValueError(kind)


def write_native(values: np.ndarray[Any, Any], bits: int, path: Path) -> None:
    ds, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID("2.25.1")
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "2.25.2", "2.25.3", "OT"
    ds.PatientID = ds.PatientName = "phantom"
    ds.Rows, ds.Columns = values.shape[:2]
    ds.SamplesPerPixel = 3 if values.ndim == 3 else 1
    ds.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = 8 * values.itemsize
    ds.BitsStored, ds.HighBit = bits, bits - 1
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    data = values.tobytes()
    ds.add_new("PixelData", "OW", data + b"\0" * (len(data) % 2))
    ds.file_meta = meta
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def dcmtk(values: np.ndarray[Any, Any], bits: int, *command: str) -> tuple[bytes, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.dcm"), Path(folder, "out.dcm")
        write_native(values, bits, source)
        subprocess.run([*command, str(source), str(target)], check=True, capture_output=True)
        ds = pydicom.dcmread(target)
        frame = get_frame(ds.PixelData, 0, number_of_frames=1)
        described = {
            "transfer_syntax_uid": str(ds.file_meta.TransferSyntaxUID),
            "photometric_interpretation": str(ds.PhotometricInterpretation),
            "bits_allocated": ds.BitsAllocated,
            "bits_stored": ds.BitsStored,
            "signed": bool(ds.PixelRepresentation),
            "samples_per_pixel": ds.SamplesPerPixel,
            "planar_configuration": ds.get("PlanarConfiguration", 0),
        }
        return frame, described


def own(values: np.ndarray[Any, Any], bits: int, uid: str, frame: bytes) -> Any:
    colour = values.ndim == 3
    return frame, {
        "transfer_syntax_uid": uid,
        "photometric_interpretation": "YBR_RCT" if colour else "MONOCHROME2",
        "bits_allocated": 8 * values.itemsize,
        "bits_stored": bits,
        "signed": values.dtype.kind == "i",
        "samples_per_pixel": 3 if colour else 1,
        "planar_configuration": 0,
    }


def jpeg2000(values: np.ndarray[Any, Any], bits: int) -> Any:
    frame = imagecodecs.jpeg2k_encode(
        values, level=0, codecformat="j2k", bitspersample=bits, reversible=True, resolutions=4
    )
    return own(values, bits, SYNTAX + ".4.90", bytes(frame))


def htj2k(values: np.ndarray[Any, Any], uid: str, **options: Any) -> Any:
    frame = bytes(imagecodecs.htj2k_encode(values, resolutions=4, **options))
    return own(values, 8 * values.itemsize, uid, frame)


def frames() -> dict[str, tuple[str, int, Any]]:
    """Name -> (image, largest error allowed, (frame, description))."""
    u8, u12, s12 = image("u8"), image("u12"), image("s12")
    u16, s16, rgb8 = image("u16"), image("s16"), image("rgb8")
    made: dict[str, tuple[str, int, Any]] = {}
    for name, values, bits in (
        ("u8", u8, 8), ("u12", u12, 12), ("s12", s12, 12),
        ("u16", u16, 16), ("s16", s16, 16), ("rgb8", rgb8, 8),
    ):  # fmt: skip
        made[f"rle_{name}"] = name, 0, dcmtk(values, bits, "dcmcrle")
        made[f"jpeg_lossless_{name}"] = name, 0, dcmtk(values, bits, "dcmcjpeg", "+el")
        made[f"jpeg_lossless_sv1_{name}"] = name, 0, dcmtk(values, bits, "dcmcjpeg", "+e1")
        made[f"jpeg_ls_{name}"] = name, 0, dcmtk(values, bits, "dcmcjpls", "+el")
        made[f"jpeg2000_{name}"] = name, 0, jpeg2000(values, bits)
        made[f"htj2k_{name}"] = name, 0, htj2k(values, SYNTAX + ".4.201", reversible=True)
    made["jpeg_ls_near_u12"] = "u12", 2, dcmtk(u12, 12, "dcmcjpls", "+en", "+md", "2")
    made["jpeg_ls_near_rgb8"] = "rgb8", 2, dcmtk(rgb8, 8, "dcmcjpls", "+en", "+md", "2", "+in")
    made["jpeg_baseline_u8"] = "u8", 4, dcmtk(u8, 8, "dcmcjpeg", "+eb", "+q", "95")
    made["jpeg_baseline_rgb8"] = "rgb8", 8, dcmtk(rgb8, 8, "dcmcjpeg", "+eb", "+q", "98", "+s4")
    made["jpeg_baseline_uncalibrated_rgb8"] = (
        "rgb8", 8, dcmtk(rgb8, 8, "dcmcjpeg", "+eb", "+q", "98", "+cr"),
    )  # fmt: skip
    made["jpeg_extended_u12"] = "u12", 24, dcmtk(u12, 12, "dcmcjpeg", "+ee", "+q", "95")
    made["jpeg_extended_u8"] = "u8", 4, dcmtk(u8, 8, "dcmcjpeg", "+ee", "+q", "95")
    made["htj2k_rpcl_u12"] = "u12", 0, htj2k(u12, SYNTAX + ".4.202", reversible=True)
    made["htj2k_lossy_u12"] = (
        "u12", 64, htj2k(u12, SYNTAX + ".4.203", reversible=False, level=0.001),
    )  # fmt: skip
    lossy = imagecodecs.jpeg2k_encode(u12, level=60, codecformat="j2k", bitspersample=12)
    made["jpeg2000_lossy_u12"] = "u12", 32, own(u12, 12, SYNTAX + ".4.91", bytes(lossy))
    return made


SAMPLE_HEAD = '''"""A tiny frame of every transfer syntax: `doctor` really decodes it.

Written by tests/data/make_codestreams.py (dcmtk, OpenJPEG, OpenJPH); not to be edited by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sample:
    """`frame`: base64 of one monochrome frame; it decodes to `sample_values(bits)`."""

    bits: int
    largest_error: int
    frame: str


def sample_values(bits: int) -> NDArray[np.int64]:
    """The image in every sample: int64 (8, 8), a gradient in [0, 2**bits)."""
    rows, columns = np.mgrid[0:8, 0:8]
    values: NDArray[np.int64] = (rows * 211 + columns * 307) >> (12 - bits)
    return values


SAMPLES: dict[str, Sample] = {
'''


def samples() -> dict[str, tuple[int, int, bytes]]:
    """Transfer syntax -> (bits, largest error, frame)."""
    rows, columns = np.mgrid[0:8, 0:8]
    u12 = (rows * 211 + columns * 307).astype(np.uint16)
    u8 = (u12 >> 4).astype(np.uint8)
    native = u12.astype("<u2").tobytes()
    made = {SYNTAX + suffix: (12, 0, native) for suffix in ("", ".1", ".1.99")}
    made[SYNTAX + ".2"] = 12, 0, u12.astype(">u2").tobytes()
    made[SYNTAX + ".5"] = 12, 0, dcmtk(u12, 12, "dcmcrle")[0]
    made[SYNTAX + ".4.50"] = 8, 4, dcmtk(u8, 8, "dcmcjpeg", "+eb")[0]
    made[SYNTAX + ".4.51"] = 12, 64, dcmtk(u12, 12, "dcmcjpeg", "+ee")[0]
    made[SYNTAX + ".4.57"] = 12, 0, dcmtk(u12, 12, "dcmcjpeg", "+el")[0]
    made[SYNTAX + ".4.70"] = 12, 0, dcmtk(u12, 12, "dcmcjpeg", "+e1")[0]
    made[SYNTAX + ".4.80"] = 12, 0, dcmtk(u12, 12, "dcmcjpls", "+el")[0]
    made[SYNTAX + ".4.81"] = 12, 2, dcmtk(u12, 12, "dcmcjpls", "+en", "+md", "2")[0]
    made[SYNTAX + ".4.90"] = 12, 0, jpeg2000(u12, 12)[0]
    made[SYNTAX + ".4.91"] = 12, 0, jpeg2000(u12, 12)[0]
    for last in (201, 202, 203):
        uid = f"{SYNTAX}.4.{last}"
        made[uid] = 12, 0, htj2k(u12, uid, reversible=True)[0]
    return made


def write_samples() -> None:
    lines = [SAMPLE_HEAD]
    for uid, (bits, error, frame) in samples().items():
        text = base64.b64encode(frame).decode("ascii")
        lines.append(f'    "{uid}": Sample(\n        {bits},\n        {error},\n')
        lines += [f'        "{text[at : at + 88]}"\n' for at in range(0, len(text), 88)]
        lines[-1] = lines[-1].rstrip() + ",\n    ),\n"
    target = HERE.parents[2] / "screener" / "decoder_samples.py"
    target.write_text("".join([*lines, "}\n"]), encoding="ascii")


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for old in HERE.glob("*.bin"):
        old.unlink()
    index: dict[str, Any] = {}
    for name, (kind, error, (frame, described)) in frames().items():
        (HERE / f"{name}.bin").write_bytes(frame)
        index[name] = {"image": kind, "largest_error": error, **described}
    text = json.dumps(index, indent=1, sort_keys=True)
    (HERE / "frames.json").write_text(text + "\n", encoding="ascii")
    write_samples()
    print(sum(path.stat().st_size for path in HERE.iterdir()), "bytes")


if __name__ == "__main__":
    main()
