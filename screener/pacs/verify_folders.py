"""The doors of `screener verify-pacs` that are folders: a worklist's, and an importer's of CSV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from screener.durable import write_file, writer_of
from screener.pacs.check import Check, State, check_of
from screener.pacs.film import header_of_row
from screener.pacs.publish import mend_of
from screener.pacs.trial import trial_row
from screener.pacs.worklist import WorklistError, entry, locked, remove_entry, write_entry
from screener.pacs.worklist_query import ask_worklist
from screener.settings import Settings

_TRIAL_ENTRY = "screener-test.wl"
_SHORT_PRIORITY = "STAT"


def verify_worklist(settings: Settings, folder: Path) -> Iterator[Check]:
    """An entry about nobody: written, asked for as a modality would, taken back."""
    door = settings.worklist
    priority = next((each for each in settings.priority.values() if each), _SHORT_PRIORITY)
    row = trial_row(priority)
    made = entry(row, header_of_row(row), door.ae_title)
    try:
        with locked(folder):
            write_entry(folder, _TRIAL_ENTRY, made)
    except WorklistError as error:
        yield Check("worklist", "write", State.FAILS, error.code, mend_of(error.code))
        return
    yield Check("worklist", "write", State.WORKS)
    try:
        if door.server:
            answer = ask_worklist(door, settings.dimse, made)
            yield check_of("worklist", f"ask for {priority}", answer, f"comes as {priority}")
        else:
            yield Check(
                "worklist",
                "ask",
                State.NOT_TRIED,
                "no server is named",
                "give server, server_port and server_ae_title under [worklist]",
            )
    finally:
        code = ""
        try:
            with locked(folder):
                remove_entry(folder, _TRIAL_ENTRY)
        except WorklistError as error:
            code = error.code
    if code:
        yield Check("worklist", "take back", State.FAILS, code, mend_of(code))
    else:
        yield Check("worklist", "take back", State.WORKS)


def verify_folder(door: str, folder: Path) -> Check:
    """Whether files can be put there, as an importer would find them."""
    temporary = folder / f".screener-test-{os.getpid()}.part"
    try:
        write_file(temporary, writer_of(b""))
        temporary.unlink()
    except OSError as error:
        found = os.strerror(error.errno or 0)
        return Check(door, "write", State.FAILS, found, mend_of("DISK"))
    return Check(door, "write", State.WORKS)
