"""From pixel data to stored values: frames, padding, LUTs, windows, inversion, colour, damage."""

from __future__ import annotations

import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEG2000Lossless, RLELossless

from screener.dicom import read_instance
from screener.dicom_frames import ends_early, read_frame
from screener.dicom_pixels import DicomPixels, describe_pixels, read_stored
from screener.domain import Limits
from screener.eligibility import judge_header
from screener.errors import FileRejected
from screener.outcomes import ReasonCode, Warn
from screener.preprocess import Lut, Window, preprocess
from screener.stored_values import cells_to_values
from tests.dicom_films import (
    DATA,
    PYDICOM_FILES,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    film,
    film_dataset,
    film_values,
    patched,
    raw_element,
    read_file,
    written,
)
from tests.faults.seeds import seed

LIMITS = Limits()


def stored(content: memoryview | bytes, *, full_size: bool = True) -> DicomPixels:
    return read_stored(read_instance(memoryview(content), LIMITS), LIMITS, full_size=full_size)


def rejection_of(content: memoryview | bytes) -> ReasonCode:
    with pytest.raises(FileRejected) as caught:
        stored(content)
    return caught.value.rejection.code


def encapsulated(*fragments: bytes, offsets: bytes = b"", end: bool = True) -> memoryview:
    """The film with `fragments` as its pixel data, in RLE."""
    content = bytes(film())
    content = content.replace(
        raw_element(0x00020010, "UI", ExplicitVRLittleEndian.encode() + b"\0"),
        raw_element(0x00020010, "UI", RLELossless.encode() + b"\0"),
    )
    start = content.index(b"\xe0\x7f\x10\x00OW")
    value = b"".join(
        b"\xfe\xff\x00\xe0" + struct.pack("<L", len(item)) + item for item in (offsets, *fragments)
    )
    if end:
        value += b"\xfe\xff\xdd\xe0\0\0\0\0"
    return memoryview(content[:start] + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + value)


def rle_frame() -> bytes:
    dataset = film_dataset()
    written(dataset)
    dataset.compress(RLELossless, generate_instance_uid=False)
    return next(iter(generate_frames(dataset.PixelData, number_of_frames=1)))


RLE = rle_frame()


# --- frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_native_syntaxes_bit_for_bit(syntax: str) -> None:
    pixels = stored(film(syntax))
    assert np.array_equal(pixels.stored.values, film_values())
    assert pixels.valid is None
    assert pixels.display.invert


def test_one_frame_in_several_fragments() -> None:
    middle = len(RLE) // 4 * 2
    for content in (
        encapsulated(RLE),
        encapsulated(RLE, offsets=bytes(4)),
        encapsulated(RLE[:middle], RLE[middle:]),
        encapsulated(RLE[:middle], b"", RLE[middle:]),
    ):
        assert np.array_equal(stored(content).stored.values, film_values())


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (encapsulated(RLE, end=False), ReasonCode.TRUNCATED),
        (encapsulated(RLE)[:-9], ReasonCode.TRUNCATED),
        (encapsulated(RLE)[:-2000], ReasonCode.TRUNCATED),
        (encapsulated(), ReasonCode.NO_PIXEL_DATA),
        (encapsulated(b""), ReasonCode.NO_PIXEL_DATA),
        (encapsulated(RLE, RLE, offsets=struct.pack("<2L", 0, len(RLE) + 8)), ReasonCode.MALFORMED),
        (bytes(encapsulated(RLE)).replace(b"\xfe\xff\xdd\xe0", b"\xfe\xff\xde\xe0"),
         ReasonCode.MALFORMED),
        (bytes(encapsulated(RLE)).replace(RLELossless.encode() + b"\0", b"1.2.840.10008.1.2.1\0"),
         ReasonCode.MALFORMED),
        (bytes(film()).replace(b"1.2.840.10008.1.2.1\0", RLELossless.encode() + b"\0"),
         ReasonCode.MALFORMED),
        (bytes(film()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"),
         ReasonCode.UNSUPPORTED_SYNTAX),
        (bytes(encapsulated(RLE)).replace(RLELossless.encode() + b"\0", b"1.2.840.10008.1.2.9\0"),
         ReasonCode.UNSUPPORTED_SYNTAX),
        (film(PixelData=None), ReasonCode.NO_PIXEL_DATA),
        (film(PixelData=b""), ReasonCode.NO_PIXEL_DATA),
        (film(PixelData=None, Rows=None), ReasonCode.TRUNCATED),
        (film(PixelRepresentation=None), ReasonCode.MALFORMED),
        (film(BitsStored=None), ReasonCode.MALFORMED),
        (film(PhotometricInterpretation=None), ReasonCode.MALFORMED),
        (film(Rows=None), ReasonCode.MALFORMED),
        (film()[:-1], ReasonCode.TRUNCATED),
        (film()[:-10000], ReasonCode.TRUNCATED),
        (film(Rows=164), ReasonCode.MALFORMED),
        (film(Rows=80), ReasonCode.MALFORMED),
        (film(Columns=150), ReasonCode.MALFORMED),
        (film(BitsAllocated=8, BitsStored=8, HighBit=7), ReasonCode.MALFORMED),
        (film(Rows=65535, Columns=65535), ReasonCode.MALFORMED),
        (film(HighBit=3), ReasonCode.INVALID_PIXELS),
        (film(BitsStored=0, HighBit=0), ReasonCode.INVALID_PIXELS),
        (film(BitsStored=20, HighBit=19), ReasonCode.INVALID_PIXELS),
        (film(PhotometricInterpretation="PALETTE COLOR"), ReasonCode.INVALID_PIXELS),
        (film(RescaleSlope="0", RescaleIntercept="0"), ReasonCode.INVALID_PIXELS),
    ],
)  # fmt: skip
def test_damage(content: memoryview | bytes, code: ReasonCode) -> None:
    assert rejection_of(content) is code


