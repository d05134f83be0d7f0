"""CSV byte for byte: the contract's dialect, the spreadsheet's, the importers' own."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from screener.domain import Triage
from screener.report.columns import (
    DATE_COLUMNS,
    IMAGE_COLUMNS,
    TIME_COLUMNS,
    TIMESTAMP_COLUMNS,
    TRIAGE_COLUMNS,
    image_columns,
)
from screener.report.layout import SPREADSHEET, TableLayout
from screener.report.tables import IDENTIFIER_COLUMNS, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Copied from the contract, which users script against.
TRIAGE_CONTRACT = """schema_version, run_id, rank, triage, priority, reason_code, reason,
accession_number, study_instance_uid, patient_id, issuer_of_patient_id, patient_name,
patient_birth_date, patient_sex, study_date, study_time, modality, view_position, images,
images_scored, images_gone, sop_instance_uid, finding, score, logit, threshold, operating_point,
target_sensitivity, calibration_prevalence, novelty, warnings, model, model_sha256, provider,
software_version, institution_name, station_name, source, study_key, path, is_new, change,
previous_triage, screened_at"""
IMAGE_CONTRACT = """schema_version, run_id, path, sha256, outcome, reason_code, reason, warnings,
study_key, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid,
transfer_syntax_uid, modality, view_position, body_part_examined, photometric_interpretation, rows,
columns, voi_source, levels_dropped, score, logit, novelty, cam_peak_row, cam_peak_column, decoder,
decode_ms, duplicate_of, screened_at"""


def written(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str] | None = None,
    layout: TableLayout | None = None,
) -> bytes:
    stream = io.BytesIO()
    names = tuple(rows[0]) if columns is None else columns
    arguments = () if layout is None else (layout,)
    assert write_table(stream, names, rows, *arguments) == len(rows)
    return stream.getvalue()


def cell(value: object, layout: TableLayout | None = None, column: str = "patient_name") -> str:
    """One value as a table's second column holds it, decoded and unquoted."""
    layout = layout or TableLayout()
    text = written([{"rank": 1, column: value}], layout=layout).decode(layout.encoding)
    row = list(csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter))[1]
    return row[1]


def test_columns_are_the_contracts() -> None:
    assert list(TRIAGE_COLUMNS) == re.split(r",\s+", TRIAGE_CONTRACT)
    assert list(IMAGE_COLUMNS) == re.split(r",\s+", IMAGE_CONTRACT)
    known = set(TRIAGE_COLUMNS) | set(IMAGE_COLUMNS)
    assert known >= DATE_COLUMNS | TIME_COLUMNS | TIMESTAMP_COLUMNS | IDENTIFIER_COLUMNS


def test_several_findings_append_their_scores() -> None:
    assert image_columns(["COVID-19"]) == IMAGE_COLUMNS
    assert image_columns(["COVID-19", "effusion"]) == (
        *IMAGE_COLUMNS,
        "score_COVID-19",
        "score_effusion",
    )


def test_dialect_byte_for_byte() -> None:
    rows: list[dict[str, object]] = [
        {"a": "plain", "b": 1, "c": 0.5, "d": True, "e": None, "f": Triage.FLAGGED},
        {"a": "a,b", "b": -7, "c": 1.0, "d": False, "e": "", "f": " x "},
        {"a": 'say "yes"', "b": 0, "c": -2.34567, "d": True, "e": "Müller^Jürgen", "f": "=1+1"},
        {"a": "山田^太郎", "b": 10**12, "c": -0.00001, "d": None, "e": 0.00005, "f": "0012"},
    ]
    assert (
        written(rows)
        == (
            "a,b,c,d,e,f\n"
            "plain,1,0.5000,true,,FLAGGED\n"
            '"a,b",-7,1.0000,false,, x \n'
            '"say ""yes""",0,-2.3457,true,Müller^Jürgen,=1+1\n'
            "山田^太郎,1000000000000,0.0000,,0.0001,0012\n"
        ).encode()
    )


def test_no_rows_gives_the_header() -> None:
    assert written([], ("a", "b")) == b"a,b\n"


@given(st.lists(st.text(), min_size=2, max_size=2))
@settings(max_examples=300, deadline=None)
def test_any_text_stays_one_line_and_comes_back(values: list[str]) -> None:
    data = written([{"a": values[0], "b": values[1]}])
    assert data.count(b"\n") == 2
    assert b"\r" not in data
    assert b"\0" not in data
    read = list(csv.reader(io.StringIO(data.decode(), newline="")))[1]
    for value, back in zip(values, read, strict=True):
        control = re.search(r"[\x00-\x1f\x7f-\x9f]", value)
        surrogate = any("\ud800" <= character <= "\udfff" for character in value)
        assert back == ("" if control else value) or surrogate


