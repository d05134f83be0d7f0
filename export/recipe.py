"""How to train: stages, rates and what else decides how a run ends. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Stage:
    """One resolution: `size` pixels, for `epochs` passes over the training part."""

    size: int
    epochs: float
    rate: float
    batch: int


RECIPES: dict[str, tuple[Stage, ...]] = {
    "scratch": (Stage(64, 12, 1e-3, 64), Stage(128, 4, 4e-4, 48), Stage(224, 1, 2e-4, 32)),
    "fine-tune": (Stage(128, 3, 3e-4, 32), Stage(224, 5, 1e-4, 32)),
    "smoke": (Stage(32, 1, 1e-3, 8), Stage(64, 1, 5e-4, 8)),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides how a run ends, beside the data.

    `balance`: the rare class weighs more by the square root of the ratio, is drawn as often as the
    other, or neither. `patience`: validations of the last stage without a better one after which
    the run ends early; 0 for never. The best of them is kept in any case.
    """

    stages: tuple[Stage, ...]
    weights: str = "scratch"
    seed: int = 1
    smoothing: float = 0.05
    weight_decay: float = 0.05
    average: float = 0.995
    evaluations_per_stage: int = 2
    balance: Literal["weight", "upsample", "none"] = "weight"
    patience: int = 0


def learning_rate(position: float, peak: float) -> float:
    """One cycle: linear warm-up over the first fifth, then a cosine to a fiftieth of the peak."""
    if position < 0.2:
        return peak * (0.05 + 0.95 * position / 0.2)
    falling = (position - 0.2) / 0.8
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * falling)))
