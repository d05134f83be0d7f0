"""The switch from the last report to the next: whole old or whole new, whatever happens between.

A run's files are written and synced in `runs/`, and one rename of that folder commits them. Then
each file appears in the output folder under its name by a rename, `run.json` last, with the hashes
of the others: an importer takes nothing that does not match. What the names in `runs/` mean:

    .<run_id>.writing   not complete: thrown away by the next run
    .<run_id>.ready     complete and synced: the switch to it is begun and the next run ends it
    <run_id>            published

An error in the middle of a switch turns it back; a kill leaves it for `finish_interrupted`. The
caller holds the lock on the output folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from screener.durable import (
    PRIVATE,
    Access,
    disk_errors,
    open_to_group,
    remove_tree,
    sync_folder,
    write_file,
    write_files,
    writer_of,
)
from screener.errors import RunError
from screener.manifest import MANIFEST, RUNS, is_name, mismatches, read_manifest
from screener.switch import remove_temporaries, switch, turn_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from screener.durable import Writer

KEPT_RUNS = 30
_WRITING, _READY = ".writing", ".ready"
_RUN_NUMBER = re.compile(r"\.?[0-9]{8}T[0-9]{6}Z-([0-9]{6,9})(?![0-9])")


def publish_run(
    out: Path,
    run_id: str,
    files: Mapping[str, Writer],
    summary: Callable[[], Mapping[str, object]],
    access: Access = PRIVATE,
) -> Path:
    """Write a report beside the last one and switch to it.

    Args:
        out: The output folder; made where it is missing.
        run_id: Names the run; later ones have a higher number, or sort behind earlier ones.
        files: Name -> what writes it. Called in this order, one at a time; a `Beside` is begun
            first and waited for last.
        summary: What `run.json` says of the run, asked for when the files are written; `run_id` and
            `files` are added.
        access: Who may read the published files.

    Returns:
        The folder that keeps this report.

    Raises:
        ValueError: A name that is none, or a run id that was used before.
        RunError: A disk that is full or failing; the last report is intact.
    """
    for name in (run_id, *files):
        if not is_name(name):
            raise ValueError(f"{name!r} is no name for a run or a report file")
    runs = out / RUNS
    published = runs / run_id
    with disk_errors():
        _make_folders(out, access)
        if published.exists():
            raise ValueError(f"the run {run_id!r} was published before")
        try:
            ready = _write_run(runs, run_id, files, summary, access)
        except BaseException:
            # What is incomplete takes room on a disk that may be full.
            _discard(runs, run_id)
            raise
        _switch_orturn_back(out, ready)
    with suppress(OSError):
        # History that stays too long is no reason to call a published report failed.
        _prune(runs, keep=run_id)
    return published


def finish_interrupted(out: Path) -> str | None:
    """End the switch that a killed run began, and remove what killed runs left lying.

    Returns:
        The run that was published by this, None where there was none.

    Raises:
        RunError: A disk that is full or failing; the next run tries again.
    """
    runs = out / RUNS
    if not runs.is_dir():
        return None
    finished = None
    with disk_errors():
        for ready in sorted(runs.glob(f".*{_READY}")):
            if mismatches(ready):
                # The disk lost what it had confirmed: back to the last report that is whole.
                turn_back(out, ready)
                _discard(runs, _run_id(ready))
            else:
                _switch_orturn_back(out, ready)
                finished = _run_id(ready)
        for writing in runs.glob(f".*{_WRITING}"):
            remove_tree(writing)
        remove_temporaries(out)
    return finished


def last_number(out: Path) -> int:
    """The highest number in the ids of the runs that lie in `runs/`, 0 where there is none.

    Raises:
        RunError: The folder cannot be read.
    """
    runs = out / RUNS
    with disk_errors():
        names = os.listdir(runs) if runs.is_dir() else []
    return max((number for name in names if (number := number_of(name)) is not None), default=0)


def number_of(run_name: str) -> int | None:
    """The number in a run's id, also of one that is not complete; None where there is none."""
    found = _RUN_NUMBER.match(run_name)
    return int(found[1]) if found else None


