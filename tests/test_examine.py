"""One file at a time: whatever lies at a path, one result and no exception."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from screener.domain import Examined, Limits, Radiograph, Rejection, Unchanged
from screener.examine import THUMBNAIL_BYTES, examine, make_thumbnail
from screener.examine_settings import ExamineSettings
from screener.outcomes import Outcome, ReasonCode
from screener.preprocess import Display, preprocess
from tests.films import dataset, draw, save, save_png


def look(path: Path, settings: ExamineSettings | None = None) -> Examined:
    result = examine(os.fsencode(path), settings)
    assert isinstance(result, Examined)
    return result


def code(path: Path, settings: ExamineSettings | None = None) -> ReasonCode:
    result = look(path, settings).result
    assert isinstance(result, Rejection)
    return result.code


def test_dicom_and_png_of_one_film_give_the_same_pixels(tmp_path: Path) -> None:
    pixels = draw(1)
    dicom = look(save(dataset(pixels, 1), tmp_path / "a")).result
    png = look(save_png(pixels, tmp_path / "b.png")).result
    assert isinstance(dicom, Radiograph)
    assert isinstance(png, Radiograph)
    expected = preprocess(pixels, Display()).pixels
    assert np.array_equal(dicom.pixels, expected)
    assert np.allclose(png.pixels, expected, atol=1e-5)


def test_what_is_known_of_a_film(tmp_path: Path) -> None:
    path = save(dataset(draw(1), 1), tmp_path / "a")
    found = look(path)
    stat = path.stat()
    assert found.stamp is not None
    assert (found.stamp.size, found.stamp.inode) == (stat.st_size, stat.st_ino)
    assert len(found.sha256) == 64
    assert found.instance is not None
    assert found.instance.patient_id == "T00001"
    assert found.decode_ms > 0


def test_same_content_is_not_decoded(tmp_path: Path) -> None:
    path = save(dataset(draw(1), 1), tmp_path / "a")
    sha256 = look(path).sha256
    assert isinstance(examine(os.fsencode(path), None, sha256), Unchanged)
    assert isinstance(examine(os.fsencode(path), None, "0" * 64), Examined)


def test_header_is_told_before_the_pixels_are_touched(tmp_path: Path) -> None:
    told: list[Examined] = []
    examine(os.fsencode(save(dataset(draw(1), 1), tmp_path / "a")), None, "", told.append)
    assert [item.instance.patient_id for item in told if item.instance] == ["T00001"]
    assert isinstance(told[0].result, Rejection)
    assert told[0].result.outcome is Outcome.FAILED


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "link", "folder", "missing"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    expected = ReasonCode.NOT_REGULAR
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
        expected = ReasonCode.UNREADABLE
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "link":
        path.symlink_to(save(dataset(draw(1), 1), tmp_path / "film"))
        expected = ReasonCode.LINK
    elif kind == "folder":
        path.mkdir()
    else:
        expected = ReasonCode.UNREADABLE
    assert code(path) is expected


def _rewrite_and_hide(path: Path) -> None:
    """Other bytes of the same length under the same time: the change time alone tells."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(-4000, os.SEEK_END)
        stream.write(bytes(4000))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, path.stat().st_size - 4000),
        lambda path: os.truncate(path, path.stat().st_size + 4000),
        _rewrite_and_hide,
    ],
    ids=["shorter", "longer", "rewritten"],
)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_changes_while_it_is_read_is_unstable(
    change: Callable[[Path], None], moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule of fstat around the read: whatever was read may be half old and half new."""
    path = save(dataset(draw(1), 1), tmp_path / "film")

    @contextmanager
    def opened(descriptor: int, *_: object, **__: object) -> Iterator[SimpleNamespace]:
        # A change time has the resolution of the kernel's clock.
        time.sleep(0.02)

        def read(size: int) -> bytes:
            if moment == "before":
                change(path)
            content = os.pread(descriptor, size, 0)
            if moment == "after":
                change(path)
            return content

        yield SimpleNamespace(read=read)

    monkeypatch.setattr("screener.examine.open", opened, raising=False)
    assert code(path) is ReasonCode.UNSTABLE


def test_sparse_giant_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.truncate(50 << 30)
    assert code(path) is ReasonCode.TOO_LARGE


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ReasonCode.EMPTY),
        (b"hello\n" * 100, ReasonCode.OTHER_KIND),
        (bytes(5000), ReasonCode.OTHER_KIND),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), ReasonCode.MALFORMED),
    ],
)
def test_what_is_no_film(tmp_path: Path, content: bytes, expected: ReasonCode) -> None:
    path = tmp_path / "it"
    path.write_bytes(content)
    assert code(path) is expected


def test_every_cut_of_a_film_fails(tmp_path: Path) -> None:
    whole = save(dataset(draw(1, size=160), 1), tmp_path / "film").read_bytes()
    path = tmp_path / "cut"
    for length in [*range(133, 1000, 7), *range(1000, len(whole) - 1, 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        found = look(path).result
        assert isinstance(found, Rejection), length
        assert found.outcome is Outcome.FAILED, (length, found)


def test_header_decides_before_broken_pixels(tmp_path: Path) -> None:
    whole = save(dataset(draw(1), 1, ViewPosition="LL"), tmp_path / "film").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-1000])
    assert code(tmp_path / "cut") is ReasonCode.VIEW


def test_age_outside_the_model(tmp_path: Path) -> None:
    path = save(dataset(draw(1), 1, PatientBirthDate="20200101"), tmp_path / "child")
    assert code(path, ExamineSettings(age_range=(18, 120))) is ReasonCode.AGE
    assert isinstance(look(path).result, Radiograph)


def test_pixel_limit(tmp_path: Path) -> None:
    path = save(dataset(draw(1), 1), tmp_path / "film")
    assert code(path, ExamineSettings(limits=Limits(pixels=1000))) is ReasonCode.TOO_LARGE


def test_constant_pixels_fail(tmp_path: Path) -> None:
    path = save(dataset(np.full((256, 256), 700, np.uint16), 1), tmp_path / "film")
    assert code(path) is ReasonCode.INVALID_PIXELS


@pytest.mark.parametrize("seed", range(3))
def test_thumbnail_fits_whatever_is_on_it(seed: int) -> None:
    pixels = np.random.default_rng(seed).random((224, 224), dtype=np.float32)
    thumbnail = make_thumbnail(pixels)
    assert len(thumbnail) <= THUMBNAIL_BYTES
    assert min(Image.open(io.BytesIO(thumbnail)).size) >= 32
