"""Labelled radiographs for training and measuring: a class folder layout or a CSV.

Layouts: `DATA/<Class>/*.png`, the public one `DATA/<Class>/images/*.png` (with `masks/` beside it,
which is left alone), and a CSV `file,label,group` with any further columns, its files relative to
it; a folder with a `manifest.csv` is read by that. Images are PNG, JPEG, TIFF or DICOM and are read
by the very function that `scan` uses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from screener.domain import Rejection
from screener.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEGATIVE_LABELS = frozenset({"normal", "negative", "0", "no finding"})
SPLITS = {"train": 0.76, "validation": 0.06, "calibration": 0.08, "test": 0.10}


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One row of the data. `group` joins images that must not be split (a patient, duplicates)."""

    path: Path
    label: str
    group: str
    columns: dict[str, str] = field(default_factory=dict)

    @property
    def positive(self) -> bool:
        """True where the label is a finding, not one of `NEGATIVE_LABELS`."""
        return self.label.lower() not in NEGATIVE_LABELS


def read_labels(data: Path) -> list[LabelledImage]:
    """List the labelled images of a folder or CSV, ordered by path.

    Raises:
        UsageError: nothing is there, a column or file is missing, a class is empty, a group or
            file carries two labels, or there are not exactly two classes.
    """
    if not data.exists():
        raise UsageError(f"no such data: {str(data)!r}")
    table = data if data.is_file() else data / "manifest.csv"
    images = _read_csv(table) if table.is_file() else _read_folders(data)
    _check(images, data)
    return sorted(images, key=lambda image: str(image.path))


def _read_csv(table: Path) -> list[LabelledImage]:
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    missing = [name for name in ("file", "label") if name not in frame.columns]
    if missing:
        raise UsageError(
            f"{table.name!r} has no column {missing[0]!r}",
            f"it has {', '.join(frame.columns)}",
            "give a CSV with the columns file, label and, where known, group",
        )
    if "group" not in frame.columns:
        frame["group"] = frame["file"]
    other = [name for name in frame.columns if name not in ("file", "label", "group")]
    images = [
        LabelledImage(
            table.parent / row["file"], row["label"], row["group"], {k: row[k] for k in other}
        )
        for row in frame.to_dict("records")
    ]
    absent = [image.path for image in images if not image.path.is_file()]
    if absent:
        raise UsageError(
            f"{len(absent)} of {len(images)} files of {table.name!r} do not exist",
            f"the first is {str(absent[0])!r}",
            "file names are relative to the CSV",
        )
    return images


def _read_folders(data: Path) -> list[LabelledImage]:
    images = []
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        inner = folder / "images"
        source = inner if inner.is_dir() else folder
        files = sorted(path for path in source.rglob("*") if path.is_file())
        if not files:
            raise UsageError(f"the class {folder.name!r} is empty", mend="remove it or fill it")
        images += [LabelledImage(path, folder.name, str(path)) for path in files]
    return images


def _check(images: Sequence[LabelledImage], data: Path) -> None:
    labels = {image.label for image in images}
    negative = {image.label for image in images if not image.positive}
    if len(labels) != 2 or len(negative) != 1:
        raise UsageError(
            f"{str(data)!r} does not hold two classes of which one is negative",
            f"its labels are {', '.join(sorted(labels)) or 'none'}",
            f"name the negative class one of {', '.join(sorted(NEGATIVE_LABELS))}",
        )
    by_group: dict[str, str] = {}
    by_path: dict[Path, str] = {}
    for image in images:
        if by_group.setdefault(image.group, image.label) != image.label:
            raise UsageError(
                f"the group {image.group!r} has two labels",
                "near-duplicates with two labels teach nothing",
                "mend the label or remove the images",
            )
        if image.path in by_path:
            raise UsageError(f"{str(image.path)!r} is listed twice", mend="remove one of the rows")
        by_path[image.path] = image.label


def assign_split(image: LabelledImage, seed: int) -> str:
    """The split of an image, from its `split` column or else a keyed hash of its group alone.

    So a group can never stand in two splits, and adding data moves no image that was there.
    """
    if "split" in image.columns:
        return image.columns["split"]
    digest = hashlib.sha256(f"{seed}:{image.group}".encode()).digest()
    point, edge = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for name, share in SPLITS.items():
        edge += share
        if point < edge:
            return name
    return "test"


def split_images(images: Sequence[LabelledImage], seed: int) -> dict[str, list[LabelledImage]]:
    """Divide images into train, validation, calibration and test.

    Raises:
        UsageError: a group stands in two splits or a split lacks a class.
    """
    parts: dict[str, list[LabelledImage]] = {name: [] for name in SPLITS}
    seen: dict[str, str] = {}
    for image in images:
        name = assign_split(image, seed)
        if name not in parts:
            raise UsageError(f"unknown split {name!r}", mend=f"use {', '.join(SPLITS)}")
        if seen.setdefault(image.group, name) != name:
            raise UsageError(f"the group {image.group!r} is in two splits", mend="mend the column")
        parts[name].append(image)
    for name, part in parts.items():
        if len({image.positive for image in part}) < 2:
            raise UsageError(f"the split {name!r} lacks a class", mend="give more data")
    return parts


def manifest_sha256(images: Sequence[LabelledImage]) -> str:
    """SHA-256 over names, labels and groups: says which data a model was made from."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.path.name},{image.label},{image.group}\n".encode())
    return digest.hexdigest()


def load_pixels(
    images: Sequence[LabelledImage], cache: Path | None = None
) -> tuple[NDArray[np.uint8], list[Rejection | None]]:
    """Read every image as `scan` would.

    Args:
        images: What to read.
        cache: A file that keeps the result for the next start; made anew where the list, the
            preprocessing or a file's size or time has changed.

    Returns:
        uint8 (N, 224, 224), 255 for 1.0 (the data has 8 bits), and for each image the rejection
        that `scan` would give it; a rejected image is black.
    """
    from screener.preprocess import PREPROCESSING

    key = hashlib.sha256(repr(PREPROCESSING).encode())
    for image in images:
        stat = image.path.stat()
        key.update(f"{image.path.resolve()},{stat.st_size},{stat.st_mtime_ns}\n".encode())
    if cache is not None and cache.exists():
        with np.load(cache) as kept:
            if str(kept["key"]) == key.hexdigest():
                return kept["pixels"], [None] * len(images)
    pixels = np.zeros((len(images), 224, 224), np.uint8)
    rejections: list[Rejection | None] = [None] * len(images)
    with ProcessPoolExecutor() as pool:
        results = pool.map(_read_one, [image.path for image in images], chunksize=32)
        for index, result in enumerate(results):
            if isinstance(result, Rejection):
                rejections[index] = result
            else:
                pixels[index] = result
    if cache is not None and not any(rejections):
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, pixels=pixels, key=np.array(key.hexdigest()))
    return pixels, rejections


def _read_one(path: Path) -> NDArray[np.uint8] | Rejection:
    from screener.examine import examine

    result = examine(str(path).encode()).result
    if isinstance(result, Rejection):
        return result
    return np.rint(result.pixels * 255).astype(np.uint8)
