"""`screener.decoding`: bit-exact against files of other toolkits; what is cut is never decoded."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import data_store
import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile
from pydicom.encaps import get_frame

from screener import decoding, stored_values
from screener.codestream import read_jpeg2000_header
from screener.decoding import DECODERS, decode_frame, decoders
from screener.domain import Limits, PixelDescription
from screener.errors import FileRejected
from screener.frame_decoders import levels_to_drop, reduced_size
from screener.outcomes import ReasonCode

sys.path.insert(0, str(Path(__file__).parent / "data"))
from make_codestreams import COLUMNS, ROWS, image, write_native

CODESTREAMS = Path(__file__).parent / "data" / "codestreams"
FRAMES: dict[str, dict[str, Any]] = json.loads((CODESTREAMS / "frames.json").read_text())
PYDICOM_DATA = Path(data_store.__file__).parent / "data"
PYDICOM_OWN = Path(pydicom.__file__).parent / "data" / "test_files"
PYDICOM_FILES = sorted([*PYDICOM_OWN.glob("*.dcm"), *PYDICOM_DATA.glob("*.dcm")])
LIMITS = Limits()
CODED = [name for name in FRAMES if not name.startswith("rle")]
SYNTAX = "1.2.840.10008.1.2"
END = b"\xff\xd9"


def describe(**changes: Any) -> PixelDescription:
    """A 2 x 3 image of 12 bits in 16, native little endian, but for `changes`."""
    described: dict[str, Any] = {
        "rows": 2,
        "columns": 3,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": 16,
        "bits_stored": 12,
        "signed": False,
        "planar_configuration": 0,
        "transfer_syntax_uid": SYNTAX + ".1",
        **changes,
    }
    return PixelDescription(**{"high_bit": described["bits_stored"] - 1, **described})


def fixture(name: str) -> tuple[bytes, PixelDescription]:
    described = {
        key: value for key, value in FRAMES[name].items() if key not in ("image", "largest_error")
    }
    frame = (CODESTREAMS / f"{name}.bin").read_bytes()
    return frame, describe(rows=ROWS, columns=COLUMNS, **described)


def from_file(path: Path) -> tuple[bytes, PixelDescription]:
    """The first frame of a DICOM file, read by pydicom."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path)
        frames = int(ds.get("NumberOfFrames") or 1)
        syntax = ds.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated:
            frame = get_frame(ds.PixelData, 0, number_of_frames=frames)
        else:
            frame = ds.PixelData[: len(ds.PixelData) // frames]
        return frame, PixelDescription(
            ds.Rows,
            ds.Columns,
            ds.SamplesPerPixel,
            ds.PhotometricInterpretation,
            ds.BitsAllocated,
            ds.BitsStored,
            ds.HighBit,
            bool(ds.PixelRepresentation),
            int(ds.get("PlanarConfiguration") or 0),
            str(syntax),
        )


def has_pixels(path: Path) -> bool:
    if path.stem == "badVR":  # "1A" frames
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ds = pydicom.dcmread(path, specific_tags=["Rows", "PixelData"], defer_size=1024)
        except pydicom.errors.InvalidDicomError:
            return False
    return "Rows" in ds and "PixelData" in ds and "TransferSyntaxUID" in ds.file_meta


def decode(
    frame: bytes, description: PixelDescription, *, full_size: bool = True
) -> decoding.StoredPixels:
    return decode_frame(memoryview(frame), description, full_size=full_size, limits=LIMITS)


def refused(frame: bytes, description: PixelDescription, limits: Limits = LIMITS) -> ReasonCode:
    with pytest.raises(FileRejected) as caught:
        decode_frame(memoryview(frame), description, full_size=True, limits=limits)
    return caught.value.rejection.code


def changed(description: PixelDescription, **changes: Any) -> PixelDescription:
    names = PixelDescription.__dataclass_fields__
    return PixelDescription(**{name: getattr(description, name) for name in names} | changes)


def largest_error(first: NDArray[Any], second: NDArray[Any]) -> int:
    assert first.shape == second.shape
    return int(np.abs(first.astype(np.int64) - second).max())


# ---- what other toolkits wrote


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_that_dcmtk_or_openjpeg_wrote_gives_the_image(name: str) -> None:
    frame, description = fixture(name)
    stored = decode(frame, description)
    expected = image(FRAMES[name]["image"])
    assert stored.levels_dropped == 0
    assert (stored.values.dtype.kind == "i") == description.signed
    assert stored.values.dtype.isnative
    assert largest_error(stored.values, expected) <= FRAMES[name]["largest_error"]


def test_values_beyond_the_range_are_clipped_and_never_wrap() -> None:
    # OpenJPH wraps them: black beside white comes out white.
    y, x = np.mgrid[0:900, 0:900]
    board = np.where((x // 37 + y // 41) % 2, 0, 65535).astype(np.uint16)
    every_second = board[::2, ::2].astype(np.int64)
    for suffix, options in (
        (".4.201", {"reversible": True}),
        (".4.203", {"reversible": False, "level": 0.01}),
    ):
        frame = bytes(imagecodecs.htj2k_encode(board, **options))
        uid = SYNTAX + suffix
        description = describe(rows=900, columns=900, bits_stored=16, transfer_syntax_uid=uid)
        assert largest_error(decode(frame, description).values, board) < 2000
        reduced = decode(frame, description, full_size=False)
        assert reduced.levels_dropped == 1
        assert largest_error(reduced.values, every_second) < 30000


PAIRS = [
    ("693_J2KR.dcm", "693_UNCR.dcm"),
    ("MR2_J2KR.dcm", "MR2_UNCR.dcm"),
    ("RG1_J2KR.dcm", "RG1_UNCR.dcm"),
    ("RG3_J2KR.dcm", "RG3_UNCR.dcm"),
    ("US1_J2KR.dcm", "US1_UNCR.dcm"),
    ("emri_small_jpeg_2k_lossless.dcm", "emri_small.dcm"),
    ("emri_small_jpeg_ls_lossless.dcm", "emri_small.dcm"),
    ("emri_small_RLE.dcm", "emri_small.dcm"),
    ("emri_small_big_endian.dcm", "emri_small.dcm"),
    ("OBXXXX1A_rle.dcm", "OBXXXX1A.dcm"),
    ("SC_rgb_expb_16bit.dcm", "SC_rgb_16bit.dcm"),
    ("color-pl.dcm", "color-px.dcm"),
]
OWN_PAIRS = [
    ("MR_small_RLE.dcm", "MR_small.dcm"),
    ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
    ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
    ("MR_small_bigendian.dcm", "MR_small.dcm"),
    ("MR_small_implicit.dcm", "MR_small.dcm"),
    ("rtdose_rle_1frame.dcm", "rtdose_1frame.dcm"),
    ("rtdose_expb_1frame.dcm", "rtdose_1frame.dcm"),
]


TWINS = {PYDICOM_DATA / coded: PYDICOM_DATA / native for coded, native in PAIRS}
TWINS |= {PYDICOM_OWN / coded: PYDICOM_OWN / native for coded, native in OWN_PAIRS}


@pytest.mark.parametrize(
    ("coded", "native"),
    TWINS.items(),
    ids=lambda path: path.stem,
)
def test_real_files_of_one_image_in_two_syntaxes_agree_to_the_bit(
    coded: Path, native: Path
) -> None:
    first, second = decode(*from_file(coded)).values, decode(*from_file(native)).values
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("SC_rgb_dcmtk_+eb+cr", "SC_rgb_dcmtk_ebcr_dcmd"),
        ("SC_rgb_dcmtk_+eb+cy+n1", "SC_rgb_dcmtk_ebcyn1_dcmd"),
        ("SC_rgb_dcmtk_+eb+cy+n2", "SC_rgb_dcmtk_ebcyn2_dcmd"),
        ("SC_rgb_dcmtk_+eb+cy+np", "SC_rgb_dcmtk_ebcynp_dcmd"),
        ("SC_rgb_dcmtk_+eb+cy+s2", "SC_rgb_dcmtk_ebcys2_dcmd"),
        ("SC_rgb_dcmtk_+eb+cy+s4", "SC_rgb_dcmtk_ebcys4_dcmd"),
        ("SC_rgb_rle", "SC_rgb"),
        ("SC_rgb_jpeg_gdcm", "SC_rgb"),
        ("SC_rgb_jls_lossy_line", "SC_rgb"),
        ("SC_rgb_jls_lossy_sample", "SC_rgb"),
    ],
)
def test_colour_is_rgb_as_dcmtk_decodes_it(name: str, reference: str) -> None:
    values = decode(*from_file(PYDICOM_OWN / f"{name}.dcm")).values
    expected = decode(*from_file(PYDICOM_DATA / f"{reference}.dcm")).values
    # Near-lossless 2 levels; lossy by another libjpeg, whose chroma upsampling may differ.
    lossy = {"jls": 5, "+eb": 3}
    bound = next((error for part, error in lossy.items() if part in name), 0)
    assert largest_error(values, expected) <= bound


@pytest.mark.parametrize(
    ("name", "grey"),
    [
        ("SC_rgb_jpeg.dcm", True),  # an Adobe segment too short to count
        ("SC_jpeg_no_color_transform.dcm", True),
        ("SC_jpeg_no_color_transform_2.dcm", False),
        ("SC_rgb_jpeg_app14_dcmd.dcm", False),
    ],
)
def test_rgb_that_was_never_transformed_is_left_alone(name: str, grey: bool) -> None:
    values = decode(*from_file(PYDICOM_OWN / name)).values
    # What pydicom's own tests expect at this place.
    assert values[100, 100].tolist() == ([244, 244, 244] if grey else [246, 246, 246])


def test_native_ybr_is_converted() -> None:
    for path in (
        PYDICOM_DATA / "SC_ybr_full_uncompressed.dcm",
        PYDICOM_OWN / "SC_ybr_full_422_uncompressed.dcm",
    ):
        expected = pydicom.dcmread(path).pixel_array
        assert largest_error(decode(*from_file(path)).values, expected) <= 1


def test_an_unsigned_codestream_of_signed_pixels_is_twos_complement() -> None:
    values = decode(*from_file(PYDICOM_OWN / "J2K_pixelrep_mismatch.dcm"), full_size=False).values
    assert (values.dtype, int(values[0, 0])) == (np.int16, -2000)


@pytest.mark.parametrize("filling", [b"\0", b"\xff\xff", b"\n", b" ", b"\r\n\0"])
@pytest.mark.parametrize("name", ["jpeg_baseline_u8", "jpeg_ls_u12", "jpeg2000_u12", "htj2k_u12"])
def test_what_fills_up_behind_the_end_marker_does_no_harm(name: str, filling: bytes) -> None:
    frame, description = fixture(name)
    filled = decode(frame.rstrip(b"\0") + filling, description)
    assert np.array_equal(filled.values, decode(frame, description).values)
    assert refused(frame.rstrip(b"\0") + b"more", description) is ReasonCode.FRAME_TRUNCATED


def test_a_jp2_file_in_place_of_a_codestream_is_read() -> None:
    stored = decode(*from_file(PYDICOM_OWN / "GDCMJ2K_TextGBR.dcm"))
    assert stored.values.shape == (400, 400, 3)


@pytest.mark.parametrize(
    "path",
    # The others are compared with their uncompressed twins above.
    [path for path in PYDICOM_FILES if path not in TWINS and has_pixels(path)],
    ids=lambda path: path.stem,
)
def test_whole_frames_of_pydicom_decode_as_pydicom_decodes_them(path: Path) -> None:
    """No false alarm: what another reader shows, this one shows, or a stated rule forbids."""
    frame, description = from_file(path)
    forbidden = {
        "JPEG2000-embedded-sequence-delimiter": ReasonCode.MALFORMED,  # get_frame mends it not
        "MR_small_padded": ReasonCode.MALFORMED,  # 128 bytes too many
        "MR_truncated": ReasonCode.FRAME_TRUNCATED,
        "emri_small_jpeg_2k_lossless_too_short": ReasonCode.FRAME_TRUNCATED,
        "liver": ReasonCode.INVALID_PIXELS,  # one bit a pixel
        "liver_expb": ReasonCode.INVALID_PIXELS,
        "liver_1frame": ReasonCode.INVALID_PIXELS,
        "liver_expb_1frame": ReasonCode.INVALID_PIXELS,
        "SC_rgb_32bit": ReasonCode.INVALID_PIXELS,  # colour of 32 bits
        "SC_rgb_expb_32bit": ReasonCode.INVALID_PIXELS,
        "SC_rgb_32bit_2frame": ReasonCode.INVALID_PIXELS,
        "SC_rgb_expb_32bit_2frame": ReasonCode.INVALID_PIXELS,
        "SC_rgb_rle_32bit": ReasonCode.INVALID_PIXELS,
        "SC_rgb_rle_32bit_2frame": ReasonCode.INVALID_PIXELS,
    }
    if path.stem in forbidden:
        assert refused(frame, description) is forbidden[path.stem]
    else:
        values = decode(frame, description).values
        assert values.shape[:2] == (description.rows, description.columns)


@pytest.mark.skipif(not shutil.which("dcmdjpeg"), reason="needs dcmtk's dcmdjpeg")
@pytest.mark.parametrize(("process", "bits"), [("+eb", 8), ("+ee", 12), ("+ee", 8)])
def test_lossy_jpeg_is_what_dcmtk_decodes(process: str, bits: int, tmp_path: Path) -> None:
    values = image("u8" if bits == 8 else "u12")
    paths = [tmp_path / name for name in ("native.dcm", "jpeg.dcm", "back.dcm")]
    write_native(values, bits, paths[0])
    for command in (["dcmcjpeg", process, "+q", "70"], ["dcmdjpeg"]):
        source = paths[0] if command[0] == "dcmcjpeg" else paths[1]
        target = paths[1] if command[0] == "dcmcjpeg" else paths[2]
        subprocess.run([*command, source, target], check=True, capture_output=True)
    ours, theirs = decode(*from_file(paths[1])).values, decode(*from_file(paths[2])).values
    assert largest_error(ours, theirs) <= 1  # the inverse DCT may round either way


# ---- what is cut


def cut_lengths(frame: bytes) -> list[int]:
    step = max(1, len(frame) // 60)
    return sorted({*range(0, len(frame), step), *range(max(0, len(frame) - 8), len(frame))})


CUT_CODES = (ReasonCode.FRAME_TRUNCATED, ReasonCode.MALFORMED, ReasonCode.DECODE_ERROR)


@pytest.mark.parametrize("name", CODED)
def test_a_cut_frame_is_never_decoded(name: str) -> None:
    frame, description = fixture(name)
    whole = frame.rstrip(b"\x00\xff")
    for length in cut_lengths(whole):
        for patch in (b"", b"\x00", b"\xff\xff", b"\x00" * 64):
            assert refused(whole[:length] + patch, description) in CUT_CODES, (length, patch)


@pytest.mark.parametrize("name", [name for name in FRAMES if name.startswith("rle")])
def test_a_cut_rle_frame_is_never_decoded(name: str) -> None:
    # RLE has no end marker; a cut of the very last zero is the cut of padding.
    frame, description = fixture(name)
    for length in cut_lengths(frame.rstrip(b"\x00")):
        assert refused(frame[:length], description) in CUT_CODES, length
    for length in range(0, len(frame) - 16, 40):
        filled = frame[:length] + bytes(len(frame) - length)
        assert refused(filled, description) in CUT_CODES, length


@pytest.mark.parametrize("name", [name for name in FRAMES if "2k" in name or "2000" in name])
def test_a_cut_wavelet_frame_is_found_out_though_someone_closed_it(name: str) -> None:
    frame, description = fixture(name)
    whole = frame.rstrip(b"\x00\xff")
    for length in cut_lengths(whole[:-2]):
        refused(whole[:length] + END, description)


@pytest.mark.parametrize("name", ["RG1_J2KR.dcm", "MR2_J2KI.dcm", "JPEG-LL.dcm"])
def test_a_cut_film_is_never_decoded(name: str) -> None:
    frame, description = from_file(PYDICOM_DATA / name)
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999):
        assert refused(frame[: int(len(frame) * share)], description) in (
            ReasonCode.FRAME_TRUNCATED,
            ReasonCode.MALFORMED,
        )


def test_missing_tiles_are_found_out() -> None:
    values = np.tile(image("u12"), (12, 12))
    frame = bytes(imagecodecs.htj2k_encode(values, reversible=True, tile=(100, 100), resolutions=2))
    rows, columns = values.shape
    uid = SYNTAX + ".4.201"
    description = describe(rows=rows, columns=columns, bits_stored=16, transfer_syntax_uid=uid)
    assert np.array_equal(decode(frame, description).values, values)
    last_tile = frame.rindex(b"\xff\x90\x00\x0a")
    assert refused(frame[:last_tile] + END, description) is ReasonCode.FRAME_TRUNCATED


# ---- what the header claims


def test_an_unknown_syntax_has_no_decoder() -> None:
    description = describe(transfer_syntax_uid="1.2.840.10008.1.2.4.100")
    assert refused(bytes(12), description) is ReasonCode.UNSUPPORTED_SYNTAX


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 0},
        {"columns": 0},
        {"bits_allocated": 1, "bits_stored": 1},
        {"bits_allocated": 12, "bits_stored": 12},
        {"bits_allocated": 64, "bits_stored": 64},
        {"bits_stored": 0},
        {"bits_stored": 20},
        {"high_bit": 3},
        {"high_bit": 10},
        {"high_bit": 16},
        {"samples_per_pixel": 3},
        {"samples_per_pixel": 3, "photometric_interpretation": "MONOCHROME1"},
        {"photometric_interpretation": "RGB"},
        {"photometric_interpretation": "PALETTE COLOR", "samples_per_pixel": 3},
        {"photometric_interpretation": "HSV", "samples_per_pixel": 3},
        {"photometric_interpretation": ""},
        {"photometric_interpretation": "RGB", "samples_per_pixel": 3, "signed": True},
    ],
    ids=str,
)
def test_a_header_that_contradicts_itself_is_invalid(changes: dict[str, Any]) -> None:
    assert refused(bytes(36), describe(**changes)) is ReasonCode.INVALID_PIXELS


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize(
    "changes",
    [
        {"rows": ROWS + 1},
        {"columns": COLUMNS - 1},
        {"rows": COLUMNS, "columns": ROWS},
        {"rows": 60000, "columns": 1000},
    ],
    ids=str,
)
def test_a_codestream_of_another_size_is_malformed(name: str, changes: dict[str, Any]) -> None:
    frame, description = fixture(name)
    assert refused(frame, changed(description, **changes)) is ReasonCode.MALFORMED


