"""The walk finds every path once and follows nothing; a file's kind is told by its content."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import struct
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom.data
import pytest

from screener.discovery import _Excluded, _list_folder, display_path, kind_of, path_of_display, walk
from screener.domain import FileKind, Rejection
from screener.outcomes import ReasonCode

PYDICOM = Path(pydicom.data.__file__).parent / "test_files"
CR = b"1.2.840.10008.5.1.4.1.1.1"
NOBODY = 65534


def found(*roots: Path | bytes, exclude: tuple[Path, ...] = ()) -> dict[bytes, ReasonCode | None]:
    """What the walk says, after checking that it says nothing twice."""
    listed = list(walk([os.fsencode(root) for root in roots], [os.fsencode(e) for e in exclude]))
    assert max(Counter(item.path for item in listed).values(), default=1) == 1
    return {item.path: item.rejection.code if item.rejection else None for item in listed}


def put(path: Path | bytes) -> bytes:
    name = os.fsencode(path)
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as stream:
        stream.write(b"x")
    return name


# -- paths ----------------------------------------------------------------------------------------


def test_names_of_any_bytes_survive(tmp_path: Path) -> None:
    base = os.fsencode(tmp_path)
    names = [b"plain.dcm", b"Gr\xf6\xdfe", b"line\nbreak", b"-rf", b" ", b"\xff\xfe", b"a\\x41",
             b"Gr\xc3\xb6\xc3\x9fe", b"..dcm", b"\xed\xa0\x80", b"\x1b[31m"]  # fmt: skip
    expected = {put(os.path.join(base, b"\x80folder", name)) for name in names}
    listing = found(tmp_path)
    assert set(listing) == expected
    assert set(listing.values()) == {None}
    for path in listing:
        assert os.path.exists(path)


def test_roots_that_overlap_or_repeat_give_each_path_once(tmp_path: Path) -> None:
    files = {put(tmp_path / name) for name in ("one", "a/two", "a/b/three", "ab/four")}
    base = os.fsencode(tmp_path)
    listing = found(
        base + b"/a/b", base, base + b"/", base + b"//a/./b/..", base + b"/a/b/three", b"/" + base
    )
    assert set(listing) == files


def test_root_whose_name_begins_like_another_is_walked(tmp_path: Path) -> None:
    files = {put(tmp_path / "a/one"), put(tmp_path / "ab/two"), put(tmp_path / "a.b/three")}
    assert set(found(tmp_path / "a", tmp_path / "ab", tmp_path / "a.b")) == files


def test_relative_root_gives_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(tmp_path / "a" / "one")
    monkeypatch.chdir(tmp_path / "a")
    assert set(found(b".")) == set(found(b"one")) == set(found(b"../a")) == {file}


def test_root_that_is_a_file_or_missing(tmp_path: Path) -> None:
    file = put(tmp_path / "one")
    missing = os.fsencode(tmp_path / "gone")
    assert found(file, missing) == {file: None, missing: ReasonCode.UNREADABLE}


def test_empty_folders_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert found(tmp_path) == {}


# -- links and what is no file --------------------------------------------------------------------


def test_links_are_listed_and_never_followed(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside" / "secret")
    tree = tmp_path / "tree"
    file = put(tree / "a" / "one")
    (tree / "file").symlink_to(outside.decode())
    (tree / "folder").symlink_to(tmp_path / "outside")
    (tree / "loop").symlink_to(tree)
    (tree / "a" / "self").symlink_to("self")
    (tree / "dangling").symlink_to("nowhere")
    links = {os.fsencode(tree / n) for n in ("file", "folder", "loop", "a/self", "dangling")}
    assert found(tree) == {file: None} | dict.fromkeys(links, ReasonCode.LINK)


def test_starting_folder_may_be_a_link_but_not_below_another(tmp_path: Path) -> None:
    put(tmp_path / "real" / "one")
    mount, file_link = tmp_path / "tree" / "mount", tmp_path / "file-link"
    mount.parent.mkdir()
    mount.symlink_to(tmp_path / "real")
    file_link.symlink_to(tmp_path / "real" / "one")
    through = os.fsencode(mount / "one")
    assert found(mount) == {through: None}
    assert found(mount, mount) == {through: None}
    assert found(mount, mount / "one") == {through: None}
    assert found(mount.parent, mount) == {os.fsencode(mount): ReasonCode.LINK}
    assert found(file_link) == {os.fsencode(file_link): ReasonCode.LINK}


def test_folder_that_became_a_link_since_it_was_listed_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "real" / "one")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    link = os.fsencode(tmp_path / "link")
    (entry,) = _list_folder(link, _Excluded.of(()), os.O_NOFOLLOW)
    assert not isinstance(entry, bytes)
    assert entry.path == link
    assert entry.rejection is not None
    assert entry.rejection.code is ReasonCode.UNREADABLE


def test_pipes_sockets_and_devices_are_listed_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        # A relative name: the address of a socket has no room for a long one.
        listener.bind("socket")
        listing = found(tmp_path, b"/dev/null")
    paths = (b"/dev/null", os.fsencode(tmp_path / "pipe"), os.fsencode(tmp_path / "socket"))
    assert listing == dict.fromkeys(paths, ReasonCode.NOT_REGULAR)
    assert found(tmp_path / "pipe") == {paths[1]: ReasonCode.NOT_REGULAR}


# -- folders that cannot be read ------------------------------------------------------------------


@contextmanager
def without_privilege() -> Iterator[None]:
    """Modes mean nothing to root: be nobody for a while."""
    privileged = os.geteuid() == 0
    if privileged:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if privileged:
            os.seteuid(0)


def test_unreadable_folder_is_a_row_and_the_rest_goes_on() -> None:
    # Not below pytest's own folder, which nobody else may enter.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        tree = Path(name)
        tree.chmod(0o755)
        files = {put(tree / "a" / "one"), put(tree / "z" / "two")}
        put(tree / "locked" / "three")
        (tree / "locked").chmod(0)
        with without_privilege():
            listing = found(tree)
            at_root = list(walk([os.fsencode(tree / "locked")]))
        (tree / "locked").chmod(0o755)
    locked = os.fsencode(tree / "locked")
    assert listing == dict.fromkeys(files) | {locked: ReasonCode.UNREADABLE}
    (only,) = at_root
    assert only.path == locked
    assert only.rejection == Rejection(ReasonCode.UNREADABLE, "PermissionError")


def test_rejections_say_nothing_of_the_path(tmp_path: Path) -> None:
    (only,) = walk([os.fsencode(tmp_path / "SMITH^JOHN")])
    assert only.rejection is not None
    assert "SMITH" not in only.rejection.detail


def test_folder_deeper_than_the_system_can_name_is_a_row(tmp_path: Path) -> None:
    file = put(tmp_path / "one")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    name = "d" * 250
    for _ in range(20):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    listing = found(tmp_path)
    assert listing.pop(file) is None
    ((deepest, reason),) = listing.items()
    assert reason is ReasonCode.UNREADABLE
    assert len(deepest) > 4000


# -- what it costs --------------------------------------------------------------------------------


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_any_depth_with_few_descriptors_and_none_left(tmp_path: Path) -> None:
    expected, folder = set(), tmp_path
    for _ in range(300):
        folder /= "d"
        expected.add(put(folder / "file"))
    before, most, listed = open_descriptors(), 0, set()
    for item in walk([os.fsencode(tmp_path)]):
        listed.add(item.path)
        most = max(most, open_descriptors())
    assert listed == expected
    assert most - before < 200
    assert open_descriptors() == before
    half_read = walk([os.fsencode(tmp_path)])
    next(half_read)
    half_read.close()  # type: ignore[attr-defined]
    assert open_descriptors() == before


def test_memory_does_not_grow_with_the_number_of_entries(tmp_path: Path) -> None:
    small, large, branched = (tmp_path / name for name in ("small", "large", "branched"))
    for folder, count in ((small, 500), (large, 20_000)):
        folder.mkdir()
        for number in range(count):
            os.mknod(folder / f"{number:030d}.dcm")
    for number in range(1_000):
        (branched / f"{number:030d}").mkdir(parents=True)

    def peak(root: Path) -> tuple[int, int]:
        tracemalloc.start()
        entries = sum(1 for _ in walk([os.fsencode(root)]))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return entries, most

    (few, least), (many, most), (none, wide) = peak(small), peak(large), peak(branched)
    print(f"peak of the walk: {few} entries {least} bytes, {many} entries {most} bytes")
    assert (few, many, none) == (500, 20_000, 0)
    assert most < least + 16_384
    assert wide < least + 16_384
    shutil.rmtree(tmp_path)


# -- exclusion ------------------------------------------------------------------------------------


def test_excluded_folder_and_file_do_not_exist_for_the_walk(tmp_path: Path) -> None:
    kept = {put(tmp_path / "a" / "one"), put(tmp_path / "output2" / "two")}
    put(tmp_path / "output" / "runs" / "triage.csv")
    put(tmp_path / "state.sqlite")
    exclude = (tmp_path / "output", tmp_path / "state.sqlite", tmp_path / "never-written")
    assert set(found(tmp_path, exclude=exclude)) == kept
    assert found(tmp_path / "output", tmp_path / "output" / "runs", exclude=exclude) == {}
    assert found(tmp_path / "state.sqlite", exclude=exclude) == {}


def test_excluded_folder_is_known_by_another_name(tmp_path: Path) -> None:
    put(tmp_path / "real" / "one")
    put(tmp_path / "real" / "output" / "triage.csv")
    (tmp_path / "mount").symlink_to(tmp_path / "real")
    expected = {os.fsencode(tmp_path / "mount" / "one")}
    assert set(found(tmp_path / "mount", exclude=(tmp_path / "real" / "output",))) == expected
    assert found(tmp_path / "mount", exclude=(tmp_path / "real",)) == {}


# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/studies/one.dcm", "/studies/one.dcm"),
        ("/Größe/胸部 X線.dcm".encode(), "/Größe/胸部 X線.dcm"),
        (b"/Gr\xf6\xdfe", r"/Gr\xf6\xdfe"),
        (b"/a\nb\r\t\x00\x7f", r"/a\x0ab\x0d\x09\x00\x7f"),
        (b"/\x1b[31m", r"/\x1b[31m"),
        (b"/\xc2\x9b31m", r"/\xc2\x9b31m"),
        ("/\u202egpj.exe".encode(), r"/\xe2\x80\xaegpj.exe"),
        ("/a\u2028b".encode(), r"/a\xe2\x80\xa8b"),
        (b"/\xed\xa0\x80", r"/\xed\xa0\x80"),
        (rb"/back\slash", r"/back\slash"),
        (rb"/a\x41", r"/a\x5cx41"),
        (rb"/a\xF6", r"/a\x5cxF6"),
        (rb"/a\x4", r"/a\x4"),
        (b"/\\\x01", r"/\\x01"),
    ],
)  # fmt: skip
def test_display_path(path: bytes, text: str) -> None:
    assert display_path(path) == text
    assert read_back(text) == path
    assert path_of_display(text.encode()) == path


def read_back(text: str) -> bytes:
    parts = re.split(r"\\x([0-9a-fA-F]{2})", text)
    return b"".join(
        bytes.fromhex(part) if number % 2 else part.encode() for number, part in enumerate(parts)
    )


def test_display_path_loses_nothing_whatever_the_name() -> None:
    pieces = [b"\\", b"x", b"4", b"1", b"f", b"\\x41", b"\x00", b"\n", b"\x1b", b"\xc3", b"\xb6",
              b"\xc3\xb6", b"\xe2\x80\xae", b"\xff", b"/", "線".encode(), b"\xf0\x9f"]  # fmt: skip
    chance = random.Random(7)
    for _ in range(5_000):
        path = b"".join(chance.choices(pieces, k=chance.randrange(1, 12)))
        text = display_path(path)
        assert read_back(text) == path == path_of_display(text.encode())
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)


# -- kinds ----------------------------------------------------------------------------------------


def element(tag: int, vr: bytes, value: bytes, order: str = "<") -> bytes:
    """One data element: explicit where a VR is given, implicit where it is empty."""
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if not vr:
        return head + struct.pack(f"{order}I", len(value)) + value
    if vr in (b"OB", b"UN"):
        return head + vr + b"\0\0" + struct.pack(f"{order}I", len(value)) + value
    return head + vr + struct.pack(f"{order}H", len(value)) + value


def meta(sop_class: bytes) -> bytes:
    version = element(0x00020001, b"OB", b"\0\1")
    return version + element(0x00020002, b"UI", sop_class + b"\0" * (len(sop_class) % 2))


UID = CR + b"\0"
CHARSET = b"ISO_IR 100"
WITH_PREAMBLE = bytes(128) + b"DICM" + meta(CR) + element(0x00080016, b"UI", UID)


def kind(content: bytes) -> FileKind | ReasonCode:
    result = kind_of(memoryview(content))
    return result.code if isinstance(result, Rejection) else result


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (WITH_PREAMBLE, FileKind.DICOM),
        (bytes(128) + b"DICM", FileKind.DICOM),
        (b"MZ" + bytes(126) + b"DICM" + meta(CR), FileKind.DICOM),
        (b"II*\0" + bytes(124) + b"DICM" + meta(CR), FileKind.DICOM),
        (b"\x89PNG\r\n\x1a\n" + bytes(120) + b"DICM" + meta(CR), FileKind.DICOM),
        (meta(CR), FileKind.DICOM),
        # Some writers leave the media storage SOP class out of the File Meta Information.
        (element(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0") + element(0x00080016, b"UI", UID),
         FileKind.DICOM),
        (element(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0"), ReasonCode.OTHER_KIND),
        (b"\x02\0" * 64, ReasonCode.OTHER_KIND),
        (element(0x00080005, b"CS", CHARSET) + element(0x00080016, b"UI", UID), FileKind.DICOM),
        (element(0x00080005, b"", CHARSET) + element(0x00080016, b"", UID), FileKind.DICOM),
        (element(0x00080005, b"CS", CHARSET, ">") + element(0x00080016, b"UI", UID, ">"),
         FileKind.DICOM),
        (element(0x00080001, b"UN", b"ab") + element(0x00080016, b"UI", UID), FileKind.DICOM),
        (bytes(128) + b"DICM" + meta(b"1.2.840.10008.1.3.10"), ReasonCode.DICOMDIR),
        (meta(b"1.2.840.10008.1.3.10"), ReasonCode.DICOMDIR),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", FileKind.PNG),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", FileKind.JPEG),
        (b"II*\0\x08\0\0\0", FileKind.TIFF),
        (b"MM\0*\0\0\0\x08", FileKind.TIFF),
        (b"II+\0\x08\0\0\0", FileKind.TIFF),
        (b"MM\0+\0\x08\0\0", FileKind.TIFF),
        (b"", ReasonCode.EMPTY),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", ReasonCode.OTHER_KIND),
        (b"I", ReasonCode.OTHER_KIND),
        (b"MM", ReasonCode.OTHER_KIND),
        (b"\xff\xfeU\0T\0F\0", ReasonCode.OTHER_KIND),
        (b"DICM", ReasonCode.OTHER_KIND),
        (b"hello, DICM", ReasonCode.OTHER_KIND),
        (bytes(4096), ReasonCode.OTHER_KIND),
        (b"PK\x03\x04" + bytes(200), ReasonCode.OTHER_KIND),
        (b"\0\0\0\x0cjP  \r\n\x87\n", ReasonCode.OTHER_KIND),
        # Looks like a dataset, but does not lead to a SOP class UID.
        (element(0x00080005, b"CS", CHARSET) + element(0x00080018, b"UI", UID),
         ReasonCode.OTHER_KIND),
        (element(0x00080016, b"UI", b"not a UID "), ReasonCode.OTHER_KIND),
        (element(0x00080012, b"DA", b"20260101") + element(0x00080005, b"CS", CHARSET)
         + element(0x00080016, b"UI", UID), ReasonCode.OTHER_KIND),
        (b"\x08\0\x05\0" + b"\xff" * 12, ReasonCode.OTHER_KIND),
    ],
)  # fmt: skip
def test_kind_of(content: bytes, expected: FileKind | ReasonCode) -> None:
    assert kind(content) is expected


def test_half_copied_file_is_truncated_and_never_another_kind() -> None:
    for length in range(1, 132):
        assert kind(WITH_PREAMBLE[:length]) is ReasonCode.TRUNCATED, length
    for length in range(132, len(WITH_PREAMBLE) + 1):
        assert kind(WITH_PREAMBLE[:length]) is FileKind.DICOM, length
    for length in range(3, 8):
        assert kind(b"\x89PNG\r\n\x1a\n"[:length]) is ReasonCode.TRUNCATED


def test_kinds_of_real_files() -> None:
    other = re.compile(r".*(\.txt|\.json|\.icc|\.dump|\.gz|README)$")
    counted: Counter[str] = Counter()
    for file in sorted(path for path in PYDICOM.rglob("*") if path.is_file()):
        # Its first byte is a space too many: no reader takes it.
        if file.suffix in (".py", ".pyc") or file.name == "no_meta.dcm":
            continue
        expected: FileKind | ReasonCode = FileKind.DICOM
        if file.name.startswith("DICOMDIR"):
            expected = ReasonCode.DICOMDIR
        elif other.match(file.name):
            expected = ReasonCode.OTHER_KIND
        assert kind(file.read_bytes()) is expected, file.name
        counted[expected] += 1
    assert counted[FileKind.DICOM] > 60
    assert counted[ReasonCode.DICOMDIR] > 5


def test_no_content_makes_it_raise() -> None:
    seeds = [WITH_PREAMBLE, meta(CR), element(0x00080005, b"", CHARSET), b"\x89PNG\r\n\x1a\n"]
    chance = random.Random(11)
    for _ in range(4_000):
        content = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(6)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        kind(bytes(content[: chance.randrange(len(content) + 1)]))
