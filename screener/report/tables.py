"""Rows -> CSV: the contract's dialect, its twin for spreadsheets, and what a site's importer takes.

Streams: a row is written as it comes, so a million paths need no more memory than one. The shape
is that of a `screener.report.layout`.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from operator import itemgetter
from typing import Any, BinaryIO, Literal, TextIO

from screener.outcomes import Warn
from screener.report.columns import DATE_COLUMNS, TIME_COLUMNS, TIMESTAMP_COLUMNS
from screener.report.layout import CONTRACT, TableLayout

Cell = Callable[[str], str]

IDENTIFIER_COLUMNS = frozenset(
    {
        "accession_number",
        "issuer_of_patient_id",
        "patient_id",
        "sop_instance_uid",
        "study_instance_uid",
        "study_key",
    }
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# OWASP's list of formula prefixes, ASVS's NUL and the full-width forms that Excel takes as well.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")  # noqa: RUF001
# What a spreadsheet of some country shows as another value: leading zeros, zeros behind a point and
# the 16th digit are lost, 1E5 and 5% become numbers, 3-4, 3.4 and SEP12 dates, 10:30 a time.
_NUMBER = r"(?:\d+[.,]?\d*|[.,]\d+)"
_MONTH = "(?:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)[A-Z]*"
_MANGLED = re.compile(
    rf"0\d+|\d{{12,}}|\d+[.,]\d*|[.,]\d+|{_NUMBER}E[-+]?\d+|{_NUMBER} ?%"
    r"|\d{1,4}[-/.]\d{1,4}([-/.]\d{0,4})?|\d+(:\d+){1,2}([.,]\d+)?"
    rf"|{_MONTH}[-/. ]?\d{{1,4}}|\d{{1,2}}[-/. ]?{_MONTH}([-/. ]?\d{{1,4}})?",
    re.IGNORECASE,
)
# What `csv` writes as the contract has it: text, digits, and nothing for nothing.
_WRITTEN_SO = frozenset({str, int, type(None)})
_WORDS = {None: "", True: "true", False: "false"}
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?")


def write_table(
    stream: BinaryIO,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, object]],
    layout: TableLayout = CONTRACT,
) -> int:
    """Write a header and the rows as they come.

    Text with control characters is left empty, with a warning in the row where it has that column.

    Args:
        stream: Takes the bytes; stays open.
        columns: What every row has, no more and no less.
        rows: Values are text, None, bool, int or a finite float.
        layout: The shape of the file.

    Returns:
        The number of rows.

    Raises:
        ValueError: A row has other keys than `columns`, or a value of another kind.
    """
    chosen = layout.choose(columns)
    cells = [(name, _cell_of(name, layout)) for name in chosen]
    # As most tables are: all columns, and no cell but what the writer itself would write.
    plain = layout.quote == "minimal" and chosen == tuple(columns) and len(chosen) > 1
    plain = plain and not any(cell for _, cell in cells)
    all_of = itemgetter(*chosen)
    encoded = io.TextIOWrapper(stream, layout.encoding, layout.unencodable, newline="")
    write = _line_writer(encoded, layout)
    try:
        if layout.header:
            names = [layout.rename.get(name, name) for name in chosen]
            write([_neutralised(name) if layout.neutralise else name for name in names])
        expected = frozenset(columns)
        count = 0
        for row in rows:
            if row.keys() != expected:
                missing, unknown = sorted(expected - row.keys()), sorted(row.keys() - expected)
                raise ValueError(f"a row lacks {missing} and has the unknown {unknown}")
            count += 1
            if plain:
                # A call for each cell would cost the most.
                line = [v if type(v) in _WRITTEN_SO else _written(v, None) for v in all_of(row)]
                if "".join(map(str, line)).isprintable():
                    write(line)
                    continue
            clean = _without_control_characters(row)
            write(
                [
                    value
                    if type(value := clean[name]) is str and cell is None
                    else _written(value, cell)
                    for name, cell in cells
                ]
            )
    finally:
        # The stream is the caller's and stays open.
        encoded.detach()
    return count


def _line_writer(encoded: TextIO, layout: TableLayout) -> Callable[[Sequence[Any]], object]:
    line_end = "\r\n" if layout.line_end == "crlf" else "\n"
    if layout.quote != "none":
        quoting: Literal[0, 1] = csv.QUOTE_ALL if layout.quote == "all" else csv.QUOTE_MINIMAL
        writer = csv.writer(
            encoded, delimiter=layout.delimiter, quoting=quoting, lineterminator=line_end
        )
        return writer.writerow
    dividing = str.maketrans({layout.delimiter: " ", '"': " "})
    return lambda values: encoded.write(
        layout.delimiter.join(value.translate(dividing) for value in values) + line_end
    )


def _written(value: object, cell: Cell | None) -> str:
    if type(value) is float and math.isfinite(value):
        text = f"{value:.4f}"
        return "0.0000" if text == "-0.0000" else text
    if value is None or isinstance(value, bool):
        value = _WORDS[value]
    if isinstance(value, str):
        return cell(value) if cell else value
    # Numbers need no cell: a minus is not a formula.
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return _written(float(value), cell)
    raise ValueError(f"a cell holds text, a truth value or a finite number: {type(value).__name__}")


def _cell_of(column: str, layout: TableLayout) -> Cell | None:
    """What a layout does with the text of one column; None for nothing."""
    steps: list[Cell] = []
    for columns, text_format, convert in (
        (DATE_COLUMNS, layout.date_format, _date),
        (TIME_COLUMNS, layout.time_format, _time),
        (TIMESTAMP_COLUMNS, layout.timestamp_format, _timestamp),
    ):
        if column in columns and text_format:
            steps.append(_formatted(convert, text_format))
    if words := layout.words.get(column):
        steps.append(lambda text: words.get(text, text))
    if column in IDENTIFIER_COLUMNS and layout.encoding != CONTRACT.encoding:
        steps.append(lambda text: text if _fits(text, layout.encoding) else "")
    if column in IDENTIFIER_COLUMNS and layout.quote == "none":
        dividing = (layout.delimiter, '"')
        steps.append(lambda text: "" if any(each in text for each in dividing) else text)
    if layout.neutralise:
        steps.append(_neutralised)

    def cell(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return cell if steps else None


def _formatted(convert: Callable[[str], date | time | None], text_format: str) -> Cell:
    def cell(text: str) -> str:
        value = convert(text.strip())
        return "" if value is None else value.strftime(text_format)

    return cell


def _date(text: str) -> date | None:
    found = _DATE.fullmatch(text)
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def _time(text: str) -> time | None:
    found = _TIME.fullmatch(text)
    if not found:
        return None
    hour, minute, second, fraction = found.groups(default="0")
    try:
        # DICOM allows a leap second, Python does not.
        return time(int(hour), int(minute), min(int(second), 59), int(fraction.ljust(6, "0")))
    except ValueError:
        return None


def _timestamp(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _fits(text: str, encoding: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _neutralised(text: str) -> str:
    """Put ' before text that a spreadsheet would compute or show as another value."""
    if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) or _MANGLED.fullmatch(text):
        return f"'{text}"
    return text


def _without_control_characters(row: Mapping[str, object]) -> Mapping[str, object]:
    texts = [value for value in row.values() if type(value) is str]
    # One look at all of them: it is a rare row that needs a second.
    if "".join(texts).isprintable():
        return row
    spoilt = [
        name for name, value in row.items() if isinstance(value, str) and _CONTROL.search(value)
    ]
    if not spoilt:
        return row
    clean = {**row, **dict.fromkeys(spoilt, "")}
    if "warnings" in clean:
        known = {code for code in str(clean["warnings"] or "").split(";") if code}
        clean["warnings"] = ";".join(sorted(known | {Warn.CONTROL_CHARACTERS.value}))
    return clean
