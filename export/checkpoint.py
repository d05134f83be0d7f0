"""The files of a run: `last.pt`, to go on from, and `best.pt`, for export. Whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from export.recipe import Recipe
from screener.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

LAST, BEST = "last.pt", "best.pt"


def save(run: Path, name: str, content: dict[str, Any]) -> None:
    """Write a checkpoint beside and rename it: a run that is killed leaves no half of it."""
    temporary = run / f".{name}.tmp"
    torch.save(content, temporary)
    temporary.replace(run / name)


def read_last(run: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """What a run left to go on from, None for a new one.

    Args:
        run: The run's folder.
        facts: Of the run that wants to go on.

    Raises:
        UsageError: the folder holds a run with another recipe or other data.
    """
    if not (run / LAST).exists():
        return None
    kept: dict[str, Any] = torch.load(run / LAST, map_location="cpu", weights_only=True)
    if decisive(kept["facts"]) != decisive(json.loads(json.dumps(facts))):
        raise UsageError(
            f"{str(run)!r} holds a run with another recipe or other data",
            mend="give another --out",
        )
    return kept


def decisive(facts: dict[str, Any]) -> dict[str, Any]:
    """What must agree for a run to go on; options that it did not know yet are as they were."""
    defaults = json.loads(json.dumps(asdict(Recipe((), exchange=0.0, mix_style=0.0))))
    return {
        "recipe": defaults | facts["recipe"],
        "data": facts["data_sha256"],
        "preprocessing": facts["preprocessing"],
        "world": facts.get("world", 1),
    }
