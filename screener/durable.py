"""Files that survive: private from their first byte, hashed as they are written, synced.

What `publication` builds its switch from. Every failure of the disk becomes one kind of error.
"""

from __future__ import annotations

import errno
import grp
import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, runtime_checkable

from screener.errors import RunError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

Writer = Callable[[BinaryIO], int | None]
"""Writes one file and returns its number of rows, None where it has none."""

_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read the published files: their mode, and their group where it is not our own."""

    mode: int = 0o600
    gid: int | None = None


PRIVATE = Access()


@runtime_checkable
class Beside(Protocol):
    """A `Writer` of a file that may be written elsewhere while the others are written here."""

    def __call__(self, stream: BinaryIO) -> int | None:
        """Write it here and now."""
        ...

    def begin(self, path: Path, access: Access) -> None:
        """Begin to write it elsewhere, or do nothing."""
        ...

    def facts(self) -> dict[str, object] | None:
        """Wait until it is written; None where that was not begun or failed, and left no file."""
        ...

    def stop(self) -> None:
        """Write no more."""
        ...


@contextmanager
def private_files() -> Iterator[None]:
    """Whatever is made meanwhile is for this account alone; the caller's umask comes back after.

    A decorator, too. Who calls from a longer program goes on making files as before.
    """
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def access_for(mode: int, group: str) -> Access:
    """The access that a site's mode and group name mean; an empty name is no group.

    Raises:
        UsageError: There is no such group on this machine.
    """
    if not group:
        return Access(mode)
    try:
        return Access(mode, grp.getgrnam(group).gr_gid)
    except KeyError:
        raise UsageError(
            f"the group {group!r} does not exist on this machine", mend="make it, or name another"
        ) from None


def require_group(folder: Path, access: Access) -> None:
    """Find out before the work whether its files may be given to their group: give it one.

    Raises:
        RunError: they may not, or nothing can be written.
    """
    if access.gid is not None:
        with disk_errors(), tempfile.TemporaryFile(dir=folder) as stream:
            _give_to_group(stream.fileno(), access.gid)


class _Hashing(io.RawIOBase):
    """A new file that hashes what it is given."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._file = io.FileIO(descriptor, "wb")
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        count = self._file.write(data) or 0
        self.sha256.update(memoryview(data)[:count])
        self.size += count
        return count

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()


def write_file(path: Path, write: Writer, access: Access = PRIVATE) -> dict[str, object]:
    """Make a new file, synced and with its final access before anyone knows its name.

    Returns:
        Its SHA-256, size and, where the writer counts them, rows.

    Raises:
        OSError: The disk is full or failing, or the file exists.
        RunError: The account may not give files to the group.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    raw = _Hashing(os.open(path, flags, 0o600))
    with io.BufferedWriter(raw, _BUFFER) as stream:
        rows = write(stream)
        stream.flush()
        if access.gid is not None:
            _give_to_group(raw.fileno(), access.gid)
        # The umask has no say in what the site decided.
        os.fchmod(raw.fileno(), access.mode)
        os.fsync(raw.fileno())
    found: dict[str, object] = {"sha256": raw.sha256.hexdigest(), "size": raw.size}
    return found if rows is None else {**found, "rows": rows}


def write_files(
    folder: Path, files: Mapping[str, Writer], access: Access
) -> dict[str, dict[str, object]]:
    """Write files, one at a time; a `Beside` is begun first and waited for last.

    Returns:
        What `write_file` says of each, in their order.

    Raises:
        OSError, RunError: As `write_file` does; nothing writes on.
    """
    beside = {name: write for name, write in files.items() if isinstance(write, Beside)}
    written: dict[str, dict[str, object]] = {}
    try:
        for name, begun in beside.items():
            begun.begin(folder / name, access)
        for name, write in files.items():
            if name not in beside:
                written[name] = write_file(folder / name, write, access)
        for name, begun in beside.items():
            written[name] = begun.facts() or write_file(folder / name, begun, access)
    finally:
        for begun in beside.values():
            begun.stop()
    return {name: written[name] for name in files}


def writer_of(content: bytes) -> Writer:
    """What writes content that is at hand."""

    def write(stream: BinaryIO) -> None:
        stream.write(content)

    return write


def copy_file(source: Path, target: Path) -> None:
    """Copy a file with its access, synced.

    Raises:
        OSError: The disk is full or failing, or the target exists.
        RunError: The account may not give files to the group.
    """

    def write(stream: BinaryIO) -> None:
        with source.open("rb") as content:
            shutil.copyfileobj(content, stream, _BUFFER)

    about = source.stat()
    write_file(target, write, Access(stat.S_IMODE(about.st_mode), about.st_gid))


def open_to_group(folder: Path, gid: int) -> None:
    """Let a group enter and list a folder.

    Raises:
        OSError: The folder is not ours.
        RunError: The account may not give files to the group.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _give_to_group(descriptor, gid)
        os.fchmod(descriptor, 0o750)
    finally:
        os.close(descriptor)


def _give_to_group(descriptor: int, gid: int) -> None:
    if os.fstat(descriptor).st_gid == gid:
        return
    try:
        os.fchown(descriptor, -1, gid)
    except PermissionError:
        name = _name_of_group(gid)
        raise RunError(
            f"this account may not give files to the group {name}",
            "the last report is intact and what was examined is kept",
            f"add the account to the group of [output], as root: usermod -a -G {name} ACCOUNT",
        ) from None


def _name_of_group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder and say so.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder as far as that goes; its name must say already that it is not complete."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Make of an OSError what a user can act on."""
    try:
        yield
    except OSError as error:
        denied = error.errno in (errno.EACCES, errno.EPERM)
        raise RunError(
            f"the report could not be written: {os.strerror(error.errno or errno.EIO)}",
            "the last report is intact and what was examined is kept",
            (
                "give the output folder and all in it to the account that runs this (chown -R)"
                if denied
                else "free space or mend the disk"
            )
            + ", then run the same command again",
        ) from error
