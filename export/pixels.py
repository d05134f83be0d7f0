"""The pixels of labelled images, by the very way of `scan`: its workers, rules and limits."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from screener.domain import Examined, FileKind, Instance, Radiograph, Rejection, Unchanged
from screener.errors import UsageError
from screener.preprocess import PREPROCESSING, SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.dataset import LabelledImage


NAMED = 5
HEADER = "dicom_"
HEADER_COLUMNS = tuple(
    HEADER + name
    for name in (
        *("patient_sex", "age_years", "view_position", "institution_name", "station_name"),
        *("photometric_interpretation", "transfer_syntax_uid"),
    )
)
"""What a DICOM header may add to the columns of an image; none of it says who the patient is."""


def header_columns(instance: Instance) -> dict[str, str]:
    """What the header states, as `HEADER_COLUMNS`; nothing for a file without a DICOM header."""
    if instance.kind is not FileKind.DICOM:
        return {}
    values = {name: getattr(instance, name.removeprefix(HEADER)) for name in HEADER_COLUMNS}
    return {
        name: "" if value is None else f"{value:.0f}" if isinstance(value, float) else value.strip()
        for name, value in values.items()
    }


def read_radiographs(
    images: Sequence[LabelledImage], age_range: tuple[float, float] | None = None
) -> Iterator[tuple[int, Radiograph | Rejection]]:
    """As `read_examined`, what became of the pixels alone."""
    for at, examined in read_examined(images, age_range):
        yield at, examined.result


def read_examined(
    images: Sequence[LabelledImage], age_range: tuple[float, float] | None = None
) -> Iterator[tuple[int, Examined]]:
    """Read images in worker processes, a bounded number ahead of the consumer.

    Args:
        images: What to read.
        age_range: Of the model card; patients outside are ineligible, as in `scan`.

    Yields:
        The index of the image and what the worker found, in no particular order.
    """
    from screener.examine_settings import ExamineSettings
    from screener.workers import Task, WorkerPool

    workers = max(1, min(os.cpu_count() or 1, len(images) // 8))
    tasks = (Task(i, os.fsencode(image.path.absolute()), "") for i, image in enumerate(images))
    with WorkerPool(workers, ExamineSettings(age_range=age_range)) as pool:
        for task, examined in pool.run(tasks):
            if not isinstance(examined, Unchanged):
                yield task.key, examined


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
    """As `load_pixels`, where every image must be readable and none may have two labels.

    Raises:
        UsageError: `scan` would not score one of them, or one picture has two labels.
    """
    pixels, rejections = load_pixels(images, cache)
    bad = [(i, r) for i, r in zip(images, rejections, strict=True) if r is not None]
    if bad:
        named = ", ".join(
            f"{str(image.path)!r} ({rejection.code})" for image, rejection in bad[:NAMED]
        )
        raise UsageError(
            f"{len(bad)} of {len(images)} images cannot be used: {named}"
            + (" and more" if len(bad) > NAMED else ""),
            "scan would not score them",
            "mend or remove them, also from the list where there is one",
        )
    check_labels(images, pixels)
    return pixels


def check_labels(images: Sequence[LabelledImage], pixels: NDArray[np.uint8]) -> None:
    """Refuse one picture with two labels: equal model input, though the files may differ.

    Raises:
        UsageError: there is such a pair.
    """
    first: dict[bytes, LabelledImage] = {}
    for image, plane in zip(images, pixels, strict=True):
        other = first.setdefault(hashlib.sha256(plane.tobytes()).digest(), image)
        if other.label != image.label:
            raise UsageError(
                f"{str(other.path)!r} and {str(image.path)!r} are the same picture with two labels",
                f"{other.label!r} and {image.label!r}",
                "mend the label or remove both",
            )


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
    try:
        with temporary.open("wb") as stream:
            np.savez(stream, pixels=pixels, key=np.array(key))
        temporary.replace(cache)
    finally:
        # What is left of it would keep a full disk full.
        temporary.unlink(missing_ok=True)
