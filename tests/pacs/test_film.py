"""What is taken from a film: who it is, in its own words, and how it looks."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from screener.pacs.film import Film, FilmGoneError, header_of_row, read_film
from screener.pacs.key_image import draw, words
from screener.pacs.presentation_state import box_of
from screener.pacs.structured_report import structured_report
from tests.dicom_films import film, patched

ROW: dict[str, Any] = {
    "model": "m",
    "software_version": "1",
    "model_sha256": "ab" * 32,
    "score": 0.5,
    "finding": "covid",
    "triage": "FLAGGED",
    "reason_code": "SCORE_ABOVE_THRESHOLD",
    "operating_point": "default",
    "threshold": 0.5,
    "target_sensitivity": None,
    "screened_at": "2026-01-01T00:00:00Z",
}
IMAGES = [
    {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1",
        "sop_instance_uid": "1.2.3",
        "series_instance_uid": "1.2.4",
    }
]


def reported(content: bytes) -> pydicom.Dataset:
    """A report about a film, written and read again."""
    report = structured_report(
        ROW,
        IMAGES,
        Film(content).header(),
        uid="1.2.3.4",
        predecessor="",
        predecessor_class="",
        sr_class="comprehensive",
    )
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, report)
    stream.seek(0)
    return pydicom.dcmread(stream, force=True)


@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")
@pytest.mark.filterwarnings("ignore:The :UserWarning")
@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00100020, "LO", b"X" * 80),
        (0x00100020, "LO", b"A\\B "),
        (0x00100030, "DA", b"20201345"),
        (0x00100030, "DA", b"unknown "),
        (0x00100040, "CS", b"weiblich"),
        (0x00100010, "PN", b"A" * 300),
        (0x00100010, "PN", b"A^B^C^D^E^F^G=x=y=z "),
        (0x00100010, "PN", b"M\xfcller^J"),
        (0x00080030, "TM", b"25:99 "),
        (0x00080050, "SH", b"A" * 40),
    ],
)
def test_values_that_break_the_standard_are_passed_on_as_the_film_has_them(
    tag: int, vr: str, value: bytes
) -> None:
    content = bytes(patched(film(), tag, vr, value))
    there = pydicom.dcmread(io.BytesIO(content))[tag].value
    assert reported(content)[tag].value == there


def test_a_name_in_bytes_of_another_set_is_read_by_others_as_by_us() -> None:
    wrong = bytes(patched(film(SpecificCharacterSet="ISO_IR 192"), 0x00100010, "PN", b"M\xfcller"))
    with pytest.warns(UserWarning, match="replacement characters"):
        ours = str(pydicom.dcmread(io.BytesIO(wrong)).PatientName)
    assert str(reported(wrong).PatientName) == ours


def test_a_header_from_the_report_alone_is_utf_8() -> None:
    names = ("study_date", "study_time", "accession_number", "patient_id", "issuer_of_patient_id")
    row = dict.fromkeys((*names, "patient_birth_date", "patient_sex"), "")
    row |= {"patient_name": "山田^太郎", "study_instance_uid": "1.2.3"}
    header = header_of_row(row)
    assert header.SpecificCharacterSet == "ISO_IR 192"
    assert str(header.PatientName) == "山田^太郎"
    assert "IssuerOfPatientID" not in header


def test_a_film_is_read_while_it_is_the_one_that_was_scored(tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(film())
    sha256 = hashlib.sha256(film()).hexdigest()
    assert read_film(bytes(path), sha256).content == film()
    path.write_bytes(bytes(film())[:-1])
    with pytest.raises(FilmGoneError):
        read_film(bytes(path), sha256)
    path.unlink()
    with pytest.raises(FilmGoneError):
        read_film(bytes(path), sha256)


def test_the_picture_is_the_film_with_its_air_dark() -> None:
    inverted = Film(bytes(film())).picture()
    assert inverted.shape == (163, 154)
    assert inverted.dtype == np.uint8
    plain = Film(bytes(film(PhotometricInterpretation="MONOCHROME2"))).picture()
    assert abs(int(inverted.mean()) - (255 - int(plain.mean()))) <= 2


def test_a_large_film_is_made_smaller_in_its_own_shape() -> None:
    values = np.tile(np.arange(1500, dtype=np.uint16), (3000, 1))
    content = film(
        Rows=3000, Columns=1500, PixelData=values.tobytes(), PhotometricInterpretation="MONOCHROME2"
    )
    picture = Film(bytes(content)).picture()
    assert picture.shape == (1024, 512)
    assert (np.diff(picture[500].astype(int)) >= 0).all()


def test_the_map_is_red_where_the_score_comes_from_and_the_film_is_left_elsewhere() -> None:
    picture = np.full((700, 700), 100, np.uint8)
    cam = np.zeros((7, 7), np.float32)
    cam[1, 5] = 3
    drawn = draw(picture, cam, words(ROW))
    assert drawn.shape[0] > 700
    red, green = drawn[150, 550, 0], drawn[150, 550, 1]
    assert red > 150
    assert green < 100
    assert (drawn[400:700, 0:300] == 100).all()
    assert drawn[700:].max() > 200


def test_the_words_say_that_it_is_no_diagnosis() -> None:
    first, second = words(ROW)
    assert "NOT FOR DIAGNOSIS" in first
    assert "score 0.5000 of covid, threshold 0.5000" in second
    assert (first + second).isascii()


def test_the_box_holds_what_hangs_together_with_the_strongest_cell() -> None:
    cam = np.zeros((7, 7), np.float32)
    cam[2, 3], cam[2, 4], cam[6, 0] = 2, 1.5, 1.9
    box = box_of(cam, 700, 1400)
    assert box.tolist() == [[600, 200], [1000, 200], [1000, 300], [600, 300], [600, 200]]