@pytest.mark.parametrize("control", ["\0", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\x9b"])
def test_control_characters_leave_the_field_empty_with_a_warning(control: str) -> None:
    rows: list[dict[str, object]] = [
        {"triage": "FLAGGED", "patient_name": f"DOE{control}JANE", "warnings": "VIEW_UNKNOWN"},
        {"triage": "FLAGGED", "patient_name": "DOE", "warnings": None},
    ]
    assert written(rows) == (
        b"triage,patient_name,warnings\nFLAGGED,,CONTROL_CHARACTERS;VIEW_UNKNOWN\nFLAGGED,DOE,\n"
    )


def test_a_surrogate_is_escaped_and_does_not_stop_the_table() -> None:
    assert written([{"path": "/a/\udcff.dcm"}]) == b"path\n/a/\\udcff.dcm\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"a": 1}, r"lacks \['b'\]"),
        ({"a": 1, "b": 2, "c": 3}, r"unknown \['c'\]"),
        ({"a": 1, "b": float("nan")}, "finite"),
        ({"a": 1, "b": float("inf")}, "finite"),
        ({"a": 1, "b": b"DOE^JANE"}, "bytes"),
        ({"a": 1, "b": ["DOE^JANE"]}, "list"),
    ],
)
def test_wrong_rows_are_refused_without_their_content(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        written([row], ("a", "b"))
    assert "DOE" not in str(caught.value)


def test_rows_are_streamed() -> None:
    """Ten times the rows take no more memory."""

    class Sink(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return len(data)

    def peak(count: int) -> int:
        row = dict.fromkeys(IMAGE_COLUMNS, "value")
        tracemalloc.start()
        with io.BufferedWriter(Sink()) as stream:
            assert write_table(stream, IMAGE_COLUMNS, islice(repeat(row), count)) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)
    assert peak(5000) < peak(500) + 20_000


# -- spreadsheets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "＝1",
        "  =1",
        "\u00a0=1",
        "0012345",
        "123456789012",
        "1E5",
        "3-4",
        "1/2/2024",
        "070907.5",
        "1.5e+3",
        "12.50",
        ".5",
        "1,500",
        "5%",
        "3.4",
        "1.2.2024",
        "10:30",
        "SEP2",
        "2 March",
        "11-dec-1950",
    ],
)
def test_spreadsheet_neutralises_formulas_and_what_it_would_alter(text: str) -> None:
    assert cell(text, SPREADSHEET) == f"'{text}"
    assert cell(text) == text


@pytest.mark.parametrize("control", ["\t", "\r", "\n", "\0"])
def test_spreadsheet_has_no_control_prefix(control: str) -> None:
    assert cell(f"{control}=cmd|'/c calc'!A1", SPREADSHEET) == ""


@pytest.mark.parametrize(
    "value",
    ["DOE^JANE", "20240131", "1.2.840.10008", "a=b", "/a-b", "12", "MARCH^2", "S2403", "true"],
)
def test_spreadsheet_leaves_plain_text(value: str) -> None:
    assert cell(value, SPREADSHEET) == value


def test_spreadsheet_byte_for_byte() -> None:
    rows = [{"patient_id": "007", "logit": -1.5, "score": 0.25, "images": -1, "x": None}]
    assert written(rows, layout=SPREADSHEET) == (
        b'\xef\xbb\xbf"patient_id","logit","score","images","x"\r\n'
        b'"\'007","-1.5000","0.2500","-1",""\r\n'
    )


def test_spreadsheet_neutralises_its_header() -> None:
    assert written([], ("=cmd",), SPREADSHEET) == b'\xef\xbb\xbf"\'=cmd"\r\n'


# -- a site's importer -------------------------------------------------------------------------

STUDY = {
    "triage": "FLAGGED",
    "priority": "HIGH",
    "accession_number": "A|17",
    "patient_name": "Müller^Jürgen",
    "patient_birth_date": "19640229",
    "study_date": "20240131",
    "study_time": "070907.250000",
    "score": 0.9312,
    "is_new": True,
    "screened_at": "2024-02-01T03:00:00Z",
}


def test_a_site_maps_everything() -> None:
    layout = TableLayout(
        columns=(
            "accession_number",
            "priority",
            "study_date",
            "study_time",
            "screened_at",
            "is_new",
        ),
        rename={"accession_number": "AccNo", "priority": "Prio"},
        words={"priority": {"HIGH": "DRINGEND"}, "is_new": {"true": "J", "false": "N"}},
        delimiter=";",
        line_end="crlf",
        date_format="%d.%m.%Y",
        time_format="%H:%M",
        timestamp_format="%Y%m%d%H%M%S",
    )
    assert written([STUDY], layout=layout) == (
        b"AccNo;Prio;study_date;study_time;screened_at;is_new\r\n"
        b"A|17;DRINGEND;31.01.2024;07:09;20240201030000;J\r\n"
    )


def test_pipes_without_quotes_and_header() -> None:
    layout = TableLayout(
        columns=("accession_number", "patient_name"), delimiter="|", quote="none", header=False
    )
    row = {**STUDY, "accession_number": "A17", "patient_name": 'O"Neil|Ann'}
    assert written([row], layout=layout) == b"A17|O Neil Ann\n"
    # An altered identifier may be another patient's.
    assert written([{**row, "accession_number": "A|17"}], layout=layout) == b"|O Neil Ann\n"
    single = TableLayout(columns=("patient_name",), quote="none", header=False)
    assert written([{**STUDY, "patient_name": None}], layout=single) == b"\n"


