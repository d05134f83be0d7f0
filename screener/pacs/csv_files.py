"""Files for an importer: rows of the report in its own shape, whole or not there at all."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from screener.durable import Access, sync_folder, write_file, writer_of
from screener.pacs.site import CsvDoor
from screener.report.columns import TRIAGE_COLUMNS
from screener.report.layout import TableLayout
from screener.report.tables import write_table

NO_PRIORITY = "NONE"


def table(rows: Iterable[Mapping[str, object]], layout: TableLayout) -> bytes:
    """The content of a file: rows as `triage.csv` has them, in an importer's shape.

    Raises:
        ValueError: the layout names a column that there is not.
    """
    stream = io.BytesIO()
    write_table(stream, TRIAGE_COLUMNS, rows, layout)
    return stream.getvalue()


def split(
    rows: Iterable[Mapping[str, Any]], door: CsvDoor, run_id: str
) -> dict[str, list[Mapping[str, Any]]]:
    """The rows by the name of the file that they go to, in the order in which they come."""
    files: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        word = "".join(c if c.isalnum() else "_" for c in str(row["priority"])) or NO_PRIORITY
        files.setdefault(door.file.format(run_id=run_id, priority=word), []).append(row)
    return files


def place(folder: Path, name: str, content: bytes, access: Access) -> Path:
    """Put a file where the importer looks, by a rename.

    A file of that name with other content waits there still: the new one gets a number.

    Raises:
        OSError: the folder is missing, full or not ours.
        RunError: the account may not give files to the group.
    """
    target = folder / name
    for number in count(2):
        if not target.exists():
            break
        if target.read_bytes() == content:
            # Written, and killed before it was noted.
            return target
        target = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    temporary = folder / f".{target.name}.part"
    temporary.unlink(missing_ok=True)
    write_file(temporary, writer_of(content), access)
    temporary.rename(target)
    sync_folder(folder)
    return target
