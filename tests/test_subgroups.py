"""Which columns are measured apart, and how numbers are cut to bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.dataset import LabelledImage
from export.pixels import HEADER_COLUMNS, header_columns
from export.subgroups import columns_with_subgroups, values_of
from screener.domain import FileKind, Instance


def images(*columns: dict[str, str]) -> list[LabelledImage]:
    return [LabelledImage(Path(f"{i}.png"), "covid", str(i), one) for i, one in enumerate(columns)]


def ages(n: int, unknown: int = 0) -> list[LabelledImage]:
    numbers = np.random.default_rng(1).permutation(n)
    rows = [{"age": str(20 + i % 60)} for i in numbers] + [{"age": ""}] * unknown
    return images(*rows)


def test_few_values_or_numbers() -> None:
    rows = [
        {
            "sex": "FM"[i % 2],
            "one": "x",
            "patient": f"p{i}",
            "number": str(i),
            "age": str(i % 30),
            "split": "ab"[i % 2],
            "town": f"t{i % 25}",
        }
        for i in range(100)
    ]
    assert columns_with_subgroups(images(*rows)) == ["age", "sex"]


@pytest.mark.parametrize(
    ("column", "tabulated"),
    [
        *[(name, False) for name in ("PatientID", "patient_name", "Patient", "mrn", "id", "uid")],
        *[(name, False) for name in ("StudyInstanceUID", "ReferringPhysician", "BirthDate")],
        *[(name, True) for name in ("sex", "patient_sex", "fluid", "covid", "dicom_station_name")],
    ],
)
def test_what_may_say_who_the_patient_is_is_not_tabulated_unasked(
    column: str, tabulated: bool
) -> None:
    rows = [{column: f"value {i % 4}"} for i in range(40)]
    assert columns_with_subgroups(images(*rows)) == ([column] if tabulated else [])


def test_a_header_that_few_images_have_makes_no_subgroups() -> None:
    sparse = [{"dicom_patient_sex": "FM"[i % 2]} if i < 10 else {} for i in range(30)]
    assert columns_with_subgroups(images(*sparse)) == []
    assert columns_with_subgroups(images(*sparse[:15])) == ["dicom_patient_sex"]


def test_numbers_become_bands_of_equal_size() -> None:
    values, counts = np.unique(values_of(ages(240, unknown=10), "age"), return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        "": 10,
        "20 to under 34.75": 60,
        "34.75 to under 49.5": 60,
        "49.5 to under 64.25": 60,
        "64.25 to 79": 60,
    }


@pytest.mark.parametrize("odd", ["nan", "inf", "about 40"])
def test_a_column_with_a_word_in_it_is_no_number(odd: str) -> None:
    films = ages(240)
    films[0] = LabelledImage(Path("x"), "covid", "x", {"age": odd})
    assert columns_with_subgroups(films) == []
    assert len(set(values_of(films, "age"))) == 61


def test_what_a_header_adds() -> None:
    dicom = Instance(
        FileKind.DICOM, patient_sex="F ", age_years=61.4, view_position="PA", patient_name="A^B"
    )
    added = header_columns(dicom)
    assert tuple(added) == HEADER_COLUMNS
    assert (added["dicom_patient_sex"], added["dicom_age_years"]) == ("F", "61")
    assert "A^B" not in added.values()
    assert header_columns(Instance(FileKind.DICOM))["dicom_age_years"] == ""
    assert header_columns(Instance(FileKind.PNG, rows=9)) == {}
