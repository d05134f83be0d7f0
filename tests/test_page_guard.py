"""A bug in drawing the page is told everywhere and holds no worklist back; a failing disk does."""

from __future__ import annotations

import errno
import json
import sqlite3
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateNotFound

from screener.errors import RunError
from screener.log import EventLog
from screener.publication import verify_published
from screener.report import html
from screener.report.page_guard import INSTEAD, PageGuard
from screener.screening import scan
from screener.settings import Settings
from tests.films import TINY, night
from tests.report_pages import facts
from tests.test_scan import rows, without

SETTINGS = Settings(model=TINY, workers=1, settle=0.0)
NAME = "CANARY^NAME"


def break_page(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The third study of the page cannot be drawn."""
    drawn = html.study_of
    count = 0

    def study_of(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            raise error
        return drawn(*arguments)

    monkeypatch.setattr(html, "study_of", study_of)


def test_the_worklist_is_published_without_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = night(tmp_path / "studies")
    whole, out, log = tmp_path / "whole", tmp_path / "out", tmp_path / "log.jsonl"
    assert scan([studies], whole, SETTINGS).exit_code == 3
    break_page(monkeypatch, KeyError(NAME))
    with EventLog(log) as events:
        summary = scan([studies], out, SETTINGS, events=events)
    assert summary.exit_code == 3
    for name in ("triage.csv", "images.csv"):
        assert without(rows(out, name)) == without(rows(whole, name))
    assert (out / "report.html").read_bytes() == INSTEAD
    assert verify_published(out) == ()
    facts = json.loads((out / "run.json").read_text())
    assert facts["page_fault"].startswith("KeyError in study_of, line ")
    assert facts["page_fault"] in summary.notices[-1]
    assert "triage.csv is whole" in summary.notices[-1]
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert facts["page_fault"] in [each.get("fault") for each in told]
    assert NAME not in log.read_text() + (out / "run.json").read_text() + summary.notices[-1]
    # The next night draws it again.
    monkeypatch.undo()
    scan([studies], out, SETTINGS)
    assert (out / "report.html").stat().st_size > len(INSTEAD)
    assert "page_fault" not in json.loads((out / "run.json").read_text())


def state_error() -> sqlite3.Error:
    """As SQLite raises it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("SELECT x FROM nothing")
        except sqlite3.Error as error:
            return error
    raise AssertionError


def test_a_failing_state_is_no_fault_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = night(tmp_path / "studies")
    break_page(monkeypatch, state_error())
    with pytest.raises(RunError):
        scan([studies], tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out" / "run.json").exists()


def nothing_to_draw(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Every part of the page that is read from the package fails."""

    def read(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(html, "_template", read)


@pytest.mark.parametrize(
    "error", [TemplateNotFound(html.TEMPLATE), OSError(errno.EIO, "report.css")]
)
def test_a_part_of_the_page_that_is_gone_is_its_own_fault(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    # Both are an OSError, as a full disk is; the tables need none of these files.
    nothing_to_draw(monkeypatch, error)
    page, stream = PageGuard(), BytesIO()
    assert page.write(stream, facts([]), []) is None
    assert stream.getvalue() == INSTEAD
    assert page.fault.startswith(type(error).__name__)


class FullDisk(BytesIO):
    """Takes nothing."""

    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, "full")


@pytest.mark.parametrize("broken", [False, True])
def test_a_full_disk_is_no_fault_of_the_page(monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    if broken:
        nothing_to_draw(monkeypatch, KeyError(NAME))
    with pytest.raises(OSError, match="full"):
        PageGuard().write(FullDisk(), facts([]), [])