@pytest.mark.parametrize("name", [name for name in CODED if FRAMES[name]["samples_per_pixel"] == 1])
def test_a_codestream_of_other_samples_is_malformed(name: str) -> None:
    frame, description = fixture(name)
    colour = changed(
        description, samples_per_pixel=3, photometric_interpretation="RGB", signed=False
    )
    assert refused(frame, colour) is ReasonCode.MALFORMED


def test_a_codestream_wider_than_its_cell_is_malformed() -> None:
    frame, description = fixture("jpeg2000_u12")
    narrow = changed(description, bits_allocated=8, bits_stored=8, high_bit=7)
    assert refused(frame, narrow) is ReasonCode.MALFORMED


@pytest.mark.parametrize("name", CODED)
def test_a_codestream_of_another_syntax_is_refused(name: str) -> None:
    frame, description = fixture(name)
    other = {"jpeg2": ".4.80", "htj2k": ".4.70"}.get(name[:5], ".4.90")
    if "jpeg_ls" not in name and name[:5] not in ("jpeg2", "htj2k"):
        other = ".4.80"
    uid = SYNTAX + other
    assert refused(frame, changed(description, transfer_syntax_uid=uid)) is ReasonCode.MALFORMED


@pytest.mark.parametrize("name", [*CODED, "rle_u12"])
def test_the_pixel_budget_is_checked_before_decoding(name: str) -> None:
    frame, description = fixture(name)
    small = Limits(pixels=ROWS * COLUMNS - 1)
    assert refused(frame, description, small) is ReasonCode.TOO_LARGE


