"""Headers: every field, every syntax, every kind of damage, and all files of two packages."""

from __future__ import annotations

import random
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from screener.dicom import DicomFile, read_instance
from screener.domain import OWN_MANUFACTURER, FileKind, Instance, Limits, View
from screener.eligibility import judge_header
from screener.errors import FileRejected
from screener.outcomes import ReasonCode, Warn
from tests.dicom_films import (
    DATA,
    PYDICOM_FILES,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    film,
    film_dataset,
    patched,
    raw_element,
    read_file,
    written,
)

LIMITS = Limits()
SMALL = Limits(memory_bytes=4 * 1024**2)


def read(content: memoryview | bytes, limits: Limits = LIMITS) -> DicomFile:
    return read_instance(memoryview(content), limits)


def instance_of(**changes: Any) -> Instance:
    return read(film(**changes)).instance


def test_every_field_of_a_chest_radiograph() -> None:
    file = read(read_file("RG1_UNCR.dcm"))
    assert file.instance == Instance(
        kind=FileKind.DICOM,
        rows=1955,
        columns=1841,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        sop_instance_uid="1.3.6.1.4.1.5962.1.1.9.1.1.20040826185059.5457",
        series_instance_uid="1.3.6.1.4.1.5962.1.3.9.1.20040826185059.5457",
        study_instance_uid="1.3.6.1.4.1.5962.1.2.9.20040826185059.5457",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        modality="CR",
        view_position="PA",
        view=View.PA,
        body_part_examined="CHEST",
        photometric_interpretation="MONOCHROME1",
        patient_id="9RG1",
        patient_name="CompressedSamples^RG1",
        patient_birth_date="19400305",
        patient_sex="F",
        age_years=pytest.approx(64.48, abs=0.01),
        accession_number="exam Number",
        study_date="20040826",
        study_time="185059",
        institution_name="Philips Medical Systems Hamburg",
        station_name="THORAVISION",
        view_source="ViewPosition",
        presentation_lut_shape="",
        warnings=frozenset({Warn.PREAMBLE}),
    )
    assert file.fault is None
    assert file.pixels is not None
    assert file.pixels.length == 1955 * 1841 * 2


def test_the_fields_that_the_sample_lacks() -> None:
    instance = instance_of(
        AccessionNumber="00042",
        IssuerOfPatientID="HOSP",
        InstitutionName="St. Elsewhere",
        StationName="CR1",
        BurnedInAnnotation="YES",
        LossyImageCompression="01",
        PresentationLUTShape="INVERSE",
        PresentationIntentType="FOR PRESENTATION",
    )
    assert instance.accession_number == "00042"
    assert instance.issuer_of_patient_id == "HOSP"
    assert instance.institution_name == "St. Elsewhere"
    assert instance.station_name == "CR1"
    assert instance.burned_in_annotation
    assert instance.lossy
    assert instance.presentation_lut_shape == "INVERSE"
    assert instance.presentation_intent == "FOR PRESENTATION"
    assert instance.warnings == {Warn.BURNED_IN_ANNOTATION, Warn.LOSSY}


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_every_encoding_says_the_same(syntax: str) -> None:
    expected = replace(read(film()).instance, transfer_syntax_uid=syntax)
    assert read(film(syntax)).instance == expected


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_without_preamble_and_meta_information(syntax: str) -> None:
    expected = read(film()).instance
    bare = read(written(film_dataset(), syntax, preamble=False))
    assert bare.fault is None
    assert bare.instance == replace(
        expected,
        transfer_syntax_uid=syntax,
        warnings=expected.warnings | {Warn.HEADER},
    )


def test_a_syntax_that_lies_about_its_vr_is_read_and_told() -> None:
    implicit = bytes(film(ImplicitVRLittleEndian))
    uid = b"1.2.840.10008.1.2\0"
    lying = implicit.replace(
        raw_element(0x00020010, "UI", uid), raw_element(0x00020010, "UI", uid[:-1] + b".1\0")
    )
    assert len(lying) == len(implicit) + 2
    file = read(lying)
    assert file.instance.patient_id == "9RG1"
    assert Warn.HEADER in file.instance.warnings