@pytest.mark.parametrize("name", ["jpeg-baseline", "jpeg-lossless", "jpeg-ls", "jpeg2000", "htj2k"])
def test_a_whole_codestream_needs_no_delimiter(name: str) -> None:
    closed = seed(name)
    expected = stored(closed)
    assert not ends_early(read_instance(memoryview(closed), LIMITS))
    for end in (b"", bytes(8), bytes(300)):
        content = memoryview(closed[:-8] + end)
        assert np.array_equal(stored(content).stored.values, expected.stored.values)
        assert stored(content).warnings == expected.warnings | {Warn.HEADER}
        # A fetched file that lacks its end is fetched again.
        assert ends_early(read_instance(content, LIMITS))
    assert rejection_of(closed[:-7]) is ReasonCode.TRUNCATED
    assert rejection_of(closed[:-12]) is ReasonCode.TRUNCATED
    assert rejection_of(closed[:-12] + bytes(12)) is ReasonCode.TRUNCATED
    assert rejection_of(closed[:-8] + b"12345678") is ReasonCode.MALFORMED


def test_a_fragment_that_is_missing_is_a_cut_file() -> None:
    middle = len(RLE) // 4 * 2
    assert rejection_of(encapsulated(RLE[:middle], end=False)) is ReasonCode.TRUNCATED
    assert rejection_of(encapsulated(end=False)) is ReasonCode.TRUNCATED


@pytest.mark.parametrize("whole", [film(), film(DeflatedExplicitVRLittleEndian), encapsulated(RLE)])
def test_no_cut_film_is_ever_decoded(whole: memoryview) -> None:
    codes = set()
    for size in [*range(132, len(whole), 251), len(whole) - 1]:
        try:
            file = read_instance(whole[:size], LIMITS)
            assert judge_header(file.instance, (16, 90), secondary_capture=False) is None
            read_stored(file, LIMITS, full_size=False)
        except FileRejected as rejected:
            codes.add(rejected.rejection.code)
        else:
            pytest.fail(f"{size} of {len(whole)} bytes decoded")
    assert codes <= {ReasonCode.TRUNCATED, ReasonCode.NO_PIXEL_DATA}


def test_zeros_behind_the_frame_are_told_and_nothing_else_is_taken() -> None:
    values = film_values().tobytes()
    padded = stored(film(PixelData=values + bytes(512)))
    assert Warn.HEADER in padded.warnings
    assert np.array_equal(padded.stored.values, film_values())
    assert rejection_of(film(PixelData=values + b"\1" * 512)) is ReasonCode.MALFORMED
    assert rejection_of(film(PixelData=values + bytes(len(values)))) is ReasonCode.MALFORMED


