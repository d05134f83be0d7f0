"""The page for eyes stands apart: a bug in drawing it never holds a night's worklist back.

Everything else of a report is what a study's care rests on, and where that fails nothing is
published. The page repeats it. Where it cannot be drawn a plain page says so in its place, and the
run tells it everywhere: summary, log and `run.json`.
"""

from __future__ import annotations

import io
import sqlite3
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from screener.errors import ScreenerError
from screener.report.html import write_html
from screener.report.page import ReportFacts
from screener.report.pictures import Picture

INSTEAD = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The page could not be drawn</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'"></head>
<body><h1>The page of this night could not be drawn</h1>
<p>Every study was screened as ever and stands in <code>triage.csv</code>, every path in
<code>images.csv</code>. This page alone is missing, by a fault of the program: please report it as
a bug.</p></body></html>
"""


@dataclass(slots=True)
class PageGuard:
    """Draws the page, or what stands in its place.

    `fault`: the kind of the error and where in the program it arose, without its text, which may
    hold a patient's name; empty where the page was drawn.
    """

    fault: str = ""

    def write(
        self,
        stream: BinaryIO,
        facts: ReportFacts,
        rows: Iterable[tuple[Mapping[str, Any], Picture | None]],
    ) -> int | None:
        """Write the page whole or not at all; see `write_html`.

        Raises:
            OSError: the disk takes no more, as it would for every other file of the report.
            sqlite3.Error, ScreenerError: the state failed, which the tables are made from, too.
        """
        # Held until it is whole: no more than `screener.report.html.PAGE_BYTES`. Nothing is written
        # to the disk meanwhile, so an OSError is the page's own: a template, style or script that
        # is gone (jinja2's TemplateNotFound is one).
        page = io.BytesIO()
        try:
            count = write_html(page, facts, rows)
        except (sqlite3.Error, ScreenerError):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of the page: any bug in drawing it
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.fault = f"{type(error).__name__} in {last.name}, line {last.lineno}"
            stream.write(INSTEAD)
            return None
        stream.write(page.getbuffer())
        return count