def test_a_few_bytes_that_claim_a_huge_image_cost_nothing() -> None:
    frame, description = fixture("jpeg_ls_u12")
    sof = frame.index(b"\xff\xf7")
    bomb = frame[: sof + 5] + b"\xff\xdc\xff\xdc" + frame[sof + 9 :]
    huge = changed(description, rows=65500, columns=65500)
    assert refused(bomb, huge) is ReasonCode.TOO_LARGE
    assert refused(bomb, description) is ReasonCode.MALFORMED


def test_negative_values_of_unsigned_pixels_are_invalid() -> None:
    frame, description = fixture("jpeg2000_s12")
    unsigned = changed(description, signed=False)
    assert refused(frame, unsigned) is ReasonCode.INVALID_PIXELS


def test_signed_pixels_of_fewer_bits_are_invalid() -> None:
    frame, description = fixture("jpeg_extended_u12")
    wider = changed(description, signed=True, bits_stored=16, high_bit=15)
    assert refused(frame, wider) is ReasonCode.INVALID_PIXELS


# ---- cells to values


@pytest.mark.parametrize(
    ("cells", "changes", "values"),
    [
        ([0, 1, 4095], {}, [0, 1, 4095]),
        ([0xF001, 0x8FFF, 0x1000], {}, [1, 4095, 0]),  # overlay bits above BitsStored
        ([0x0800, 0x0FFF, 0x07FF], {"signed": True}, [-2048, -1, 2047]),  # not extended
        ([0xF800, 0xFFFF, 0x07FF], {"signed": True}, [-2048, -1, 2047]),  # extended
        ([0xA800, 0x1FFF, 0x77FF], {"signed": True}, [-2048, -1, 2047]),  # extended with rubbish
        ([0x8000, 0xFFFF, 0x7FFF], {"signed": True, "bits_stored": 16}, [-32768, -1, 32767]),
        ([0, 0xFFFF, 0x7FFF], {"bits_stored": 16}, [0, 65535, 32767]),
        ([0, 1, 3], {"bits_stored": 1}, [0, 1, 1]),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_native_cells(
    cells: list[int], changes: dict[str, Any], values: list[int], order: str
) -> None:
    uid = SYNTAX + (".1" if order == "<" else ".2")
    description = describe(rows=1, columns=3, transfer_syntax_uid=uid, **changes)
    stored = decode(np.array(cells, f"{order}u2").tobytes(), description)
    assert stored.values.tolist() == [values]
    assert stored.values.dtype == np.dtype("i2" if changes.get("signed") else "u2")


@pytest.mark.parametrize(
    ("cells", "changes", "values"),
    [
        ([0x0010, 0x8000, 0xFFF0], {}, [1, 2048, 4095]),  # as old editions had it
        ([0x0010, 0x8000, 0xFFF0], {"signed": True}, [1, -2048, -1]),
        ([0x0004, 0x2000, 0x3FFC], {"high_bit": 13}, [1, 2048, 4095]),
        ([0xC004, 0x2000, 0x7FFC], {"high_bit": 13}, [1, 2048, 4095]),  # overlay bits above
        ([1, 2048, 4095], {}, [1, 2048, 4095]),  # a wrong HighBit
        ([1, 0x0FFF, 0x0800], {"signed": True}, [1, -1, -2048]),
        ([1, 2048, 0x1000], {}, None),
        ([0x0011, 0x8000, 0xFFF0], {}, None),
    ],
)
@pytest.mark.parametrize("syntax", [".1", ".2", ".5"])
def test_the_pixels_say_where_the_high_bit_is(
    cells: list[int], changes: dict[str, Any], values: list[int] | None, syntax: str
) -> None:
    described = {"high_bit": 15, "rows": 1, "columns": 3, "transfer_syntax_uid": SYNTAX + syntax}
    description = describe(**(described | changes))
    frame = np.array(cells, ">u2" if syntax == ".2" else "<u2").tobytes()
    if syntax == ".5":
        planes = bytes([2, *frame[1::2]]), bytes([2, *frame[::2]])
        frame = struct.pack("<16I", 2, 64, 68, *[0] * 13) + planes[0] + planes[1]
    if values is None:
        assert refused(frame, description) is ReasonCode.INVALID_PIXELS
    else:
        assert decode(frame, description).values.tolist() == [values]


@pytest.mark.parametrize("name", ["jpeg2000_u12", "jpeg_ls_u12", "jpeg_extended_u12"])
def test_a_wrong_high_bit_of_a_codestream(name: str) -> None:
    frame, description = fixture(name)
    odd = changed(description, high_bit=15)
    if name == "jpeg_extended_u12":
        assert refused(frame, odd) is ReasonCode.INVALID_PIXELS
    else:
        values = decode(frame, description).values
        assert np.array_equal(decode(frame, odd, full_size=False).values, values)


@pytest.mark.parametrize(
    ("bits", "code"), [(8, "b"), (8, "B"), (16, "h"), (16, "H"), (32, "i"), (32, "I")]
)
def test_native_cells_of_every_width(bits: int, code: str) -> None:
    expected = np.array([[1, 2, 3], [4, 5, 100]], code)
    description = describe(bits_allocated=bits, bits_stored=bits, signed=code.islower())
    assert np.array_equal(decode(expected.tobytes(), description).values, expected)


def test_native_pixels_are_a_view() -> None:
    frame = np.arange(6, dtype="<u2").tobytes()
    values = decode(frame, describe()).values
    assert np.shares_memory(values, np.frombuffer(frame, np.uint8))


@pytest.mark.parametrize(
    ("length", "code"),
    [(0, "FRAME_TRUNCATED"), (11, "FRAME_TRUNCATED"), (13, "MALFORMED"), (24, "MALFORMED")],
)
def test_native_pixels_of_another_length_are_refused(length: int, code: str) -> None:
    assert refused(bytes(length), describe()) is ReasonCode(code)


def test_one_byte_of_padding_is_allowed_where_the_length_is_odd() -> None:
    description = describe(rows=3, bits_allocated=8, bits_stored=8)
    assert decode(bytes(9), description).values.shape == (3, 3)
    assert decode(bytes(10), description).values.shape == (3, 3)
    assert refused(bytes(11), description) is ReasonCode.MALFORMED


def test_planes_and_pixels_give_the_same_colours() -> None:
    rgb = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    colour = {"samples_per_pixel": 3, "photometric_interpretation": "RGB"}
    colour |= {"bits_allocated": 8, "bits_stored": 8}
    by_pixel = decode(rgb.tobytes(), describe(**colour)).values
    planes = np.moveaxis(rgb, -1, 0).tobytes()
    by_plane = decode(planes, describe(planar_configuration=1, **colour)).values
    assert np.array_equal(by_pixel, rgb)
    assert np.array_equal(by_plane, rgb)


def test_422_needs_even_columns() -> None:
    colour = {"samples_per_pixel": 3, "photometric_interpretation": "YBR_FULL_422"}
    description = describe(bits_allocated=8, bits_stored=8, **colour)
    assert refused(bytes(12), description) is ReasonCode.INVALID_PIXELS


def test_grey_ybr_becomes_grey_rgb() -> None:
    grey = np.full((1, 256, 3), 128, np.uint8)
    grey[0, :, 0] = np.arange(256)
    rgb = stored_values.ybr_to_rgb(grey, 8)
    assert np.array_equal(rgb, np.repeat(grey[..., :1], 3, axis=-1))


def test_extended_jpeg_of_a_grey_colour_film_is_converted_once() -> None:
    grey = (image("u12") >> 4).astype(np.uint8)
    frame = imagecodecs.jpeg8_encode(np.stack([grey] * 3, axis=-1), level=95)
    rows, columns = grey.shape
    description = describe(
        rows=rows,
        columns=columns,
        bits_allocated=8,
        bits_stored=8,
        samples_per_pixel=3,
        photometric_interpretation="YBR_FULL_422",
        transfer_syntax_uid=SYNTAX + ".4.51",
    )
    values = decode(bytes(frame), description).values.astype(int)
    assert np.ptp(values, axis=-1).max() == 0
    assert np.abs(values[..., 1] - grey).mean() < 4


def test_unused_bits_of_a_lossless_codestream_are_cleared_also_when_reduced() -> None:
    plane = np.tile(image("u12"), (20, 24))
    with_overlay = plane | 0x8000
    frame = bytes(
        imagecodecs.jpeg2k_encode(with_overlay, level=0, codecformat="j2k", reversible=True)
    )
    rows, columns = plane.shape
    description = describe(rows=rows, columns=columns, transfer_syntax_uid=SYNTAX + ".4.90")
    stored = decode(frame, description, full_size=False)
    assert stored.levels_dropped == 0
    assert np.array_equal(stored.values, plane)


def test_palette_indices_are_never_averaged() -> None:
    plane = np.tile(image("u8"), (20, 24))
    frame = bytes(imagecodecs.jpeg2k_encode(plane, level=0, codecformat="j2k", reversible=True))
    rows, columns = plane.shape
    palette = {"photometric_interpretation": "PALETTE COLOR", "bits_allocated": 8, "bits_stored": 8}
    uid = SYNTAX + ".4.90"
    description = describe(rows=rows, columns=columns, transfer_syntax_uid=uid, **palette)
    assert np.array_equal(decode(frame, description, full_size=False).values, plane)


# ---- RLE


def rle_frame(header: list[int], *segments: bytes) -> bytes:
    offsets = [*header, *[0] * (16 - len(header))]
    return np.array(offsets, "<u4").tobytes() + b"".join(segments)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "FRAME_TRUNCATED"),
        (bytes(63), "FRAME_TRUNCATED"),
        (rle_frame([1, 64], b"\x05abcdef"), "MALFORMED"),
        (rle_frame([2, 64, 64], b"\x05abcdef"), "MALFORMED"),
        (rle_frame([2, 70, 64], b"\x05abcdef", b"\x05abcdef"), "MALFORMED"),
        (rle_frame([2, 64, 6000], b"\x05abcdef", b"\x05abcdef"), "FRAME_TRUNCATED"),
        (rle_frame([2, 64, 71], b"\x05abcdef", b""), "FRAME_TRUNCATED"),
        (rle_frame([2, 64, 71], b"\x05abcdef", b"\x04abcde"), "FRAME_TRUNCATED"),
        (rle_frame([2, 64, 71], b"\x05abcdef", b"\x05abcde"), "DECODE_ERROR"),
        (rle_frame([2, 64, 71], b"\x05abcdef", b"\x06abcdefg"), "DECODE_ERROR"),
        (rle_frame([2, 64, 71], b"\x05abcdef", b"\x81a\x81a"), "DECODE_ERROR"),
        (rle_frame([0xFFFFFFFF, 64, 71], b"\x05abcdef", b"\x05abcdef"), "MALFORMED"),
    ],
)
def test_rle_segments_must_add_up(frame: bytes, code: str) -> None:
    description = describe(transfer_syntax_uid=SYNTAX + ".5")
    assert refused(frame, description) is ReasonCode(code)