def test_the_attributes_that_follow_from_others_may_be_missing() -> None:
    pixels = stored(film(HighBit=None, SamplesPerPixel=None))
    assert Warn.HEADER in pixels.warnings
    assert np.array_equal(pixels.stored.values, film_values())


def test_a_wrong_high_bit_is_told_and_does_no_harm() -> None:
    pixels = stored(film(HighBit=15))
    assert np.array_equal(pixels.stored.values, film_values())
    assert Warn.HEADER in pixels.warnings
    old = stored(film(HighBit=15, PixelData=(film_values() << 1).tobytes()))
    assert np.array_equal(old.stored.values, film_values())


def test_too_large() -> None:
    content = film()
    file = read_instance(content, LIMITS)
    with pytest.raises(FileRejected) as caught:
        read_stored(file, replace(LIMITS, pixels=1000), full_size=False)
    assert caught.value.rejection.code is ReasonCode.TOO_LARGE


@pytest.mark.parametrize("group", [0x6000, 0x601E])
def test_the_dots_of_an_overlay_in_unused_bits_are_not_averaged_into_the_film(group: int) -> None:
    # 8 bits of 10: no mean with a dotted overlay passes 10.
    plane = np.tile(film_values() >> 7, (6, 6))
    with_dots = plane.copy()
    with_dots[400:600:2, 300:700:2] |= 1 << 10
    frame = bytes(imagecodecs.jpeg2k_encode(with_dots, level=0, codecformat="j2k", reversible=True))
    dataset = film_dataset(Rows=plane.shape[0], Columns=plane.shape[1], BitsStored=10, HighBit=9)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.add_new((group, 0x0100), "US", 16)
    dataset.add_new((group, 0x0102), "US", 10)
    pixels = stored(written(dataset, JPEG2000Lossless), full_size=False)
    assert np.array_equal(pixels.stored.values, plane)
    dataset[group, 0x0102].value = 0  # in its own group
    assert stored(written(dataset, JPEG2000Lossless), full_size=False).stored.levels_dropped == 1


def test_overlay_bits_are_masked_and_overlay_groups_ignored() -> None:
    values = film_values() >> 3
    marked = (values | (np.arange(values.size).reshape(values.shape) % 2 << 12)).astype("<u2")
    dataset = film_dataset(BitsStored=12, HighBit=11, PixelData=marked.tobytes(), RescaleSlope="1")
    dataset.add_new(0x60000010, "US", 163)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 12)
    assert np.array_equal(stored(written(dataset)).stored.values, values)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("signed", [0, 1])
def test_a_bits_stored_that_is_too_low_is_no_reason_to_turn_white_into_black(
    signed: int, syntax: str
) -> None:
    values = film_values().astype(np.int32)
    dataset = film_dataset(BitsStored=14 + signed, HighBit=13 + signed, PixelRepresentation=signed)
    dataset.PixelData = values.astype("<u2").tobytes()
    content = written(dataset)
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
        content = written(dataset, RLELossless)
    assert rejection_of(content) is ReasonCode.INVALID_PIXELS


def test_looking_at_the_unused_bits_of_a_large_film_takes_no_gigabytes() -> None:
    cells = np.full((6000, 6000), 0x1234, np.uint16)
    tracemalloc.start()
    try:
        values = cells_to_values(cells, 12, signed=False)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert int(values.max()) == 0x234
    assert most < values.nbytes + (200 << 20)


def test_words_and_garbage_in_the_unused_bits_are_cleared() -> None:
    values = film_values() >> 3
    rng = np.random.default_rng(5)
    for above in (
        rng.integers(0, 16, values.shape),
        np.full(values.shape, 9),
        np.where(rng.random(values.shape) < 0.01, 15, 0),
    ):
        marked = (values | above << 12).astype("<u2")
        dataset = film_dataset(BitsStored=12, HighBit=11, PixelData=marked.tobytes())
        assert np.array_equal(stored(written(dataset)).stored.values, values)
    # A sign that was not extended.
    signed = values.astype(np.int16) - 1900
    dataset = film_dataset(BitsStored=12, HighBit=11, PixelRepresentation=1)
    dataset.PixelData = (signed & 0xFFF).astype("<u2").tobytes()
    assert np.array_equal(stored(written(dataset)).stored.values, signed)
    # Nor that of padding, beside which nothing is negative.
    padded = film_values().astype(np.int16) >> 4
    padded[:40], padded[:, :20] = -2048, -2048
    dataset.PixelData = (padded & 0xFFF).astype("<u2").tobytes()
    assert np.array_equal(stored(written(dataset)).stored.values, padded)