@pytest.mark.parametrize(
    ("age", "born", "years"),
    [
        ("045Y", "19400305", 45.0),
        ("006M", "", 0.5),
        ("003W", "", 21 / 365.25),
        ("010D", "", 10 / 365.25),
        ("45y", "", 45.0),
        ("", "19940826", 10.0),
        (None, "19940826", 10.0),
        ("45", "19940826", 10.0),
        ("", "1994.08.26", 10.0),
        ("", "", None),
        ("", "11111111", None),
        ("", "20991231", None),
        ("", "19941399", None),
        ("999Y", "", None),
        ("999Y", "19940826", 10.0),
        ("000Y", "", 0.0),
        ("000Y", "19940826", 10.0),
        ("000Y", "20040801", 0.07),
        ("000Y", "11111111", 0.0),
        ("003D", "19940826", 3 / 365.25),
    ],
)
def test_age(age: str | None, born: str, years: float | None) -> None:
    content = film(PatientAge="099Y", PatientBirthDate="20000101")
    if age is None:
        content = film(PatientBirthDate="20000101")
    else:
        content = patched(content, 0x00101010, "AS", age.ljust(len(age) + len(age) % 2).encode())
    padded = born.ljust(len(born) + len(born) % 2).encode()
    instance = read(patched(content, 0x00100030, "DA", padded)).instance
    assert instance.age_years == (None if years is None else pytest.approx(years, abs=0.01))
    assert (Warn.AGE_UNKNOWN in instance.warnings) == (years is None)


@pytest.mark.parametrize(
    ("tag", "vr", "text", "warned"),
    [
        (0x00101010, "AS", "45", True),
        (0x00101010, "AS", "45y", False),
        (0x00101010, "AS", "", False),
        (0x00100030, "DA", "unknown", True),
        (0x00100030, "DA", "19941399", True),
        (0x00100030, "DA", "1994.08.26", False),
        (0x00080020, "DA", "11.03.2024", True),
        (0x00080020, "DA", "00000000", True),
        (0x00080020, "DA", "", False),
    ],
)
def test_an_age_or_a_date_that_is_none_is_told(tag: int, vr: str, text: str, warned: bool) -> None:
    content = film(PatientAge="050Y", PatientBirthDate="19540101")
    padded = text.ljust(len(text) + len(text) % 2).encode()
    instance = read(patched(content, tag, vr, padded)).instance
    assert (Warn.HEADER in instance.warnings) == warned


def test_age_by_another_date_than_the_study_s() -> None:
    instance = instance_of(PatientBirthDate="19840301", StudyDate="", AcquisitionDate="20040301")
    assert instance.age_years == pytest.approx(20, abs=0.01)


def item(**values: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("changes", "view", "source"),
    [
        ({"ViewPosition": "AP"}, View.AP, "ViewPosition"),
        ({"ViewPosition": "LL"}, View.OTHER, "ViewPosition"),
        ({"ViewPosition": ""}, View.UNKNOWN, ""),
        (
            {"ViewPosition": None, "ViewCodeSequence": [item(CodeValue="R-10214")]},
            View.PA,
            "ViewCodeSequence",
        ),
        (
            {"ViewPosition": "PA", "ViewCodeSequence": [item(CodeValue="R-10236")]},
            View.UNKNOWN,
            "",
        ),
        (
            {"ViewPosition": "", "PatientOrientation": ["A", "F"]},
            View.OTHER,
            "PatientOrientation",
        ),
        ({"ViewPosition": "", "SeriesDescription": "LAT"}, View.OTHER, "SeriesDescription"),
        (
            {"ViewPosition": "", "PerformedProcedureStepDescription": "Thorax seitlich"},
            View.OTHER,
            "PerformedProcedureStepDescription",
        ),
        (
            {"ViewPosition": "", "AcquisitionDeviceProcessingDescription": "CHEST LATERAL"},
            View.OTHER,
            "AcquisitionDeviceProcessingDescription",
        ),
        ({"ViewPosition": "PA", "SeriesDescription": "LAT"}, View.UNKNOWN, ""),
        ({"ViewPosition": "", "SeriesDescription": "PA"}, View.UNKNOWN, ""),
    ],
)
def test_view(changes: dict[str, Any], view: View, source: str) -> None:
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        instance = read(film(syntax, **changes)).instance
        assert (instance.view, instance.view_source) == (view, source)
        assert (Warn.VIEW_UNKNOWN in instance.warnings) == (view is View.UNKNOWN)