@pytest.mark.parametrize(
    ("encoding", "unencodable", "name"),
    [
        ("latin-1", "replace", "Müller^??".encode("latin-1")),
        ("cp1252", "xmlcharrefreplace", "Müller^&#23665;&#30000;".encode("cp1252")),
        ("ascii", "backslashreplace", rb"M\xfcller^\u5c71\u7530"),
        ("shift_jis", "replace", "M?ller^山田".encode("shift_jis")),
        ("utf-16-le", "replace", "Müller^山田".encode("utf-16-le")),
    ],
)
def test_encodings_never_stop_a_table(encoding: str, unencodable: Any, name: bytes) -> None:
    layout = TableLayout(encoding=encoding, unencodable=unencodable)
    data = written([{"patient_name": "Müller^山田", "x": "\udcff"}], layout=layout)
    assert name in data


def test_utf_16_has_one_byte_order_mark() -> None:
    rows = [{"a": "x"}, {"a": "y"}]
    data = written(rows, layout=TableLayout(encoding="utf-16"))
    assert data.decode("utf-16") == "a\nx\ny\n"


def test_an_identifier_that_cannot_be_encoded_is_empty_not_another() -> None:
    layout = TableLayout(encoding="latin-1")
    assert cell("Ä12", layout, "patient_id") == "Ä12"
    assert cell("山12", layout, "patient_id") == ""
    assert cell("山12", layout, "patient_name") == "?12"


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("study_date", "20240131", "31.01.24"),
        ("study_date", "2024.01.31", "31.01.24"),
        ("study_date", "20240231", ""),
        ("study_date", "2024", ""),
        ("study_date", "", ""),
        ("study_date", None, ""),
        ("study_date", "DOE", ""),
        ("study_time", "07", "07:00:00"),
        ("study_time", "0709", "07:09:00"),
        ("study_time", "07:09:07", "07:09:07"),
        ("study_time", "070960", "07:09:59"),
        ("study_time", "250000", ""),
        ("study_time", "070907.1234567", ""),
        ("screened_at", "2024-02-01T03:04:05Z", "01.02. 03:04"),
        ("screened_at", "yesterday", ""),
        ("patient_name", "20240131", "20240131"),
    ],
)
def test_dates_and_times(column: str, value: str | None, expected: str) -> None:
    layout = TableLayout(
        date_format="%d.%m.%y", time_format="%H:%M:%S", timestamp_format="%d.%m. %H:%M"
    )
    assert cell(value, layout, column) == expected
    assert cell(value, None, column) == (value or "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delimiter": ""}, "delimiter"),
        ({"delimiter": ";;"}, "delimiter"),
        ({"delimiter": '"'}, "delimiter"),
        ({"delimiter": "\n"}, "delimiter"),
        ({"encoding": "utf-9"}, "encoding 'utf-9'"),
        ({"encoding": "rot13"}, "encoding"),
        ({"encoding": "idna"}, "encoding"),
        ({"delimiter": "§", "encoding": "ascii"}, "encoding"),
        ({"date_format": "%d\n%m"}, "date_format"),
        ({"date_format": "%n"}, "date_format"),
        ({"date_format": "%Q"}, "date_format '%Q' writes every day and hour alike"),
        ({"time_format": "h"}, "time_format"),
        ({"rename": {"triage": "a\nb"}}, "control"),
        ({"words": {"triage": {"FLAGGED": "a\tb"}}}, "control"),
        ({"columns": ("triage", "triage")}, "twice"),
    ],
)
def test_a_layout_that_cannot_work_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableLayout(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"columns": ("acession_number",)},
        {"rename": {"acession_number": "Acc"}},
        {"words": {"acession_number": {}}},
    ],
)
def test_an_unknown_column_is_refused_before_anything_is_written(arguments: Any) -> None:
    stream = io.BytesIO()
    with pytest.raises(ValueError, match="did you mean 'accession_number'"):
        write_table(stream, TRIAGE_COLUMNS, [], TableLayout(**arguments))
    assert stream.getvalue() == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"words": {"triage": {"FLAGGD": "URGENT"}}}, "never 'FLAGGD'; did you mean 'FLAGGED'"),
        ({"words": {"is_new": {"True": "J"}}}, "did you mean 'true'"),
        ({"rename": {"score": "priority"}}, "two columns would be named 'priority'"),
        ({"rename": {"score": "p", "logit": "p"}}, "two columns would be named 'p'"),
    ],
)
def test_a_layout_that_misleads_an_importer_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TableLayout(**arguments).choose(TRIAGE_COLUMNS)
    swapped = TableLayout(rename={"score": "priority", "priority": "score"})
    assert swapped.choose(TRIAGE_COLUMNS) == TRIAGE_COLUMNS
    words = {"triage": {"FLAGGED": "URGENT"}, "priority": {"STAT": "1"}, "change": {"NEW": "N"}}
    assert TableLayout(words=words).choose(TRIAGE_COLUMNS) == TRIAGE_COLUMNS