# --- sign and padding ---------------------------------------------------------------------------


def signed_film(padding: int | None = None, **changes: Any) -> memoryview:
    values = film_values().astype(np.int16) - 16000
    values[:40] = -20000
    dataset = film_dataset(
        BitsStored=16, HighBit=15, PixelRepresentation=1, PixelData=values.tobytes(), **changes
    )
    if padding is not None:
        dataset.add_new(0x00280120, "SS", padding)
    return written(dataset)


def test_signed_pixels_and_signed_padding() -> None:
    pixels = stored(signed_film(-20000))
    assert pixels.stored.values.min() == -20000
    assert pixels.valid is not None
    assert not pixels.valid[:40].any()
    assert pixels.valid[40:].all()


def test_padding_in_unsigned_vr_and_signed_pixels() -> None:
    dataset_bytes = signed_film()
    start = bytes(dataset_bytes).index(raw_element(0x00281050, "DS", b"")[:6])
    element = raw_element(0x00280120, "US", struct.pack("<h", -20000))
    content = bytes(dataset_bytes)[:start] + element + bytes(dataset_bytes)[start:]
    valid = stored(content).valid
    assert valid is not None
    assert not valid[:40].any()


@pytest.mark.parametrize(
    ("padding", "limit", "invalid"),
    [(0, None, {0}), (0, 2, {0, 1, 2}), (2, 0, {0, 1, 2}), (4, None, set())],
)
def test_padding_range(padding: int, limit: int | None, invalid: set[int]) -> None:
    values = film_values().copy() + 10
    values[0, :4] = (0, 1, 2, 3)
    changes: dict[str, Any] = {"PixelPaddingValue": padding}
    if limit is not None:
        changes["PixelPaddingRangeLimit"] = limit
    content = film(PixelData=values.tobytes(), **changes)
    pixels = stored(content, full_size=False)
    assert pixels.valid is not None or not invalid
    marked = set() if pixels.valid is None else set(pixels.stored.values[~pixels.valid].tolist())
    assert marked == invalid


def test_padding_forces_full_size() -> None:
    content = read_file("RG1_J2KR.dcm")
    small = stored(content, full_size=False)
    assert small.stored.levels_dropped > 0
    dataset = pydicom.dcmread(DATA / "RG1_J2KR.dcm")
    dataset.add_new(0x00280120, "US", 0)
    whole = stored(written(dataset, JPEG2000Lossless), full_size=False)
    assert whole.stored.levels_dropped == 0
    assert whole.stored.values.shape == (1955, 1841)


# --- how it is to be shown ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "invert"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, True),
        ({"PhotometricInterpretation": "MONOCHROME2"}, False),
        ({"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "INVERSE"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, True),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"}, True),
        ({"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "IDENTITY"}, False),
    ],
)
def test_inversion(changes: dict[str, Any], invert: bool) -> None:
    assert stored(film(**changes)).display.invert is invert


CENTER, WIDTH = 0x00281050, 0x00281051


@pytest.mark.parametrize(
    ("center", "width", "function", "voi"),
    [
        (b"40", b"400 ", None, Window(40, 400)),
        (b"40\\50", b"400\\1", None, Window(40, 400)),
        (b"-1.5E2", b"+80.5 ", "SIGMOID", Window(-150, 80.5, "SIGMOID")),
        (b"40", b"0.5 ", "LINEAR_EXACT", Window(40, 0.5, "LINEAR_EXACT")),
        (b"40", b"1 ", "LINEAR", Window(40, 1)),
        (b"40", b"0 ", None, None),
        (b"40", b"0.5 ", None, None),
        (b"40", b"-400", None, None),
        (b"", b"", None, None),
        (b"40", b"", None, None),
        (b"NaN ", b"400 ", None, None),
        (b"40", b"inf ", None, None),
        (b"1_0 ", b"400 ", None, None),
        (b"40", b"1E300 ", None, None),
        (b"\\40 ", b"400 ", None, None),
        (b"40", b"400 ", "SOMETHING", None),
        (b"40", b"0 ", "SIGMOID", None),
    ],
)
def test_windows(center: bytes, width: bytes, function: str | None, voi: Window | None) -> None:
    content = film(WindowCenter="1", WindowWidth="1", VOILUTFunction=function)
    content = patched(patched(content, CENTER, "DS", center), WIDTH, "DS", width)
    display = stored(content).display
    assert display.voi == voi
    assert display.voi_unusable is (voi is None)