def test_sequences_of_undefined_length() -> None:
    dataset = film_dataset(
        ViewPosition="",
        ViewCodeSequence=[item(CodeValue="R-10206")],
        AnatomicRegionSequence=[item(CodeMeaning="Chest")],
    )
    for keyword in ("ViewCodeSequence", "AnatomicRegionSequence"):
        dataset[keyword].is_undefined_length = True
        dataset[keyword].value[0].is_undefined_length_sequence_item = True
    instance = read(written(dataset)).instance
    assert instance.view is View.AP
    assert instance.anatomic_region == "Chest"


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY"], "Manufacturer": OWN_MANUFACTURER}, True),
        ({"ImageType": ["DERIVED", "SECONDARY"], "Manufacturer": "SCREENER"}, True),
        (
            {
                "ImageType": ["DERIVED", "SECONDARY", "X"],
                "SecondaryCaptureDeviceManufacturer": OWN_MANUFACTURER,
            },
            True,
        ),
        (
            {
                "ImageType": ["DERIVED", "SECONDARY"],
                "ContributingEquipmentSequence": [
                    item(Manufacturer="ACME"),
                    item(Manufacturer=OWN_MANUFACTURER),
                ],
            },
            True,
        ),
        ({"ImageType": ["DERIVED", "PRIMARY"], "Manufacturer": OWN_MANUFACTURER}, False),
        ({"ImageType": ["DERIVED", "SECONDARY"], "Manufacturer": "ACME"}, False),
        ({"ImageType": ["DERIVED", "SECONDARY"], "Manufacturer": "screener GmbH"}, False),
        ({"ImageType": None, "Manufacturer": OWN_MANUFACTURER}, False),
    ],
)
def test_own_output(changes: dict[str, Any], own: bool) -> None:
    assert instance_of(**changes).own_output is own


@pytest.mark.parametrize(
    ("value", "frames", "warned"),
    [(b"1 ", 1, False), (b"2 ", 2, False), (b"0 ", 1, True), (b"1A", 1, True), (b"", 1, False),
     (b"-3", 1, True), (b"2\\3 ", 2, False), (b"99999999999 ", 99999999999, False),
     (b"9" * 20, 2**63 - 1, False)],
)  # fmt: skip
def test_number_of_frames(value: bytes, frames: int, warned: bool) -> None:
    content = patched(film(NumberOfFrames="1"), 0x00280008, "IS", value)
    instance = read(content).instance
    assert instance.number_of_frames == frames
    assert (Warn.HEADER in instance.warnings) == warned


NAME, PATIENT_ID, CHARACTER_SET = 0x00100010, 0x00100020, 0x00080005


def test_names_keep_their_groups_and_their_script() -> None:
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    for charset in (["", "ISO 2022 IR 87"], "ISO_IR 192"):
        instance = instance_of(SpecificCharacterSet=charset, PatientName=name)
        assert instance.patient_name == name
        assert not instance.warnings


@pytest.mark.parametrize(
    ("tag", "vr", "value", "field", "text", "warning"),
    [
        (NAME, "PN", b"A\nB ", "patient_name", "", Warn.CONTROL_CHARACTERS),
        (NAME, "PN", b"M\xfcller", "patient_name", "Müller", Warn.CHARSET),
        (NAME, "PN", b"x" * 65000, "patient_name", "x" * 194, Warn.VALUE_TOO_LONG),
        (PATIENT_ID, "LO", b"1" * 70, "patient_id", "", Warn.VALUE_TOO_LONG),
        (PATIENT_ID, "LO", b"=1+1", "patient_id", "=1+1", None),
        (PATIENT_ID, "LO", b" 007\0 ", "patient_id", "007", None),
        (0x0020000D, "UI", b"SMITH^JOHN", "study_instance_uid", "SMITH^JOHN", Warn.HEADER),
        (0x0020000D, "UI", b"", "study_instance_uid", "", Warn.NO_STUDY_UID),
    ],
)
def test_text(tag: int, vr: str, value: bytes, field: str, text: str, warning: Warn | None) -> None:
    instance = read(patched(film(SpecificCharacterSet=None), tag, vr, value)).instance
    assert getattr(instance, field) == text
    assert instance.warnings == ({warning} if warning else set())


def test_latin_9_is_known() -> None:
    content = patched(
        film(SpecificCharacterSet="ISO_IR 100"), NAME, "PN", "Œuvre€".encode("latin9")
    )
    instance = read(patched(content, CHARACTER_SET, "CS", b"ISO_IR 203")).instance
    assert instance.patient_name == "Œuvre€"
    assert Warn.CHARSET not in instance.warnings


