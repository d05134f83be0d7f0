"""The files of a run's folder into the output folder, each by a rename, `run.json` last.

What was begun is ended by doing it again, and a report that is whole in `runs/` can be switched
back to. The caller decides when; see `screener.publication`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from screener.durable import copy_file, sync_folder
from screener.manifest import MANIFEST, RUNS, file_names, mismatches, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

_TEMPORARY = ".screener-"
# A file system without hard links says so in one of these ways.
_NO_LINKS = frozenset({errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EXDEV, errno.ENOSYS})


def switch(out: Path, source: Path) -> None:
    """Bring the files of a run into the output folder, `run.json` last. Ends what it once began."""
    names = file_names(read_manifest(source))
    before = file_names(read_manifest(out))
    # All that needs room on the disk comes before the first file is replaced.
    temporaries = {name: _place(source / name, out) for name in [*names, MANIFEST]}
    sync_folder(out)
    manifest = temporaries.pop(MANIFEST)
    for name, temporary in temporaries.items():
        _replace(temporary, out / name)
    for name in before:
        if name not in names:
            (out / name).unlink(missing_ok=True)
    sync_folder(out)
    _replace(manifest, out / MANIFEST)
    sync_folder(out)


def turn_back(out: Path, given_up: Path) -> bool:
    """Restore the report that `run.json` in the output folder names; False where it cannot be."""
    last = read_manifest(out)
    if last is not None:
        source = out / RUNS / last["run_id"]
        # The very run that is given up, where the error came after its last rename; or a history
        # that someone removed.
        if mismatches(source):
            return False
        switch(out, source)
    for name in file_names(read_manifest(given_up)):
        if name not in file_names(last):
            (out / name).unlink(missing_ok=True)
    sync_folder(out)
    return True


def _place(source: Path, out: Path) -> Path:
    """Put a file under a temporary name into the output folder: the file itself, or a copy."""
    temporary = out / f"{_TEMPORARY}{source.name}"
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        copy_file(source, temporary)
    return temporary


def _replace(temporary: Path, target: Path) -> None:
    temporary.replace(target)
    # rename(2) does nothing where both names are the same file already.
    temporary.unlink(missing_ok=True)


def remove_temporaries(out: Path) -> None:
    """Remove what a killed switch left lying."""
    for path in out.iterdir():
        if path.name.startswith(_TEMPORARY):
            path.unlink(missing_ok=True)