def test_an_unusable_window_is_told_by_preprocessing() -> None:
    content = patched(film(), WIDTH, "DS", b"0 ")
    pixels = stored(content)
    presented = preprocess(pixels.stored.values, pixels.display, pixels.valid)
    assert presented.fell_back
    assert presented.voi_source == "PERCENTILES"


def test_no_window_is_no_fault() -> None:
    pixels = stored(film(WindowCenter=None, WindowWidth=None))
    assert pixels.display.voi is None
    presented = preprocess(pixels.stored.values, pixels.display, pixels.valid)
    assert not presented.fell_back
    assert presented.voi_source == "NONE"


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [
        (b"2 ", b"-1024 ", (2.0, -1024.0)),
        (b"-1", b"5 ", (-1.0, 5.0)),
        (b"", b"5 ", (1.0, 5.0)),
        (b"2 ", b"", (2.0, 0.0)),
        (b"0 ", b"5 ", None),
        (b"NaN ", b"5 ", None),
        (b"2 ", b"NaN ", None),
        (b"inf ", b"5 ", None),
        (b"1E300 ", b"5 ", None),
        (b"1E-300", b"5 ", None),
        (b"abc ", b"5 ", None),
    ],
)
def test_rescale(slope: bytes, intercept: bytes, expected: tuple[float, float] | None) -> None:
    content = film(RescaleSlope="1", RescaleIntercept="1")
    content = patched(content, 0x00281053, "DS", slope)
    content = patched(content, 0x00281052, "DS", intercept)
    if expected is None:
        assert rejection_of(content) is ReasonCode.INVALID_PIXELS
    else:
        display = stored(content).display
        assert (display.slope, display.intercept) == expected


def test_modality_lut_against_pydicom() -> None:
    dataset = pydicom.dcmread(DATA / "mlut_18.dcm")
    pixels = stored(read_file("mlut_18.dcm"))
    lut = pixels.display.modality_lut
    assert lut is not None
    index = np.clip(pixels.stored.values.astype(int) - lut.first_mapped, 0, len(lut.values) - 1)
    assert np.array_equal(pixels.stored.values, dataset.pixel_array)
    assert np.array_equal(lut.values[index], apply_modality_lut(dataset.pixel_array, dataset))
    assert pixels.display.needs_full_size


def test_voi_lut_against_pydicom() -> None:
    dataset = pydicom.dcmread(DATA / "vlut_04.dcm")
    pixels = stored(read_file("vlut_04.dcm"))
    lut = pixels.display.voi
    assert isinstance(lut, Lut)
    index = np.clip(pixels.stored.values.astype(int) - lut.first_mapped, 0, len(lut.values) - 1)
    assert np.array_equal(lut.values[index], apply_voi_lut(dataset.pixel_array, dataset))


def lut_item(descriptor: list[int], data: bytes) -> Dataset:
    dataset = Dataset()
    dataset.add_new(0x00283002, "US", descriptor)
    dataset.add_new(0x00283006, "OW", data)
    return dataset


LUT = lut_item([4, 100, 16], struct.pack("<4H", 1, 2, 3, 40000))
SHORT_LUT = lut_item([400, 100, 16], struct.pack("<4H", 1, 2, 3, 4))
SIGNED = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}
BYTE_LUT = lut_item([4, 100, 8], bytes((1, 2, 3, 4)))