def test_rle_planes_are_the_bytes_of_the_cells() -> None:
    frame = rle_frame([2, 64, 72], b"\x05\x01\x02\x03\x04\x05\x06\x00", b"\xfb\x10")
    description = describe(transfer_syntax_uid=SYNTAX + ".5")
    expected = [[0x110, 0x210, 0x310], [0x410, 0x510, 0x610]]
    assert decode(frame, description).values.tolist() == expected


@pytest.mark.parametrize("filling", [1, 2, 3, 4, 9])
def test_rle_segments_may_be_filled_up_with_zeros(filling: int) -> None:
    # One zero makes a segment even; some writers fill up to a multiple of four or more.
    high, low = b"\x05\x01\x02\x03\x04\x05\x00", b"\x80\xfc\x10\x00\x11"
    frame = rle_frame([2, 64, 71 + filling], high, bytes(filling), low, bytes(filling))
    description = describe(transfer_syntax_uid=SYNTAX + ".5")
    expected = [[0x110, 0x210, 0x310], [0x410, 0x510, 0x011]]
    assert decode(frame, description).values.tolist() == expected
    other = rle_frame([2, 64, 71 + filling], high, bytes(filling), low, bytes(filling), b"\x01\x02")
    assert refused(other, description) is ReasonCode.DECODE_ERROR


