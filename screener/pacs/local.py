"""The doors that are folders: worklist entries and files for importers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screener.domain import Triage
from screener.durable import access_for
from screener.identifiers import mask, report_key
from screener.pacs.csv_files import place, split, table
from screener.pacs.making import UNFIT, header_for
from screener.pacs.planning import CSV, WORKLIST, in_conflict
from screener.pacs.queue import Item, Queue
from screener.pacs.site import CsvDoor, Worklist
from screener.pacs.worklist import (
    WorklistError,
    entry,
    file_name,
    locked,
    own_entries,
    remove_entry,
    write_entry,
)
from screener.report.columns import TRIAGE_COLUMNS
from screener.report.rows import triage_row
from screener.reporting import site_layout
from screener.settings import Settings
from screener.triage import sort_key

if TYPE_CHECKING:
    from screener.pacs.publish import Delivered


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def deliver_worklist(
    queue: Queue, worklist: Worklist, done: frozenset[str], result: Delivered
) -> None:
    """Make the folder hold what is raised now, and nothing else of ours.

    An entry goes when its time is over, its study was read (`done`), is no longer raised, or is no
    longer known because the patient was purged. One that went because of time or reading does not
    come back for the same verdict.
    """
    folder = worklist.folder
    if folder is None:
        return
    try:
        with locked(folder):
            kept = _withdraw(queue, folder, worklist, done, result)
            for number in queue.waiting((WORKLIST,), WORKLIST):
                item = queue.item(number)
                name = file_name(item.study_key, item.patient_key)
                try:
                    dataset = entry(item.payload["row"], header_for(item.payload), item_title(item))
                    write_entry(folder, name, dataset)
                except UNFIT as error:
                    code = f"UNFIT_{type(error).__name__}"
                    queue.mark_impossible(number, code)
                    result.impossible[code] += 1
                    continue
                queue.mark_delivered(number, _now())
                kept.add(name)
                result.sent += 1
            for name in own_entries(folder) - kept:
                remove_entry(folder, name)
    except WorklistError as error:
        for number in queue.waiting((WORKLIST,), WORKLIST):
            queue.mark_failed(number, error.code)
            result.left[error.code] += 1
        if not result.left:
            # Nothing waits, but an entry may stand that should not: it is tried again.
            result.left[error.code] += 1


def item_title(item: Item) -> str:
    """The AE title that an entry was planned for."""
    return str(item.payload["form"])


def _withdraw(
    queue: Queue, folder: Path, worklist: Worklist, done: frozenset[str], result: Delivered
) -> set[str]:
    """Take back what must not stand; the names of what may."""
    oldest = f"{datetime.now(UTC) - timedelta(hours=worklist.hours):%Y-%m-%dT%H:%M:%SZ}"
    kept = set()
    for standing in queue.standing(WORKLIST, WORKLIST):
        name = file_name(standing["study_key"], standing["patient_key"])
        row = json.loads(standing["row"]) if standing["row"] else None
        raised = row is not None and bool(row["priority"]) and not in_conflict(row)
        read = row is not None and row["accession_number"] in done - {""}
        if raised and not read and standing["done_at"] > oldest:
            kept.add(name)
            continue
        remove_entry(folder, name)
        queue.mark_withdrawn(standing["id"], for_good=raised)
        result.withdrawn += 1
    return kept


def deliver_csv(
    queue: Queue, name: str, door: CsvDoor, settings: Settings, out: Path, result: Delivered
) -> None:
    """Write what waits for an importer into files of its shape.

    Raises:
        UsageError, RunError: the key of the pseudonyms cannot be used.
    """
    waiting = {number: queue.item(number).payload["row"] for number in queue.waiting((CSV,), name)}
    if not waiting:
        return
    ordered = sorted(waiting, key=lambda number: _order(waiting[number]))
    rows = [_shown(waiting[number], settings, out) for number in ordered]
    layout, access = site_layout(door.layout), access_for(*_access(settings))
    written: list[int] = []
    try:
        for file, part in split(rows, door, queue.last_run()).items():
            ranked = [triage_row(row, rank) for rank, row in enumerate(part, 1)]
            place(door.folder, file, table(ranked, layout), access)
        written = ordered
    except OSError:
        for number in ordered:
            queue.mark_failed(number, "DISK")
        result.left["DISK"] += len(ordered)
    queue.mark_all_delivered(written, _now())
    result.sent += len(written)


def _access(settings: Settings) -> tuple[int, str]:
    return settings.output.mode, settings.output.group


def _order(row: Mapping[str, Any]) -> tuple[float, ...] | tuple[Any, ...]:
    return sort_key(Triage(row["triage"]), row["score"], row["study_key"])


def _shown(row: Mapping[str, Any], settings: Settings, out: Path) -> dict[str, Any]:
    """The row as the site lets it be seen, without what is the ledger's own."""
    own = {name: row[name] for name in TRIAGE_COLUMNS if name in row}
    key = b""
    if settings.identifiers == "pseudonym":
        key = report_key(out)
    return dict(mask(own, settings.identifiers, key))
