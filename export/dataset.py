"""Labelled radiographs for training and measuring: a class folder layout or a CSV.

Layouts: `DATA/<Class>/*.png`, the public one `DATA/<Class>/images/*.png` (with `masks/` beside it,
which is left alone), and a CSV `file,label,group` with any further columns, its files relative to
it; a folder with a `manifest.csv` is read by that. Images are PNG, JPEG, TIFF or DICOM; their
pixels are read by `export.pixels`, as `scan` would.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from export.pixels import load_pixels
from screener.errors import UsageError

__all__ = [
    "NEGATIVE_LABELS",
    "SPLITS",
    "LabelledImage",
    "assign_split",
    "load_pixels",
    "manifest_sha256",
    "read_labels",
    "split_images",
]

NEGATIVE_LABELS = frozenset({"normal", "negative", "0", "no finding"})
LEFT_BEHIND = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
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

    Files of equal bytes get one group, so that no copy of a training image is ever tested on.

    Raises:
        UsageError: nothing is there, a column or file is missing, a class is empty, there are not
            exactly two classes, or a group, file or content carries two labels.
    """
    if not os.path.exists(data):
        raise UsageError(f"no such data: {str(data)!r}")
    table = data if data.is_file() else data / "manifest.csv"
    images = _read_csv(table) if table.is_file() else _read_folders(data)
    _check_classes(images, data)
    _check_rows(images)
    return _join_copies(sorted(images, key=lambda image: str(image.path)))


def _read_csv(table: Path) -> list[LabelledImage]:
    try:
        delimiter, names = _header(table)
        frame = pd.read_csv(
            table, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=delimiter
        )
    except (ValueError, csv.Error) as error:
        # pandas' own parser and emptiness errors are ValueErrors too, as a wrong encoding is.
        # The parser's words name the line and hold no value of it.
        parser = isinstance(error, pd.errors.ParserError)
        raise UsageError(
            f"{table.name!r} is not a readable CSV",
            str(error).strip() if parser else type(error).__name__,
            "give a UTF-8 CSV with the columns file, label and, where known, group",
        ) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{table.name!r} has the column {twice[0]!r} twice", mend="remove one")
    missing = [name for name in ("file", "label") if name not in frame.columns]
    if missing:
        raise UsageError(
            f"{table.name!r} has no column {missing[0]!r}",
            f"it has {', '.join(map(str, frame.columns))}",
            "give a CSV with the columns file, label and, where known, group",
        )
    if "group" not in frame.columns:
        frame["group"] = frame["file"]
    other = [name for name in frame.columns if name not in ("file", "label", "group")]
    images = []
    for number, row in enumerate(frame.to_dict("records"), 2):
        if not all(row[name] for name in ("file", "label", "group")):
            raise UsageError(f"line {number} of {table.name!r} has an empty file, label or group")
        columns = {name: row[name] for name in other}
        images.append(
            LabelledImage(table.parent / row["file"], row["label"], row["group"], columns)
        )
    absent = [image.path for image in images if not os.path.isfile(image.path)]
    if absent:
        raise UsageError(
            f"{len(absent)} of {len(images)} files of {table.name!r} do not exist",
            f"the first is {str(absent[0])!r}",
            "file names are relative to the CSV",
        )
    return images


def _header(table: Path) -> tuple[str, list[str]]:
    """The delimiter, which some offices' spreadsheets write as ; or tab, and the column names."""
    with table.open(encoding="utf-8-sig", newline="") as stream:
        line = stream.readline()
    by_delimiter = {one: next(csv.reader([line], delimiter=one), []) for one in ",;\t"}
    fitting = (one for one, names in by_delimiter.items() if {"file", "label"} <= set(names))
    delimiter = next(fitting, ",")
    return delimiter, by_delimiter[delimiter]


def _read_folders(data: Path) -> list[LabelledImage]:
    images = []
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        if folder.name.startswith("."):
            continue
        inner = folder / "images"
        source = inner if inner.is_dir() else folder
        files = sorted(
            path for path in source.rglob("*") if path.is_file() and not _hidden(path, source)
        )
        if not files:
            raise UsageError(f"the class {folder.name!r} is empty", mend="remove it or fill it")
        # Relative: the split must not change when the data moves.
        images += [
            LabelledImage(path, folder.name, path.relative_to(data).as_posix()) for path in files
        ]
    return images


def _hidden(path: Path, below: Path) -> bool:
    """What file managers leave behind is no image that somebody labelled."""
    parts = path.relative_to(below).parts
    return path.name.lower() in LEFT_BEHIND or any(part.startswith(".") for part in parts)


def _check_classes(images: Sequence[LabelledImage], data: Path) -> None:
    labels = {image.label for image in images}
    negative = {image.label for image in images if not image.positive}
    if len(labels) != 2 or len(negative) != 1:
        raise UsageError(
            f"{str(data)!r} does not hold two classes of which one is negative",
            f"its labels are {', '.join(map(repr, sorted(labels)[:10])) or 'none'}",
            f"name the negative class one of {', '.join(sorted(NEGATIVE_LABELS))}; of more "
            "classes, give a folder with links to the folders of two (ln -s), or list their images "
            "in a CSV with the columns file and label",
        )


def _check_rows(images: Iterable[LabelledImage]) -> None:
    by_group: dict[str, LabelledImage] = {}
    seen: set[Path] = set()
    for image in images:
        first = by_group.setdefault(image.group, image)
        if first.label != image.label:
            raise UsageError(
                f"the group {image.group!r} has two labels",
                f"{first.path.name!r} is {first.label!r}, {image.path.name!r} is {image.label!r}",
                "mend the label or remove the images",
            )
        if image.path in seen:
            raise UsageError(f"{str(image.path)!r} is listed twice", mend="remove one of the rows")
        seen.add(image.path)


def _join_copies(images: list[LabelledImage]) -> list[LabelledImage]:
    """Give the groups that share a file's bytes one name, the first; refuse two labels."""
    by_size: dict[int, list[LabelledImage]] = defaultdict(list)
    for image in images:
        by_size[image.path.stat().st_size].append(image)
    by_content: dict[bytes, LabelledImage] = {}
    joined: dict[str, str] = {}
    for image in (image for same in by_size.values() if len(same) > 1 for image in same):
        with image.path.open("rb") as stream:
            first = by_content.setdefault(hashlib.file_digest(stream, "sha256").digest(), image)
        if first.label != image.label:
            raise UsageError(
                f"{first.path.name!r} and {image.path.name!r} are the same file with two labels",
                f"{first.label!r} and {image.label!r}",
                "mend the label or remove both",
            )
        one, other = sorted((_root(first.group, joined), _root(image.group, joined)))
        if one != other:
            joined[other] = one
    return [replace(image, group=_root(image.group, joined)) for image in images]


def _root(group: str, joined: dict[str, str]) -> str:
    while group in joined:
        group = joined[group]
    return group


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
    """SHA-256 over names, labels, groups and stated splits: which data a model was made from."""
    digest = hashlib.sha256()
    for image in images:
        fields = [image.path.name, image.label, image.group]
        if "split" in image.columns:
            fields.append(image.columns["split"])
        digest.update((",".join(fields) + "\n").encode())
    return digest.hexdigest()