@pytest.mark.parametrize("charset", [b"ISO_IR 999", b"KLINGON "])
def test_an_unknown_character_set(charset: bytes) -> None:
    content = patched(film(SpecificCharacterSet="ISO_IR 100"), CHARACTER_SET, "CS", charset)
    assert Warn.CHARSET in read(content).instance.warnings


def test_foreign_preamble() -> None:
    content = bytearray(film())
    for magic, warned in ((b"MZ", True), (b"\x7fELF", True), (b"<html", True), (b"\0\0", False)):
        content[: len(magic)] = magic
        assert (Warn.PREAMBLE in read(bytes(content)).instance.warnings) is warned
        content[:128] = bytes(128)


# --- damage -------------------------------------------------------------------------------------


def fault_of(content: memoryview | bytes, limits: Limits = LIMITS) -> ReasonCode | None:
    try:
        file = read(content, limits)
    except FileRejected as rejected:
        return rejected.rejection.code
    return file.fault.code if file.fault else None


def header_length(content: memoryview) -> int:
    pixels = read(content).pixels
    assert pixels is not None
    return pixels.offset - 12


@pytest.mark.parametrize(
    ("syntax", "step"), [(ExplicitVRLittleEndian, 1), (ImplicitVRLittleEndian, 7)]
)
def test_a_header_cut_at_every_byte_is_never_ineligible(syntax: str, step: int) -> None:
    whole = film(syntax)
    end = header_length(whole)
    faults = set()
    for size in range(140, end, step):
        try:
            file = read(whole[:size])
        except FileRejected as rejected:
            faults.add(rejected.rejection.code)
            continue
        assert judge_header(file.instance, (16, 90), secondary_capture=False) is None, size
        assert file.pixels is None, size
        if file.fault is not None:
            faults.add(file.fault.code)
    assert faults == {ReasonCode.TRUNCATED}


def test_what_stands_before_a_cut_is_kept() -> None:
    whole = film()
    cut = bytes(whole).index(raw_element(0x00280010, "US", b"")[:6])
    instance = read(whole[: cut + 9]).instance
    assert instance.patient_id == "9RG1"
    assert instance.study_instance_uid
    assert instance.rows == 0