# ---- reduced sizes


@pytest.mark.parametrize(
    ("rows", "columns", "available", "levels"),
    [
        (2500, 2048, 5, 2),
        (2500, 2048, 1, 1),
        (2500, 2048, 0, 0),
        (4280, 3584, 5, 3),
        (4280, 3577, 5, 3),  # rounds up to 448
        (4280, 3576, 5, 2),
        (1792, 1792, 5, 2),
        (1784, 1792, 5, 1),
        (896, 5000, 5, 1),
        (894, 896, 5, 0),
        (448, 448, 5, 0),
        (10, 10, 5, 0),
        (20000, 20000, 32, 3),
    ],
)
def test_levels_leave_twice_the_models_size(
    rows: int, columns: int, available: int, levels: int
) -> None:
    assert levels_to_drop(rows, columns, available) == levels
    assert levels == 0 or min(reduced_size(rows, columns, levels)) >= 2 * 224


def area_weights(start: float, end: float, length: int) -> NDArray[np.float64]:
    """(224, length): how much of each pixel lies in each of 224 equal parts of [start, end]."""
    edges = np.linspace(start, end, 225)[:, None]
    weights = np.diff(np.clip(edges - np.arange(length), 0, 1), axis=0)
    return weights / weights.sum(axis=1, keepdims=True)


