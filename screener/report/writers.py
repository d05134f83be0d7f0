"""The files of a report: what writes each, its patients named as the site wants it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from screener.durable import Writer
from screener.identifiers import mask
from screener.report.columns import TRIAGE_COLUMNS
from screener.report.html import SHOWN
from screener.report.images import ImagesWriter
from screener.report.layout import SPREADSHEET, SPREADSHEET_DELIMITERS, TableLayout
from screener.report.page import ReportFacts
from screener.report.page_guard import PageGuard
from screener.report.pictures import Picture, picture_of
from screener.report.rows import triage_row
from screener.report.store import ReportStore
from screener.report.tables import write_table
from screener.settings import Settings


def writers_of(
    store: ReportStore,
    run_id: str,
    images: ImagesWriter,
    page: PageGuard,
    facts: ReportFacts,
    settings: Settings,
    layout: TableLayout,
    key: bytes,
) -> dict[str, Writer]:
    """File name -> what writes its rows to a stream and returns their number.

    Args:
        store: Holds the collected verdicts.
        run_id: Of the run that tells them.
        images: Writes `images.csv`.
        page: Writes `report.html`.
        facts: What stands at its head.
        settings: Of the run.
        layout: The shape of `triage.csv`.
        key: Of the pseudonyms; empty without.
    """

    def shown(row: Mapping[str, Any], rank: int) -> Mapping[str, Any]:
        return mask(triage_row(row, rank), settings.identifiers, key)

    def triage_rows() -> Iterator[Mapping[str, Any]]:
        rank = 0
        for row in store.read_verdicts(run_id):
            if settings.only_new and not row["is_new"]:
                continue
            rank += 1
            yield shown(row, rank)

    def studies() -> Iterator[tuple[Mapping[str, Any], Picture | None]]:
        for rank, (row, image) in enumerate(store.pictured_verdicts(run_id, SHOWN), 1):
            # Text that is burned into a film would say what the report was told to leave out.
            hidden = settings.identifiers != "full" and image["burned_in_annotation"]
            yield shown(row, rank), None if hidden else picture_of(image, row["finding"])

    masked = replace(
        facts, failures=[mask(each, settings.identifiers, key) for each in facts.failures]
    )
    writers: dict[str, Writer] = {
        "triage.csv": lambda stream: write_table(stream, TRIAGE_COLUMNS, triage_rows(), layout),
        "images.csv": images,
        "report.html": lambda stream: page.write(stream, masked, studies()),
    }
    if settings.spreadsheet:
        # What divides cells there is the country's, which the site's importer shows.
        usual = layout.delimiter in SPREADSHEET_DELIMITERS
        sheet = replace(SPREADSHEET, delimiter=layout.delimiter) if usual else SPREADSHEET
        writers["triage-spreadsheet.csv"] = lambda stream: write_table(
            stream, TRIAGE_COLUMNS, triage_rows(), sheet
        )
    return writers