def test_a_cut_file_of_another_sop_class_is_ineligible() -> None:
    content = film(SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    file = read(content[:600])
    assert file.fault is not None
    rejection = judge_header(file.instance, None, secondary_capture=False)
    assert rejection is not None
    assert rejection.code is ReasonCode.SOP_CLASS


def test_a_value_that_swallows_the_pixels() -> None:
    content = bytearray(film())
    place = content.index(raw_element(PATIENT_ID, "LO", b"")[:6]) + 6
    content[place : place + 2] = b"\xff\xff"
    file = read(bytes(content))
    # The film is smaller than 65,535 bytes behind PatientID.
    assert file.fault is not None
    assert file.instance.patient_id == ""
    big = read_file("RG1_UNCR.dcm").tobytes()
    place = big.index(raw_element(PATIENT_ID, "LO", b"")[:6]) + 6
    file = read(big[:place] + b"\xff\xff" + big[place + 2 :])
    assert file.fault is not None
    assert file.instance.patient_id == ""
    assert file.pixels is None


def test_impossible_lengths() -> None:
    content = bytes(film())
    start = content.index(raw_element(0x00280010, "US", b"")[:6])
    for length, code in (
        (b"\xfe\xff\xff\xff", ReasonCode.MALFORMED),
        (b"\x00\x00\x00\x10", ReasonCode.TRUNCATED),
    ):
        huge = raw_element(0x00280009, "UN", b"")[:8] + length
        assert fault_of(content[:start] + huge + content[start:]) is code
    endless = raw_element(0x00280009, "UT", b"")[:8] + b"\xff\xff\xff\xff"
    assert fault_of(content[:start] + endless + content[start:]) is ReasonCode.MALFORMED


def nested(depth: int) -> bytes:
    start = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return start * depth + end * depth


@pytest.mark.parametrize(
    ("depth", "code"), [(20, None), (1000, ReasonCode.MALFORMED), (50000, ReasonCode.MALFORMED)]
)
def test_nested_sequences(depth: int, code: ReasonCode | None) -> None:
    content = bytes(film())
    start = content.index(raw_element(NAME, "PN", b"")[:6])
    deep = content[:start] + nested(depth) + content[start:]
    assert fault_of(deep) is code
    assert read(deep).instance.modality == "CR"


def test_deep_nesting_in_a_sequence_that_is_read() -> None:
    value = nested(1000).replace(b"\x08\x00\x40\x11SQ", b"\x54\x00\x20\x02SQ")
    wanted = raw_element(0x00540220, "SQ", b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + value)
    content = bytes(film(ViewPosition=""))
    start = header_length(memoryview(content))
    assert read(content[:start] + wanted + content[start:]).instance.view is View.UNKNOWN


def test_an_empty_element_of_no_vr_in_a_sequence_ends_nothing() -> None:
    """pydicom converts an empty element when it is only listed, and raises on its VR."""
    broken = b"\x08\x00\x04\x01XX\0\0" + b"\x08\x00\x00\x01SH\x04\0abcd"
    item_of_it = b"\xfe\xff\x00\xe0" + len(broken).to_bytes(4, "little") + broken
    content = bytes(film(ViewPosition=""))
    start = header_length(memoryview(content))
    wanted = raw_element(0x00540220, "SQ", item_of_it)
    assert read(content[:start] + wanted + content[start:]).instance.modality == "CR"


def test_zeros_in_place_of_elements_end_soon() -> None:
    content = bytes(film())
    start = content.index(raw_element(NAME, "PN", b"")[:6])
    began = time.perf_counter()
    assert fault_of(content[:start] + bytes(50_000_000)) is ReasonCode.MALFORMED
    assert time.perf_counter() - began < 5


def deflated(data_set: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    whole = bytes(film(DeflatedExplicitVRLittleEndian))
    meta = whole[: 144 + int.from_bytes(whole[140:144], "little")]
    return meta + packer.compress(data_set) + packer.flush()


def test_a_deflate_bomb() -> None:
    explicit = bytes(film())
    data_set = explicit[144 + int.from_bytes(explicit[140:144], "little") :]
    assert fault_of(deflated(data_set)) is None
    bomb = deflated(data_set + bytes(20 * 1024**2))
    assert len(bomb) < 1024**2 // 4
    began = time.perf_counter()
    assert fault_of(bomb, SMALL) is ReasonCode.BOMB
    assert time.perf_counter() - began < 5
    assert fault_of(deflated(bytes(20 * 1024**2)), SMALL) is ReasonCode.BOMB


def test_a_deflated_file_cut_or_broken() -> None:
    whole = film(DeflatedExplicitVRLittleEndian)
    assert fault_of(whole[: len(whole) // 2]) is ReasonCode.TRUNCATED
    assert read(whole[: len(whole) // 2]).instance.patient_id == "9RG1"
    broken = bytearray(whole)
    broken[len(whole) // 2 :] = bytes([0xFF]) * (len(whole) - len(whole) // 2)
    assert fault_of(bytes(broken)) in (ReasonCode.MALFORMED, ReasonCode.TRUNCATED)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 400, bytes(128) + b"DICM", b"text that is no image\n" * 40, b"\xff" * 5000],
)
def test_what_is_no_dicom_file_fails(content: bytes) -> None:
    assert fault_of(content) in (ReasonCode.MALFORMED, ReasonCode.TRUNCATED)
    with pytest.raises(FileRejected):
        read(content)


def test_without_a_sop_class_in_the_data_set_that_of_the_file_counts() -> None:
    content = bytes(film())
    element = raw_element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.1\0")
    assert element in content
    assert read(content.replace(element, b"")).instance.sop_class_uid.endswith("1.1.1")


def test_random_damage_never_escapes() -> None:
    whole = bytes(film())
    end = header_length(memoryview(whole)) + 200
    chance = random.Random(7)
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            content[chance.randrange(132, end)] = chance.choice((0, 0xFF, chance.randrange(256)))
        try:
            file = read(bytes(content))
            judge_header(file.instance, (16, 90), secondary_capture=True)
        except FileRejected:
            pass


# --- files that others wrote --------------------------------------------------------------------


def judged(path: Path, *, secondary_capture: bool = False) -> str:
    try:
        file = read(path.read_bytes())
    except FileRejected as rejected:
        return rejected.rejection.code
    rejection = judge_header(file.instance, (16, 90), secondary_capture=secondary_capture)
    return "PASSED" if rejection is None else rejection.code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("RG1_UNCR.dcm", "PASSED"),
        ("RG1_UNCI.dcm", "PASSED"),
        ("RG1_J2KR.dcm", "PASSED"),
        ("RG1_J2KI.dcm", "PASSED"),
        ("RG3_UNCR.dcm", "BODY_PART"),
        ("RG3_J2KI.dcm", "BODY_PART"),
        ("dicomdirtests/77654033/CR1/6154", "VIEW"),
        ("dicomdirtests/77654033/CR2/6247", "BODY_PART"),
        ("dicomdirtests/77654033/CT2/17106", "SOP_CLASS"),
        ("dicomdirtests/DICOMDIR", "DICOMDIR"),
        ("dicomdirtests/DICOMDIR-bigEnd", "DICOMDIR"),
        ("CT_small.dcm", "SOP_CLASS"),
        ("MR_small_RLE.dcm", "SOP_CLASS"),
        ("MR_truncated.dcm", "SOP_CLASS"),
        ("US1_J2KI.dcm", "SOP_CLASS"),
        ("emri_small_jpeg_2k_lossless_too_short.dcm", "SOP_CLASS"),
        ("bad_sequence.dcm", "SOP_CLASS"),
        ("badVR.dcm", "SOP_CLASS"),
        ("explicit_VR-UN.dcm", "SOP_CLASS"),
        ("rtplan_truncated.dcm", "SOP_CLASS"),
        ("rtstruct.dcm", "SOP_CLASS"),
        ("OT-PAL-8-face.dcm", "SOP_CLASS"),
        ("ExplVR_BigEndNoMeta.dcm", "SOP_CLASS"),
        ("reportsi.dcm", "SOP_CLASS"),
        ("test-SR.dcm", "SOP_CLASS"),
        ("waveform_ecg.dcm", "SOP_CLASS"),
        ("liver.dcm", "SOP_CLASS"),
        ("image_dfl.dcm", "SOP_CLASS"),
        ("mlut_18.dcm", "SOP_CLASS"),
        # They end before the place of the SOP class: nobody can say what they should have been.
        ("meta_missing_tsyntax.dcm", "TRUNCATED"),
        ("empty_charset_LEI.dcm", "TRUNCATED"),
        ("nested_priv_SQ.dcm", "TRUNCATED"),
    ],
)
def test_files_by_name(name: str, code: str) -> None:
    path = DATA / name
    assert judged(path if path.exists() else PYDICOM_FILES / name) == code


def test_all_files_of_both_packages(capfd: pytest.CaptureFixture[str]) -> None:
    paths = [path for folder in (DATA, PYDICOM_FILES) for path in sorted(folder.rglob("*"))]
    codes = {path.name: judged(path) for path in paths if path.is_file()}
    assert len(codes) > 150
    assert {name for name, code in codes.items() if code == "PASSED"} == {
        "RG1_UNCR.dcm",
        "RG1_UNCI.dcm",
        "RG1_J2KR.dcm",
        "RG1_J2KI.dcm",
    }
    failed = {name for name, code in codes.items() if code in ("MALFORMED", "TRUNCATED", "BOMB")}
    documents = (".txt", ".dump", ".json", ".icc", ".gz", ".py", ".pyc")
    assert {name for name in failed if not name.endswith(documents)} == {
        "meta_missing_tsyntax.dcm",
        "empty_charset_LEI.dcm",
        "nested_priv_SQ.dcm",
        "no_meta.dcm",
        "README",
    }
    assert capfd.readouterr() == ("", "")


def test_secondary_captures_where_the_site_says_so() -> None:
    for name, code in (
        ("mlut_18.dcm", "PASSED"),
        ("image_dfl.dcm", "PASSED"),
        ("JPEG-LL.dcm", "MODALITY"),
        ("SC_rgb.dcm", "TOO_SMALL"),
        ("SC_rgb_2frame.dcm", "MULTI_FRAME"),
    ):
        path = DATA / name
        path = path if path.exists() else PYDICOM_FILES / name
        assert judged(path, secondary_capture=True) == code


def test_a_header_takes_a_few_milliseconds() -> None:
    content = read_file("RG1_UNCR.dcm")
    read(content)
    began = time.perf_counter()
    for _ in range(20):
        read(content)
    assert (time.perf_counter() - began) / 20 < 0.02
