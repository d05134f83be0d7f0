"""The walk: which paths there are, and what a file is by its content. First on the way.

Names are bytes from end to end: a folder of studies may hold names in any encoding. Nothing is
opened here but folders; links are never followed, except that a starting folder may be one, because
mounts often are.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from screener.domain import FileKind, Rejection
from screener.outcomes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DICOMDIR_SOP_CLASS_UID = b"1.2.840.10008.1.3.10"
_PREAMBLE = 128
_OPEN_FOLDERS = 64
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# What a terminal, a CSV reader or an eye could take for something else: control characters, line
# separators, invisible and direction-changing ones, bytes that are no UTF-8, and a backslash that
# would read as one of our own escapes. Spelled out, so that it never depends on a Unicode version.
_ESCAPED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff"
    "\U000e0000-\U000e0fff\udc80-\udcff]|\\\\(?=x[0-9a-fA-F]{2})"
)
_WRITTEN = re.compile(rb"\\x([0-9a-fA-F]{2})")
_META_SOP_CLASS = (0x0002, 0x0002)
_SOP_CLASS = (0x0008, 0x0016)
_UID = re.compile(rb"[0-2](\.[0-9]+){2,31}")
# Explicit VRs with a 32-bit length (PS3.5 7.1.2).
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR",
                       b"UT", b"UV"))  # fmt: skip
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", FileKind.PNG),
    (b"\xff\xd8\xff", FileKind.JPEG),
    (b"II*\x00", FileKind.TIFF),
    (b"MM\x00*", FileKind.TIFF),
    (b"II+\x00", FileKind.TIFF),
    (b"MM\x00+", FileKind.TIFF),
)


@dataclass(frozen=True, slots=True)
class Found:
    """One path of the walk; `rejection` where it is nothing to open."""

    path: bytes
    rejection: Rejection | None


@dataclass(frozen=True, slots=True)
class _Excluded:
    """Paths to leave out; known by inode too, because a link may lead to them by another name."""

    paths: frozenset[bytes]
    identities: frozenset[tuple[int, int]]
    inodes: frozenset[int]

    @classmethod
    def of(cls, paths: Iterable[bytes]) -> _Excluded:
        normal = frozenset(normalise(path) for path in paths)
        identities = set()
        for path in normal:
            try:
                status = os.stat(path)
            except OSError:
                continue
            identities.add((status.st_dev, status.st_ino))
        return cls(normal, frozenset(identities), frozenset(inode for _, inode in identities))

    def covers(self, path: bytes) -> bool:
        """True for a starting path that is excluded or lies below what is."""
        return any(above in self.paths for above in _itself_and_above(path))

    def has(self, path: bytes, entry: os.DirEntry[str]) -> bool:
        if path in self.paths:
            return True
        # The inode comes with the listing; only a match is worth a system call.
        if entry.inode() not in self.inodes:
            return False
        status = entry.stat(follow_symlinks=False)
        return (status.st_dev, status.st_ino) in self.identities


def walk(paths: Sequence[bytes], exclude: Sequence[bytes] = ()) -> Iterator[Found]:
    """List every path at or below `paths`, each once, in the order of the file system.

    A folder is no path of its own unless it cannot be read. What lies at or below `exclude` (the
    program's own output) does not exist for the walk. Memory does not grow with the number of
    entries: one open listing a level, and nothing is remembered.

    Args:
        paths: Files and folders, relative or absolute; one below another is covered by that one.
        exclude: Files and folders to leave out.
    """
    excluded = _Excluded.of(exclude)
    roots = dict.fromkeys(normalise(path) for path in paths)
    for root in roots:
        above = _itself_and_above(os.path.dirname(root))
        if excluded.covers(root) or (root != b"/" and any(path in roots for path in above)):
            continue
        yield from _walk_root(root, excluded)


def normalise(path: bytes) -> bytes:
    """Make a path absolute without following links, one spelling for each."""
    absolute = os.path.abspath(path)
    return absolute[1:] if absolute.startswith(b"//") else absolute


def _itself_and_above(path: bytes) -> Iterator[bytes]:
    yield path
    while (above := os.path.dirname(path)) != path:
        path = above
        yield path


def _walk_root(root: bytes, excluded: _Excluded) -> Iterator[Found]:
    try:
        status = os.stat(root)
        if stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) not in excluded.identities:
                yield from _walk_folder(root, excluded)
            return
        status = os.lstat(root)
    except OSError as error:
        yield _unreadable(root, error)
        return
    yield _judge_mode(root, status.st_mode)


def _walk_folder(root: bytes, excluded: _Excluded) -> Iterator[Found]:
    levels: list[Iterator[Found | bytes]] = [_list_folder(root, excluded, 0)]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
        elif isinstance(entry, Found):
            yield entry
        else:
            listing = _list_folder(entry, excluded, os.O_NOFOLLOW)
            # Descriptors are few: what lies very deep is listed in one go.
            levels.append(listing if len(levels) < _OPEN_FOLDERS else iter(list(listing)))


def _list_folder(folder: bytes, excluded: _Excluded, flags: int) -> Iterator[Found | bytes]:
    """Yield what lies in a folder; the bare path where it is a folder itself."""
    try:
        # By descriptor: a folder that became a link since it was listed is not followed.
        descriptor = os.open(folder, _OPEN_FOLDER | flags)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    path = os.path.join(folder, os.fsencode(entry.name))
                    judged = _judge_entry(path, entry, excluded)
                    if judged is not None:
                        yield judged
        finally:
            os.close(descriptor)
    except OSError as error:
        yield _unreadable(folder, error)


def _judge_entry(path: bytes, entry: os.DirEntry[str], excluded: _Excluded) -> Found | bytes | None:
    try:
        if excluded.has(path, entry):
            return None
        if entry.is_file(follow_symlinks=False):
            return Found(path, None)
        if entry.is_dir(follow_symlinks=False):
            return path
        return _judge_mode(path, entry.stat(follow_symlinks=False).st_mode)
    except OSError as error:
        return _unreadable(path, error)


def _judge_mode(path: bytes, mode: int) -> Found:
    if stat.S_ISREG(mode):
        return Found(path, None)
    return Found(path, Rejection(ReasonCode.LINK if stat.S_ISLNK(mode) else ReasonCode.NOT_REGULAR))


def _unreadable(path: bytes, error: OSError) -> Found:
    return Found(path, Rejection(ReasonCode.UNREADABLE, type(error).__name__))


def display_path(path: bytes) -> str:
    r"""Write a path as text: UTF-8 as it is, all else as `\xNN` for each byte.

    Lossless: every `\xNN` (two hexadecimal digits) in the result stands for one byte, also for a
    backslash that would read so in the name itself; two paths never give one text.
    """
    text = path.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable() and "\\" not in text:
        # Most names: a regular expression costs three times as much.
        return text
    return _ESCAPED.sub(_escape, text)


def path_of_display(text: bytes) -> bytes:
    """The path that `display_path` has written: the reverse of it."""
    return _WRITTEN.sub(lambda match: bytes([int(match[1], 16)]), text)


def _escape(match: re.Match[str]) -> str:
    encoded = match[0].encode("utf-8", "surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in encoded)


def kind_of(content: memoryview) -> FileKind | Rejection:
    """Tell a file's kind by its content (PS3.10 7.1 for DICOM), never by its name.

    A DICOM file without preamble counts only if its elements really lead to a SOP class UID. The
    first bytes of a copy that has not got further are TRUNCATED, not some other kind.
    """
    head = bytes(content[: _PREAMBLE + 4])
    if head[_PREAMBLE:] == b"DICM":
        media = _first(content[_PREAMBLE + 4 :], _META_SOP_CLASS, explicit=True, order="<")
        return Rejection(ReasonCode.DICOMDIR) if media == DICOMDIR_SOP_CLASS_UID else FileKind.DICOM
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    media = _first(content, _META_SOP_CLASS, explicit=True, order="<")
    if media == DICOMDIR_SOP_CLASS_UID:
        return Rejection(ReasonCode.DICOMDIR)
    if media or _states_sop_class(content[_meta_length(content) :]):
        return FileKind.DICOM
    if not head:
        return Rejection(ReasonCode.EMPTY)
    return Rejection(ReasonCode.TRUNCATED if _is_beginning(head) else ReasonCode.OTHER_KIND)


def _meta_length(content: memoryview) -> int:
    """Bytes of the File Meta Information that a file without preamble begins with; 0 for none."""
    offset = 0
    while offset + 8 <= len(content) and bytes(content[offset : offset + 2]) == b"\x02\x00":
        value_representation = bytes(content[offset + 4 : offset + 6])
        if value_representation in _LONG_VRS and offset + 12 <= len(content):
            (length,) = struct.unpack_from("<I", content, offset + 8)
            offset += 12 + length
        else:
            (length,) = struct.unpack_from("<H", content, offset + 6)
            offset += 8 + length
    return offset


def _states_sop_class(content: memoryview) -> bool:
    order = {b"\x08\x00": "<", b"\x00\x08": ">"}.get(bytes(content[:2]))
    explicit = bytes(content[4:6]).isalpha() and bytes(content[4:6]).isupper()
    return order is not None and bool(_first(content, _SOP_CLASS, explicit=explicit, order=order))


def _first(
    content: memoryview, wanted: tuple[int, int], *, explicit: bool, order: str
) -> bytes | None:
    """Read one UID of the group that `content` starts with; None unless all before it parses."""
    offset, last = 0, -1
    while offset + 8 <= len(content):
        group, element = struct.unpack_from(f"{order}HH", content, offset)
        value_representation = bytes(content[offset + 4 : offset + 6])
        if not explicit:
            (length,) = struct.unpack_from(f"{order}I", content, offset + 4)
            offset += 8
        elif value_representation in _LONG_VRS and offset + 12 <= len(content):
            (length,) = struct.unpack_from(f"{order}I", content, offset + 8)
            offset += 12
        else:
            (length,) = struct.unpack_from(f"{order}H", content, offset + 6)
            offset += 8
        if group != wanted[0] or element <= last or element > wanted[1]:
            return None
        if element == wanted[1]:
            value = bytes(content[offset : offset + length]).rstrip(b"\x00 ")
            return value if _UID.fullmatch(value) else None
        offset, last = offset + length, element
    return None


def _is_beginning(head: bytes) -> bool:
    """True for what may be the first bytes of an image, cut within its own signature."""
    if len(head) < _PREAMBLE + 4:
        preamble, mark = head[:_PREAMBLE], head[_PREAMBLE:]
        if not preamble.strip(b"\x00") and b"DICM".startswith(mark):
            return True
    return len(head) > 2 and any(signature.startswith(head) for signature, _ in _SIGNATURES)