def shrunk(
    values: NDArray[Any], extent: tuple[float, float, float, float] | None = None
) -> NDArray[np.float64]:
    """To the model's size by exact area."""
    rows, columns = values.shape
    top, left, bottom, right = extent or (0, 0, rows, columns)
    down, across = area_weights(top, bottom, rows), area_weights(left, right, columns)
    return down @ values.astype(np.float64) @ across.T


@pytest.mark.parametrize(("name", "levels"), [("RG1_J2KI", 2), ("RG3_J2KI", 1), ("MR2_J2KR", 1)])
def test_a_real_film_reduced_is_the_film_shrunk(name: str, levels: int) -> None:
    frame, description = from_file(PYDICOM_DATA / f"{name}.dcm")
    stored = decode(frame, description, full_size=False)
    whole = decode(frame, description)
    assert (stored.levels_dropped, whole.levels_dropped) == (levels, 0)
    assert whole.extent is None
    rows, columns = description.rows, description.columns
    assert stored.values.shape == reduced_size(rows, columns, levels)
    expected = shrunk(whole.values)
    difference = np.abs(shrunk(stored.values, stored.extent) - expected).mean()
    assert difference < 0.014 * np.ptp(expected)
    # Taking the array's edges for the film's is a shift that can be seen.
    assert difference < 0.85 * np.abs(shrunk(stored.values) - expected).mean()


