"""What a disk may hold after the power went: the system calls of a scan, replayed with losses.

A real kill keeps the page cache, so it cannot show what was never synced. Here every call of a
scan that changes its output folder is recorded by strace and replayed into a model of a disk.
A write is safe when its file was synced, a name when its folder was. Of the rest any part may be
lost: nothing, all, all after a moment, any choice of writes, parts of writes, names without data.
It is a simulation of what POSIX allows, more than a journalling file system does. The wal-index
(`-shm`) is left out: SQLite never reads it after a crash.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from tests.faults.nights import Scene, command, environment

_CALLS = (
    "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "openat", "mkdir", "rmdir", "rename",
    "link", "unlink",
)  # fmt: skip
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
_SECTOR = 512
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One change: its paths, and for a write its bytes and place (None: at the end)."""

    name: str
    paths: tuple[str, ...]
    content: bytes = b""
    offset: int | None = None
    creates: bool = False


@dataclass(slots=True)
class File:
    """Content that is safe, and what was written since: (place, bytes), or a new length."""

    safe: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def now(self) -> bytes:
        """What a program reads."""
        content = bytearray(self.safe)
        for change in self.pending:
            _apply(content, change)
        return bytes(content)


@dataclass(slots=True)
class Folder:
    """Names that are safe, and what was done to them since: (name, what it is now or None)."""

    safe: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[tuple[tuple[str, File | Folder | None], ...]] = field(default_factory=list)

    def now(self) -> dict[str, File | Folder]:
        """What a program lists."""
        names = dict(self.safe)
        for change in self.pending:
            _rename(names, change)
        return names


def _apply(content: bytearray, change: tuple[int, bytes | None]) -> None:
    place, written = change
    if written is None:
        del content[place:]
        content.extend(bytes(place - len(content)))
        return
    content.extend(bytes(max(0, place - len(content))))
    content[place : place + len(written)] = written


def _rename(
    names: dict[str, File | Folder], change: tuple[tuple[str, File | Folder | None], ...]
) -> None:
    for name, what in change:
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what


def record(scene: Scene, folder: Path) -> tuple[list[Call], Path]:
    """Run the second night undisturbed; its calls on the output folder, and that folder."""
    out, log = scene.start(folder / "recorded"), folder / "power.log"
    done = subprocess.run(
        [
            *("strace", "-qq", "-y", "-xx", "-s", "10000000", "-o", str(log)),
            *("-e", f"trace={','.join(_CALLS)}", *command(scene.studies, out)),
        ],
        capture_output=True,
        check=False,
        env=environment(),
    )
    assert done.returncode in (0, 3), done.stderr
    with log.open() as lines:
        calls = [call for line in lines if (call := _read(line, str(out))) is not None]
    log.unlink()
    return calls, out


def _read(line: str, out: str) -> Call | None:
    matched = _CALL.match(line)
    if matched is None or int(matched[3]) < 0:
        return None
    name, arguments = matched[1], matched[2]
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
    described = _DESCRIPTOR.match(arguments)
    if name in ("write", "pwrite64", "fsync", "fdatasync", "ftruncate"):
        paths: tuple[str, ...] = (_plain(described[1]),) if described else ("",)
    else:
        paths = tuple(os.fsdecode(text) for text in texts)
    if not paths[0].startswith(out) or paths[0].endswith("-shm"):
        return None
    numbers = arguments.rsplit(", ", 1)
    if name == "ftruncate":
        return Call(name, paths, offset=int(numbers[1]))
    if name == "pwrite64":
        return Call(name, paths, texts[0][: int(matched[3])], int(numbers[1]))
    if name == "write":
        return Call(name, paths, texts[0][: int(matched[3])])
    return Call(name, paths, creates="O_CREAT" in arguments)


def _plain(path: str) -> str:
    if "\\x" not in path:
        return path
    return os.fsdecode(bytes.fromhex(path.replace("\\x", "")))


