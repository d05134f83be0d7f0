"""The pixels of labelled images, by the very way of `scan`: its workers, rules and limits."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from screener.domain import Radiograph, Rejection, Unchanged
from screener.errors import UsageError
from screener.preprocess import PREPROCESSING, SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.dataset import LabelledImage


def read_radiographs(
    images: Sequence[LabelledImage], age_range: tuple[float, float] | None = None
) -> Iterator[tuple[int, Radiograph | Rejection]]:
    """Read images in worker processes, a bounded number ahead of the consumer.

    Args:
        images: What to read.
        age_range: Of the model card; patients outside are ineligible, as in `scan`.

    Yields:
        The index of the image and what became of it, in no particular order.
    """
    from screener.examine import ExamineSettings
    from screener.workers import Task, WorkerPool

    workers = max(1, min(os.cpu_count() or 1, len(images) // 8))
    tasks = (Task(i, os.fsencode(image.path.absolute()), "") for i, image in enumerate(images))
    with WorkerPool(workers, ExamineSettings(age_range=age_range)) as pool:
        for task, examined in pool.run(tasks):
            if not isinstance(examined, Unchanged):
                yield task.key, examined.result


def load_pixels(
    images: Sequence[LabelledImage], cache: Path | None = None
) -> tuple[NDArray[np.uint8], list[Rejection | None]]:
    """Read every image as `scan` would, into memory.

    Args:
        images: What to read.
        cache: A file that keeps the result for the next start; made anew where the list, the
            preprocessing or a file's size or time has changed. Kept only where every image could
            be read.

    Returns:
        uint8 (N, 224, 224), 255 for 1.0 (the data has 8 bits), and for each image the rejection
        that `scan` would give it; a rejected image is black.
    """
    key = _key(images)
    if cache is not None:
        kept = _read_cache(cache, key)
        if kept is not None:
            return kept, [None] * len(images)
    pixels = np.zeros((len(images), SIZE, SIZE), np.uint8)
    rejections: list[Rejection | None] = [None] * len(images)
    for index, result in read_radiographs(images):
        if isinstance(result, Rejection):
            rejections[index] = result
        else:
            pixels[index] = np.rint(result.pixels * 255)
    if cache is not None and not any(rejections):
        _write_cache(cache, key, pixels)
    return pixels, rejections


def require_pixels(images: Sequence[LabelledImage], cache: Path) -> NDArray[np.uint8]:
    """As `load_pixels`, where every image must be readable.

    Raises:
        UsageError: `scan` would not score one of them.
    """
    pixels, rejections = load_pixels(images, cache)
    bad = [(i, r) for i, r in zip(images, rejections, strict=True) if r is not None]
    if bad:
        image, rejection = bad[0]
        raise UsageError(
            f"{len(bad)} of {len(images)} images cannot be used; the first is {str(image.path)!r}",
            f"{rejection.code}: scan would not score it",
            "mend or remove them, also from the list where there is one",
        )
    return pixels


def _key(images: Sequence[LabelledImage]) -> str:
    """Changes with the list, its order, the preprocessing, and any file's size or time."""
    key = hashlib.sha256(repr(PREPROCESSING).encode())
    for image in images:
        stat = image.path.stat()
        name = os.fsencode(image.path.resolve())
        key.update(b"%d:%b,%d,%d\n" % (len(name), name, stat.st_size, stat.st_mtime_ns))
    return key.hexdigest()


def _read_cache(cache: Path, key: str) -> NDArray[np.uint8] | None:
    try:
        # Opened here: numpy leaves its own handle open where the archive is cut.
        with cache.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            pixels: NDArray[np.uint8] = kept["pixels"]
            return pixels if str(kept["key"]) == key else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        # Missing, or a cut or foreign file: it is only a cache.
        return None


def _write_cache(cache: Path, key: str, pixels: NDArray[np.uint8]) -> None:
    """Written beside and renamed: a run that is killed leaves no half of it."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache.with_name(f".{cache.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        np.savez(stream, pixels=pixels, key=np.array(key))
    temporary.replace(cache)