def remove_runs(out: Path, run_ids: Iterable[str]) -> None:
    """Remove kept reports; each counts as incomplete from its first moment.

    Raises:
        RunError: The disk is failing; the rest is still there.
    """
    runs = out / RUNS
    with disk_errors():
        for name in sorted(run_ids):
            doomed = runs / f".{name.removeprefix('.').removesuffix(_WRITING)}{_WRITING}"
            if (runs / name).exists() and runs / name != doomed:
                (runs / name).rename(doomed)
            if doomed.exists():
                shutil.rmtree(doomed)
        if runs.is_dir():
            sync_folder(runs)


def published_run(out: Path) -> dict[str, Any] | None:
    """What the `run.json` of a folder says; None where there is none that can be believed.

    Raises:
        RunError: The folder cannot be read.
    """
    with disk_errors():
        return read_manifest(out)


def verify_published(out: Path) -> tuple[str, ...]:
    """The names of the files that `run.json` does not vouch for; empty where the report is whole.

    Works on the output folder and on a folder in `runs/` alike.

    Raises:
        RunError: A file cannot be read.
    """
    with disk_errors():
        return mismatches(out)


def open_to_others(path: Path, access: Access = PRIVATE) -> bool:
    """Whether others than the owner can enter, list or change a folder of reports.

    Where `access` names a group, that group may enter and list.
    """
    allowed = 0o700 if access.gid is None else 0o750
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o777 & ~allowed)


# -- writing -----------------------------------------------------------------------------------


def _make_folders(out: Path, access: Access) -> None:
    runs = out / RUNS
    if runs.is_dir():
        return
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    if access.gid is not None and stat.S_IMODE(out.stat().st_mode) == 0o700:
        # A fresh folder of ours: the importer must be able to enter it. Any other is the site's.
        open_to_group(out, access.gid)
    runs.mkdir(mode=0o700)
    sync_folder(out)
    sync_folder(out.parent)


def _write_run(
    runs: Path,
    run_id: str,
    files: Mapping[str, Writer],
    summary: Callable[[], Mapping[str, object]],
    access: Access,
) -> Path:
    """Write and sync a run's folder, and commit it by one rename."""
    writing = runs / f".{run_id}{_WRITING}"
    ready = runs / f".{run_id}{_READY}"
    writing.mkdir(mode=0o700)
    written = write_files(writing, files, access)
    manifest = {**summary(), "run_id": run_id, "files": written}
    content = f"{json.dumps(manifest, indent=2, allow_nan=False)}\n".encode()

    write_file(writing / MANIFEST, writer_of(content), access)
    sync_folder(writing)
    writing.rename(ready)
    sync_folder(runs)
    return ready


def _discard(runs: Path, run_id: str) -> None:
    """Throw a run away that was not published; what stays counts as incomplete."""
    writing = runs / f".{run_id}{_WRITING}"
    ready = runs / f".{run_id}{_READY}"
    with suppress(OSError):
        if ready.exists():
            ready.rename(writing)
    remove_tree(writing)


# -- switching ---------------------------------------------------------------------------------


def _switch_orturn_back(out: Path, ready: Path) -> None:
    """Switch to a complete run; on an error back to the last report, and the run is given up."""
    try:
        switch(out, ready)
    except (OSError, RunError):
        # A disk that also refuses to turn back leaves the run ready: the next run ends the switch,
        # and until then no importer takes what `run.json` does not vouch for.
        with suppress(OSError, RunError):
            if turn_back(out, ready):
                _discard(ready.parent, _run_id(ready))
            remove_temporaries(out)
        raise
    ready.rename(ready.with_name(_run_id(ready)))
    sync_folder(ready.parent)


def _prune(runs: Path, keep: str) -> None:
    """Keep the last runs. One that is being removed counts as incomplete from its first moment."""
    published = [
        entry.name
        for entry in runs.iterdir()
        if (read_manifest(entry) or {}).get("run_id") == entry.name
    ]
    # By their number: a clock that was set back gives a later run an earlier name.
    published.sort(key=lambda name: (number_of(name) or 0, name))
    for name in published[:-KEPT_RUNS]:
        if name != keep:
            doomed = runs / f".{name}{_WRITING}"
            (runs / name).rename(doomed)
            remove_tree(doomed)


def _run_id(ready: Path) -> str:
    return ready.name[1:].removesuffix(_READY)