def test_luts_of_words_and_of_bytes() -> None:
    for item, values in ((LUT, [1, 2, 3, 40000]), (BYTE_LUT, [1, 2, 3, 4])):
        lut = stored(film(VOILUTSequence=[item])).display.voi
        assert isinstance(lut, Lut)
        assert lut.first_mapped == 100
        assert lut.values.tolist() == values
    full = lut_item([0, 0, 16], np.arange(65536, dtype="<u2").tobytes())
    lut = stored(film(VOILUTSequence=[full])).display.voi
    assert isinstance(lut, Lut)
    assert len(lut.values) == 65536


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, 65000),
        ({"RescaleSlope": "-1", "RescaleIntercept": "0.5"}, -536),
        ({"RescaleSlope": "1", "RescaleIntercept": "-1024"}, -536),
        ({"RescaleSlope": "-1", "RescaleIntercept": "32767"}, 65000),
        (SIGNED, -536),
        (SIGNED | {"RescaleSlope": "1", "RescaleIntercept": "40000"}, 65000),
    ],
    ids=str,
)
def test_a_lut_maps_negative_values_where_the_rescale_gives_them(
    changes: dict[str, Any], first: int
) -> None:
    # In implicit VR nothing else says of which sign the descriptor is.
    item = lut_item([4, 65000, 16], struct.pack("<4H", 1, 2, 3, 4))
    plain = {"RescaleSlope": "1", "RescaleIntercept": "0"} | changes
    lut = stored(film(ImplicitVRLittleEndian, VOILUTSequence=[item], **plain)).display.voi
    assert isinstance(lut, Lut)
    assert lut.first_mapped == first


@pytest.mark.parametrize(
    ("keyword", "changes", "first"),
    [
        ("ModalityLUTSequence", SIGNED, -536),
        ("VOILUTSequence", SIGNED, -536),
        ("VOILUTSequence", {"RescaleSlope": "1", "RescaleIntercept": "-1024"}, -536),
        # A value of 65000 may be asked for: US means what it says.
        ("VOILUTSequence", {"RescaleSlope": "3", "RescaleIntercept": "-1024"}, 65000),
        ("VOILUTSequence", {}, 65000),
    ],
    ids=str,
)
def test_a_signed_first_value_that_a_gateway_wrote_as_us(
    keyword: str, changes: dict[str, Any], first: int
) -> None:
    # dcmtk writes US where implicit VR leaves open whether a descriptor is US or SS.
    item = lut_item([4, 65000, 16], struct.pack("<4H", 1, 2, 3, 4))
    display = stored(film(**{keyword: [item]}, **changes)).display
    lut = display.voi if keyword == "VOILUTSequence" else display.modality_lut
    assert isinstance(lut, Lut)
    assert lut.first_mapped == first


def test_nonsense_in_bits_stored_beside_padding_is_invalid() -> None:
    for bits in (0, 60000):
        content = film(BitsStored=bits, HighBit=15, PixelPaddingValue=0, RescaleSlope="2")
        assert rejection_of(content) is ReasonCode.INVALID_PIXELS


def test_the_first_usable_voi() -> None:
    lut = stored(film(VOILUTSequence=[LUT, SHORT_LUT])).display
    assert isinstance(lut.voi, Lut)
    window = stored(film(VOILUTSequence=[SHORT_LUT])).display
    assert isinstance(window.voi, Window)
    assert not window.voi_unusable
    none = stored(film(VOILUTSequence=[SHORT_LUT], WindowCenter=None, WindowWidth=None)).display
    assert none.voi is None
    assert none.voi_unusable
    empty = stored(film(VOILUTSequence=[], WindowCenter=None, WindowWidth=None)).display
    assert empty.voi is None
    assert not empty.voi_unusable


def test_a_modality_lut_that_cannot_be_applied_ends_the_way() -> None:
    good = stored(film(ModalityLUTSequence=[LUT])).display.modality_lut
    assert good is not None
    assert good.values.tolist() == [1, 2, 3, 40000]
    broken = film(ModalityLUTSequence=[SHORT_LUT])
    assert rejection_of(broken) is ReasonCode.INVALID_PIXELS
    content = bytes(film())
    start = content.index(b"\xe0\x7f\x10\x00OW")
    torn = raw_element(0x00283000, "SQ", b"\xfe\xff\x00\xe0\x40\0\0\0no item")
    assert rejection_of(content[:start] + torn + content[start:]) is ReasonCode.INVALID_PIXELS


# --- colour -------------------------------------------------------------------------------------


def colour_film(values: np.ndarray, **changes: Any) -> memoryview:
    photometric = changes.pop("PhotometricInterpretation", "RGB")
    return film(
        SamplesPerPixel=3,
        PhotometricInterpretation=photometric,
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        Rows=values.shape[0],
        Columns=values.shape[1],
        PixelData=values.tobytes() + bytes(values.size % 2),
        **changes,
    )


def grey_in_colour() -> np.ndarray:
    return np.repeat((film_values() >> 7).astype(np.uint8)[..., None], 3, axis=2)