@pytest.mark.parametrize("tile_offset", [(0, 0), (5, 3), (13, 7)])
def test_an_image_off_the_origin_is_decoded_whole(tile_offset: tuple[int, int]) -> None:
    # Pillow cannot reduce it: "broken data stream".
    plane = np.tile(image("u8"), (60, 60))[:1000, :990]
    stream = io.BytesIO()
    options = {"offset": (13, 7), "tile_offset": tile_offset, "tile_size": (1024, 1024)}
    Image.fromarray(plane).save(stream, "JPEG2000", no_jp2=True, **options)
    assert read_jpeg2000_header(stream.getvalue()).origin == (7, 13)
    description = describe(
        rows=1000,
        columns=990,
        bits_allocated=8,
        bits_stored=8,
        transfer_syntax_uid=SYNTAX + ".4.90",
    )
    stored = decode(stream.getvalue(), description, full_size=False)
    assert (stored.levels_dropped, stored.extent) == (0, None)
    assert np.array_equal(stored.values, plane)


SIZES = [(897, 898), (1795, 1801), (1794, 2003)]


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("syntax", [".4.90", ".4.201"])
@pytest.mark.parametrize("kind", ["u12", "s12"])
def test_every_odd_size_can_be_reduced(rows: int, columns: int, syntax: str, kind: str) -> None:
    # Pillow's own `reduce` refuses most of these: it rounds where OpenJPEG rounds up.
    plane = np.tile(image(kind), (rows // ROWS + 1, columns // COLUMNS + 1))[:rows, :columns]
    plane = np.ascontiguousarray(plane)
    if syntax == ".4.90":
        frame = imagecodecs.jpeg2k_encode(
            plane, level=0, codecformat="j2k", bitspersample=12, reversible=True
        )
    else:
        frame = imagecodecs.htj2k_encode(plane, reversible=True)
    description = describe(
        rows=rows,
        columns=columns,
        bits_stored=12 if syntax == ".4.90" else 16,
        signed=kind == "s12",
        transfer_syntax_uid=SYNTAX + syntax,
    )
    stored = decode(bytes(frame), description, full_size=False)
    levels = levels_to_drop(rows, columns)
    assert levels > 0
    assert stored.levels_dropped == levels
    assert stored.values.shape == (-(-rows // 2**levels), -(-columns // 2**levels))
    assert stored.values.dtype == plane.dtype
    assert np.array_equal(decode(bytes(frame), description).values, plane)


@pytest.mark.parametrize("resolutions", [1, 2])
def test_no_more_levels_are_dropped_than_the_codestream_has(resolutions: int) -> None:
    plane = np.tile(image("u12"), (32, 40))
    frame = bytes(
        imagecodecs.jpeg2k_encode(
            plane, level=0, codecformat="j2k", reversible=True, resolutions=resolutions
        )
    )
    levels = read_jpeg2000_header(frame).levels
    assert levels == resolutions - 1
    rows, columns = plane.shape
    uid = SYNTAX + ".4.90"
    description = describe(rows=rows, columns=columns, bits_stored=16, transfer_syntax_uid=uid)
    assert decode(frame, description, full_size=False).levels_dropped == levels


def test_a_coc_with_fewer_levels_counts() -> None:
    frame, _ = fixture("jpeg2000_u12")
    cod = frame.index(b"\xff\x52")
    qcd = frame.index(b"\xff\x5c")
    # Ccoc 0, Scoc 0, one level, then the code block's parameters of COD.
    coc = b"\xff\x53\x00\x09\x00\x00\x01" + frame[cod + 10 : cod + 14]
    frame = frame[: cod + 9] + b"\x05" + frame[cod + 10 :]
    assert read_jpeg2000_header(frame).levels == 5
    assert read_jpeg2000_header(frame[:qcd] + coc + frame[qcd:]).levels == 1


def test_a_tile_with_fewer_levels_counts() -> None:
    frame, _ = fixture("jpeg2000_u12")
    cod, tile = frame.index(b"\xff\x52"), frame.index(b"\xff\x90")
    length = int.from_bytes(frame[cod + 2 : cod + 4], "big")
    own = frame[cod : cod + 9] + b"\x01" + frame[cod + 10 : cod + 2 + length]
    frame = frame[: cod + 9] + b"\x05" + frame[cod + 10 :]
    assert read_jpeg2000_header(frame).levels == 5
    # Psot, the length of the tile-part, grows by what its header takes in.
    part = int.from_bytes(frame[tile + 6 : tile + 10], "big")
    start = frame[tile : tile + 6] + (part + len(own)).to_bytes(4, "big")
    frame = frame[:tile] + start + frame[tile + 10 : tile + 12] + own + frame[tile + 12 :]
    assert read_jpeg2000_header(frame).levels == 1


@pytest.mark.parametrize(("rows", "columns"), [(1793, 1801), (3601, 3585), (897, 2000)])
def test_baseline_is_scaled_in_the_dct(rows: int, columns: int) -> None:
    y, x = np.mgrid[0:rows, 0:columns]
    plane = (120 + 100 * np.sin(x / 90) * np.cos(y / 70)).astype(np.uint8)
    frame = bytes(imagecodecs.jpeg8_encode(plane, level=95))
    description = describe(
        rows=rows, columns=columns, bits_allocated=8, bits_stored=8,
        transfer_syntax_uid=SYNTAX + ".4.50",
    )  # fmt: skip
    stored = decode(frame, description, full_size=False)
    levels = levels_to_drop(rows, columns)
    assert stored.levels_dropped == levels > 0
    assert stored.values.shape == reduced_size(rows, columns, levels)
    expected = shrunk(decode(frame, description).values)
    assert np.abs(shrunk(stored.values, stored.extent) - expected).mean() < 0.7
    assert decode(frame, description).values.shape == (rows, columns)


# ---- the table of decoders


def test_every_syntax_of_the_readme_works_here() -> None:
    statuses = decoders()
    suffixes = ["", ".1", ".1.99", ".2", ".5"]
    suffixes += [f".4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)]
    assert {status.syntax_uid for status in statuses} == {SYNTAX + suffix for suffix in suffixes}
    for status in statuses:
        assert status.works, status
        assert status.version[0].isdigit(), status
        assert not status.mend


def test_a_broken_decoder_is_shown_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    # A real fault: Pillow's switch that lets truncated images through.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    broken = [status.syntax_uid for status in decoders() if not status.works]
    assert broken == [SYNTAX + f".4.{n}" for n in (50, 90, 91, 201, 202, 203)]
    assert all("pip install" in s.mend for s in decoders() if not s.works)


def test_the_decoder_is_named_with_its_version() -> None:
    for name in ("jpeg2000_u12", "jpeg_ls_u12", "rle_u12"):
        frame, description = fixture(name)
        library, version = decode(frame, description).decoder.split(" ")
        assert library == DECODERS[description.transfer_syntax_uid].library
        assert version[0].isdigit()


def test_a_librarys_words_are_not_passed_on() -> None:
    frame, description = fixture("jpeg2000_u12")
    broken = bytearray(frame)
    middle = frame.index(b"\xff\x93") + 2
    broken[middle : middle + 40] = bytes(40)
    with pytest.raises(FileRejected) as caught:
        decode(bytes(broken[:middle]) + b"\x00" * 8 + frame[-2:], description)
    assert caught.value.__cause__ is None
