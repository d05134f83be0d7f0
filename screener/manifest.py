"""`run.json`, which vouches for the other files of a report: what it names and what matches.

Read from the output folder and from the folders in `runs/` alike. Others may have written what
lies there by now, so nothing in it is believed before it was checked.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "run.json"
RUNS = "runs"
_MAX_BYTES = 16 * 1024**2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RESERVED = frozenset({MANIFEST, RUNS, "state.sqlite"})


def is_name(name: object) -> bool:
    """Whether a run or a report file may be called so: never a path, hidden, or the state."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and name not in _RESERVED


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The content of a folder's `run.json`; None where there is none that can be believed.

    Raises:
        OSError: The file is there and cannot be read.
    """
    try:
        with (folder / MANIFEST).open("rb") as stream:
            content = json.loads(stream.read(_MAX_BYTES))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        return None
    return content if all(map(is_name, [content.get("run_id"), *content["files"]])) else None


def file_names(manifest: Mapping[str, Any] | None) -> list[str]:
    """The files that a manifest vouches for, in the order in which they were written."""
    return list(manifest["files"]) if manifest else []


def mismatches(folder: Path) -> tuple[str, ...]:
    """The files that are missing or not as `run.json` says; itself where it is not whole.

    Raises:
        OSError: A file is there and cannot be read.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return (MANIFEST,)
    return tuple(
        name
        for name, told in manifest["files"].items()
        if not isinstance(told, dict) or _sha256(folder / name) != told.get("sha256")
    )


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