def test_grey_in_rgb() -> None:
    pixels = stored(colour_film(grey_in_colour()))
    assert np.array_equal(pixels.stored.values, (film_values() >> 7).astype(np.uint8))
    assert not pixels.display.invert


def test_grey_in_ybr() -> None:
    values = grey_in_colour()
    values[..., 1:] = 128
    content = colour_film(values, PhotometricInterpretation="YBR_FULL")
    assert np.array_equal(stored(content).stored.values, values[..., 0])


@pytest.mark.parametrize(
    ("difference", "lossy", "code"),
    [
        (1, None, ReasonCode.COLOUR),
        (2, "01", None),
        (3, "01", ReasonCode.COLOUR),
        (1, "00", ReasonCode.COLOUR),
        (0, None, None),
    ],
)
def test_one_coloured_pixel(difference: int, lossy: str | None, code: ReasonCode | None) -> None:
    values = grey_in_colour()
    values[50, 50] = (100, 100 + difference, 100)
    content = colour_film(values, LossyImageCompression=lossy)
    if code is None:
        assert stored(content).stored.values[50, 50] == 100 + difference
    else:
        assert rejection_of(content) is code


def palette_film(*, coloured: bool) -> memoryview:
    dataset = film_dataset(
        PhotometricInterpretation="PALETTE COLOR",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=(film_values() >> 7).astype(np.uint8).tobytes(),
    )
    ramp = np.arange(256, dtype="<u2")[::-1] * 257
    for number, name in enumerate(("Red", "Green", "Blue")):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = np.roll(ramp, number) if coloured else ramp
        setattr(dataset, f"{name}PaletteColorLookupTableData", table.tobytes())
    return written(dataset)


def test_palettes() -> None:
    pixels = stored(palette_film(coloured=False))
    expected = (255 - (film_values() >> 7)).astype(int) * 257
    assert np.array_equal(pixels.stored.values, expected)
    assert rejection_of(palette_film(coloured=True)) is ReasonCode.COLOUR


# --- files that others wrote --------------------------------------------------------------------


def outcome(path: Path) -> str:
    """As if every file were to be screened: nothing but a rejection may come out."""
    try:
        file = read_instance(memoryview(path.read_bytes()), LIMITS)
        pixels = read_stored(file, LIMITS, full_size=False)
    except FileRejected as rejected:
        return rejected.rejection.code
    assert pixels.stored.values.ndim == 2
    return "DECODED"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RG1_UNCR.dcm", "DECODED"),
        ("RG1_J2KI.dcm", "DECODED"),
        ("CT_small.dcm", "DECODED"),
        ("MR_small_bigendian.dcm", "DECODED"),
        ("image_dfl.dcm", "DECODED"),
        ("MR_truncated.dcm", "TRUNCATED"),
        ("rtplan_truncated.dcm", "TRUNCATED"),
        ("reportsi.dcm", "TRUNCATED"),
        ("US1_UNCR.dcm", "COLOUR"),
        ("OBXXXX1A.dcm", "COLOUR"),
        ("rtdose_1frame.dcm", "DECODED"),
    ],
)
def test_files_by_name(name: str, expected: str) -> None:
    path = DATA / name
    assert outcome(path if path.exists() else PYDICOM_FILES / name) == expected


def test_whatever_a_file_holds_only_rejections_come_out(capfd: pytest.CaptureFixture[str]) -> None:
    paths = [path for folder in (DATA, PYDICOM_FILES) for path in sorted(folder.rglob("*.dcm"))]
    outcomes = {path.name: outcome(path) for path in paths if path.stat().st_size < 3_000_000}
    assert len(outcomes) > 120
    assert "DECODED" in outcomes.values()
    assert capfd.readouterr() == ("", "")


def test_encapsulated_as_pydicom_writes_it() -> None:
    dataset = film_dataset()
    dataset.PixelData = encapsulate([RLE])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    assert np.array_equal(stored(written(dataset, RLELossless)).stored.values, film_values())


def test_eight_bit_words_of_big_endian_are_swapped() -> None:
    """The same image in both byte orders, its 8-bit samples in words (PS3.5 8.1.1)."""
    found = []
    for name in ("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm"):
        file = read_instance(memoryview((DATA / name).read_bytes()), LIMITS)
        found.append(bytes(read_frame(file, describe_pixels(file))))
    assert found[0] == found[1]