class Disk:
    """The output folder as a disk that may lose what was not synced."""

    def __init__(self, root: Path, start: Path | None) -> None:
        """Begin with what lies at `start`, all of it safe."""
        self.root = str(root)
        self.top = Folder()
        if start is not None:
            self.top = _safe_copy(start)

    def do(self, call: Call) -> None:
        """Change what a program sees; a sync makes it safe."""
        found = self._find(call.paths[0])
        match call.name:
            case "openat":
                if call.creates and found is None:
                    self._name(call.paths[0], File())
            case "mkdir":
                self._name(call.paths[0], Folder())
            case "unlink" | "rmdir":
                self._name(call.paths[0], None)
            case "link":
                assert found is not None, call
                self._name(call.paths[1], found)
            case "rename":
                folder, old = os.path.split(call.paths[0])
                other, new = os.path.split(call.paths[1])
                assert folder == other, "no name moves from folder to folder"
                parent = self._find(folder)
                assert isinstance(parent, Folder)
                assert found is not None, call
                parent.pending.append(((old, None), (new, found)))
            case "write" | "pwrite64" | "ftruncate":
                assert isinstance(found, File), call
                written = None if call.name == "ftruncate" else call.content
                place = len(found.now()) if call.offset is None else call.offset
                found.pending.append((place, written))
            case "fsync" | "fdatasync":
                assert found is not None, call
                found.safe = found.now()  # type: ignore[assignment]
                found.pending.clear()

    def _find(self, path: str) -> File | Folder | None:
        found: File | Folder | None = self.top
        for part in path[len(self.root) :].strip("/").split("/"):
            if part and found is not None:
                assert isinstance(found, Folder)
                found = found.now().get(part)
        return found

    def _name(self, path: str, what: File | Folder | None) -> None:
        folder, name = os.path.split(path)
        parent = self._find(folder)
        assert isinstance(parent, Folder), path
        parent.pending.append(((name, what),))

    def after_loss(self, how: str, rng: np.random.Generator) -> Tree:
        """What may lie there when the power is back.

        Args:
            how: Of what was not synced `nothing` is lost, `all` is, `names` stay and data is lost
                (a file of zeros), `some`: any choice, torn writes too.
            rng: Makes the choice.
        """
        return _survivors(self.top, how, rng, {})


Tree = dict[str, "bytes | Tree"]
LOSSES = ("nothing", "all", "names", "some")


def _safe_copy(start: Path) -> Folder:
    folder = Folder()
    for entry in start.iterdir():
        if entry.is_dir():
            folder.safe[entry.name] = _safe_copy(entry)
        elif not entry.name.endswith("-shm"):
            folder.safe[entry.name] = File(entry.read_bytes())
    return folder


def _survivors(folder: Folder, how: str, rng: np.random.Generator, seen: dict[int, bytes]) -> Tree:
    names = dict(folder.safe)
    for change in _kept(folder.pending, "nothing" if how == "names" else how, rng):
        _rename(names, change)
    tree: Tree = {}
    for name, what in names.items():
        if isinstance(what, Folder):
            tree[name] = _survivors(what, how, rng, seen)
        else:
            # A file with two names has one content.
            tree[name] = seen.setdefault(id(what), _content(what, how, rng))
    return tree


def _content(file: File, how: str, rng: np.random.Generator) -> bytes:
    content = bytearray(file.safe)
    if how == "names":
        return bytes(content) + bytes(max(0, len(file.now()) - len(content)))
    for place, written in _kept(file.pending, how, rng):
        torn = written
        if written is not None and how == "some" and rng.random() < 0.2:
            torn = written[: int(rng.integers(len(written) // _SECTOR + 1)) * _SECTOR]
        _apply(content, (place, torn))
    if how == "some" and rng.random() < 0.5:
        # The length of a file may be safe before what is in it.
        content.extend(bytes(max(0, len(file.now()) - len(content))))
    return bytes(content)


def _kept(pending: list[T], how: str, rng: np.random.Generator) -> Iterator[T]:
    if how == "all":
        return
    if how == "nothing":
        yield from pending
        return
    if rng.random() < 0.5:
        yield from pending[: int(rng.integers(len(pending) + 1))]
        return
    share = rng.random()
    yield from (change for change in pending if rng.random() < share)


def lay_out(tree: Tree, folder: Path) -> Path:
    """Write what survived, as private as it was."""
    folder.mkdir(mode=0o700)
    for name, what in tree.items():
        if isinstance(what, bytes):
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, what)
            os.close(descriptor)
        else:
            lay_out(what, folder / name)
    return folder
