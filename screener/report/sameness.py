"""Which images of a study are one and the same, and when a study is still what it was."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

Row = sqlite3.Row | dict[str, Any]
Note = tuple[bytes, bytes | None, bool]
"""Path, path of the image that it is a copy of, and whether its UID stands for different pixels."""

IDENTITY = (
    "accession_number",
    "study_instance_uid",
    "patient_id",
    "issuer_of_patient_id",
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "study_date",
    "study_time",
    "modality",
    "view_position",
    "institution_name",
    "station_name",
)


def image_identity(image: Row) -> str:
    """What counts as one image: its UID, else its content, else its path."""
    path: bytes = image["path"]
    return image["sop_instance_uid"] or image["sha256"] or path.hex()


def digest_of(image: Row, images: Sequence[Row]) -> str:
    """Changes where the identifiers or the images of a study do, not where a file moves."""
    identity = [image[name] or "" for name in IDENTITY]
    return hashlib.sha256(json.dumps([identity, _contents(images)]).encode()).hexdigest()


def content_of(images: Sequence[Row]) -> str:
    """Changes where the images of a study do, whatever model or header decides what is said."""
    return hashlib.sha256(json.dumps(_contents(images)).encode()).hexdigest()


def _contents(images: Sequence[Row]) -> list[str]:
    return sorted({f"{image_identity(i)}:{i['pixels_sha256'] or i['sha256']}" for i in images})


def notes_of(images: list[Row]) -> tuple[Note, ...]:
    """Which images are copies of another, and which share a UID but not the pixels."""
    first: dict[str, bytes] = {}
    pixels_of: dict[str, set[str]] = defaultdict(set)
    for image in sorted(images, key=lambda i: (i["gone"], i["path"])):
        for content in (image["pixels_sha256"], image["sha256"]):
            if content:
                first.setdefault(content, image["path"])
        if image["sop_instance_uid"] and image["pixels_sha256"]:
            pixels_of[image["sop_instance_uid"]].add(image["pixels_sha256"])
    notes = []
    for image in images:
        original = first.get(image["pixels_sha256"] or image["sha256"])
        duplicate = original if original != image["path"] else None
        conflict = len(pixels_of.get(image["sop_instance_uid"] or "", ())) > 1
        if duplicate is not None or conflict:
            notes.append((image["path"], duplicate, conflict))
    return tuple(notes)
