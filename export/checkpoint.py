"""The files of a run: `last.pt`, to go on from, and `best.pt`, for export. Whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from export.initial_weights import load_checkpoint
from export.recipe import Recipe
from screener.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

LAST, BEST = "last.pt", "best.pt"
HELD = {"facts", "step", "best", "weights", "network", "optimizer"}
"""What `last.pt` holds."""


def save(run: Path, name: str, content: dict[str, Any]) -> None:
    """Write a checkpoint beside and rename it: a run that is killed leaves no half of it.

    Raises:
        OSError: the disk is full, say.
    """
    temporary = run / f".{name}.tmp"
    # Opened here: torch's own writer tells a full disk as a RuntimeError about a position.
    with temporary.open("wb") as stream:
        torch.save(content, stream)
    temporary.replace(run / name)


def read_last(run: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """What a run left to go on from, None for a new one.

    Args:
        run: The run's folder.
        facts: Of the run that wants to go on.

    Raises:
        UsageError: the folder holds a run with another recipe or other data, or a damaged one.
    """
    if not (run / LAST).exists():
        return None
    kept = _load_last(run / LAST)
    there, here = decisive(kept["facts"]), decisive(json.loads(json.dumps(facts)))
    if there != here:
        raise UsageError(
            f"{str(run)!r} holds a run with another recipe or other data",
            "; ".join(_differences(there, here)),
            "give another --out",
        )
    return kept


def _load_last(path: Path) -> dict[str, Any]:
    mend = "remove it to begin the run anew, or give another --out"
    try:
        kept = load_checkpoint(path)
    except UsageError as error:
        raise UsageError(f"{str(path)!r} cannot be read", error.why, mend) from error
    if not set(kept) >= HELD:
        raise UsageError(f"{str(path)!r} is not what `screener train` left", mend=mend)
    return kept


def _differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """In what two runs differ, in words; values where they are short."""
    words = []
    for name, value in here["recipe"].items():
        other = there["recipe"].get(name)
        if other != value:
            short = not isinstance(value, list)
            words.append(f"{name} is {other} there, {value} here" if short else f"other {name}")
    if there["data"] != here["data"]:
        words.append("names, labels or groups of the data differ")
    if there["preprocessing"] != here["preprocessing"]:
        words.append("another preprocessing")
    if there["world"] != here["world"]:
        words.append(f"{there['world']} processes there, {here['world']} here")
    return words


def decisive(facts: dict[str, Any]) -> dict[str, Any]:
    """What must agree for a run to go on; options that it did not know yet are as they were."""
    defaults = json.loads(json.dumps(asdict(Recipe((), exchange=0.0, mix_style=0.0))))
    return {
        "recipe": defaults | facts["recipe"],
        "data": facts["data_sha256"],
        "preprocessing": facts["preprocessing"],
        "world": facts.get("world", 1),
    }
