"""What arrives: whether it is what was asked for, the name it gets, and room for it on the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from pathlib import Path

from screener.dicom import read_instance
from screener.dicom_frames import ends_early
from screener.domain import Limits
from screener.durable import sync_folder, write_file, writer_of
from screener.errors import FileRejected
from screener.outcomes import ReasonCode
from screener.pacs.archive import Film

PREFIX, SUFFIX = ".screener-pull-", ".part"
UNDATED = "undated"
_GB = 10**9
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class NoRoomError(Exception):
    """The bound of the folder or of the disk is reached: `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def fault_of(content: bytes, film: Film) -> str:
    """Why this is not the object that was asked for, or not all of it; empty where it is.

    What else is wrong with it is for the scan to say.
    """
    try:
        file = read_instance(memoryview(content), Limits())
    except FileRejected as error:
        return "CUT" if error.rejection.code is ReasonCode.TRUNCATED else "NOT_DICOM"
    instance = file.instance
    if instance.sop_instance_uid != film.sop_instance_uid:
        return "OTHER_OBJECT"
    if instance.study_instance_uid != film.study_instance_uid:
        return "OTHER_STUDY"
    return "CUT" if ends_early(file) else ""


def file_name(film: Film) -> str:
    """A name below the folder, made of hashes: no UID, whatever is in it, leads elsewhere."""
    day = film.study_date if re.fullmatch(r"[0-9]{8}", film.study_date) else UNDATED
    return f"{day}/{_digest(film.study_instance_uid)}/{_digest(film.sop_instance_uid)}.dcm"


def _digest(uid: str) -> str:
    return hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Shelf:
    """The folder that is filled, bounded by its own size and by what stays free on the disk."""

    def __init__(self, folder: Path, most_gb: float, free_gb: float) -> None:
        """Measure what it holds, and remove what a killed pull left half written.

        Raises:
            OSError: it cannot be read.
        """
        self._folder = folder
        self._most, self._free = most_gb * _GB, free_gb * _GB
        self._held = 0
        for parent, _, names in os.walk(folder, onerror=_raise):
            for name in names:
                path = Path(parent) / name
                if name.startswith(PREFIX) and name.endswith(SUFFIX):
                    path.unlink(missing_ok=True)
                else:
                    self._held += path.lstat().st_size

    def check(self, coming: int) -> None:
        """Refuse what would go over a bound; `coming` in bytes.

        Raises:
            NoRoomError: which bound.
        """
        if self._held + coming > self._most:
            raise NoRoomError("FOLDER_FULL")
        if shutil.disk_usage(self._folder).free - coming < self._free:
            raise NoRoomError("DISK_FULL")

    def keep(self, name: str, content: bytes) -> None:
        """Write a file, whole under its name or not at all, and durable when this returns.

        Raises:
            NoRoomError: a bound is reached; nothing was written.
            OSError: the disk fails.
        """
        self.check(len(content))
        target = self._folder / name
        for parent in (target.parent.parent, target.parent):
            if not parent.is_dir():
                parent.mkdir()
                sync_folder(parent.parent)
        before = target.stat().st_size if target.exists() else 0
        temporary = self._folder / f"{PREFIX}{os.getpid()}{SUFFIX}"
        temporary.unlink(missing_ok=True)
        try:
            write_file(temporary, writer_of(content))
            temporary.rename(target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if error.errno in _FULL:
                raise NoRoomError("DISK_FULL") from None
            raise
        sync_folder(target.parent)
        self._held += len(content) - before

    def holds(self, name: str) -> bool:
        """Whether a file of that name is there."""
        return bool(name) and (self._folder / name).is_file()

    def remove(self, name: str) -> None:
        """Remove a file that was kept, and the folder that it leaves empty.

        Raises:
            OSError: it is there and cannot be removed.
        """
        path = self._folder / name
        if not path.is_file():
            return
        size = path.stat().st_size
        path.unlink()
        self._held -= size
        for parent in (path.parent, path.parent.parent):
            if any(parent.iterdir()):
                break
            parent.rmdir()


def _raise(error: OSError) -> None:
    raise error
