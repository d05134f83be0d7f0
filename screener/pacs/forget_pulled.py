"""`screener purge` in what `screener pull` keeps: the files that it fetched, and what it knows.

They are this program's own copies of what an archive holds, so they go; files that others laid into
the same folder stay, as everywhere. Also found are files of the patient that no scan has seen yet.
Files first, then the rows that lead to them: a kill leaves enough for the same command to go on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from screener.dicom import read_instance
from screener.domain import Limits
from screener.durable import sync_folder
from screener.errors import FileRejected, UsageError
from screener.ledger_errors import state_errors
from screener.lock import state_lock
from screener.pacs.arrival import UNDATED, Shelf
from screener.pacs.pull_state import PullState
from screener.purge import Remove, Traces

_STATE = ".pull.sqlite"
_FETCHED = re.compile(rf"([0-9]{{8}}|{UNDATED})/[0-9a-f]{{32}}/[0-9a-f]{{32}}\.dcm")


@contextmanager
def forgetting_pulled(
    given: Path | None, state: Path | None, told: Callable[[Path], None], traces: Traces
) -> Iterator[Remove]:
    """Lock every folder that a `pull` fills; what is given then removes the patient from them.

    Args:
        given: Such a folder; those among the roots of the last report, or in them, are found where
            their state lies beside them, as `pull` lays it.
        state: Of the given folder, where it lies elsewhere.
        told: Called with each folder that is looked through.
        traces: By what the patient is found.

    Raises:
        UsageError: the given folder has no state.
        LockedError: a pull is at work.
        RunError: a state cannot be read.
    """
    pulled = {folder: _state_of(folder) for folder in _folders(traces.roots)}
    if given is not None:
        folder = Path(os.path.abspath(given))
        pulled[folder] = Path(os.path.abspath(state)) if state else _state_of(folder)
        if not pulled[folder].is_file():
            raise UsageError(
                f"no state of a pull: {str(pulled[folder])!r}",
                "it is written by `screener pull`",
                "name it with --pull-state",
            )
    with ExitStack() as stack:
        steps = []
        for folder, path in pulled.items():
            stack.enter_context(state_lock(path.with_name(f"{path.name}.lock")))
            known = stack.enter_context(PullState(path, ""))
            steps.append(partial(_remove, folder, path, known, traces))
            told(folder)
        yield lambda: sum(step() for step in steps)


def _folders(roots: Sequence[bytes]) -> Iterator[Path]:
    for root in map(Path, map(os.fsdecode, roots)):
        for state in (_state_of(root), *sorted(root.glob(f"*{_STATE}"))):
            folder = state.with_name(state.name.removesuffix(_STATE))
            if state.is_file() and folder.is_dir():
                yield folder


def _state_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_STATE}")


def _remove(folder: Path, state: Path, known: PullState, traces: Traces) -> int:
    studies, theirs = traces.found.study_uids, set(traces.found.paths)
    with state_errors(state):
        objects = known.theirs(studies, traces.found.object_uids)
        files = {name for name in objects.values() if name}
        uids = {*objects, *traces.found.object_uids}
        for name in _fetched(folder):
            path = os.fsencode(folder / name)
            if path in theirs:
                files.add(name)
            elif name not in files and not traces.is_known(path):
                uid = _uid_if_theirs(folder / name, traces)
                if uid is not None:
                    files.add(name)
                    uids.add(uid)
        if uids:
            known.keep_out(uids)
        count = _remove_files(folder, files)
        known.forget(studies, sorted(uids))
    return count


def _remove_files(folder: Path, files: set[str]) -> int:
    shelf = Shelf(folder, 0, 0)
    count = sum(shelf.holds(name) for name in files)
    for name in sorted(files):
        shelf.remove(name)
    for touched in {folder, *(each for name in files for each in (folder / name).parents[:2])}:
        if touched.is_dir():
            sync_folder(touched)
    return count


def _fetched(folder: Path) -> Iterator[str]:
    """The names of the files that a pull wrote, below the folder."""
    for path in folder.glob("*/*/*.dcm"):
        name = path.relative_to(folder).as_posix()
        if _FETCHED.fullmatch(name) and path.is_file() and not path.is_symlink():
            yield name


def _uid_if_theirs(path: Path, traces: Traces) -> str | None:
    """The UID of an object of the patient that no scan has seen; None where it is another's."""
    try:
        instance = read_instance(memoryview(path.read_bytes()), Limits()).instance
    except FileRejected:
        # Nobody can tell whose it is; the next scan says what is wrong with it.
        return None
    patient = traces.patient
    if instance.patient_id.strip() != patient.patient_id:
        return None
    if patient.issuer not in (None, instance.issuer_of_patient_id.strip()):
        return None
    return instance.sop_instance_uid
