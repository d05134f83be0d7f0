"""How to train: stages, rates and what else decides how a run ends. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Stage:
    """One resolution: `size` pixels, for `epochs` passes over the training part."""

    size: int
    epochs: float
    rate: float
    batch: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides how a run ends, beside the data.

    `balance`: the rare class weighs more by the square root of the ratio, is drawn as often as the
    other, or neither. `patience`: validations of the last stage without a better one after which
    the run ends early; 0 for never. The best of them is kept in any case. `exchange`: the share of
    films that take tone, spectrum or surroundings of another film (`export.exchange`). `mix_style`:
    the share whose early features take another film's style.
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
    exchange: float = 0.1
    mix_style: float = 0.3

    def lengthened(self, factor: float) -> Recipe:
        """The same with so many times the passes in every stage."""
        stages = tuple(replace(stage, epochs=stage.epochs * factor) for stage in self.stages)
        return replace(self, stages=stages)


RECIPES: dict[str, Recipe] = {
    "scratch": Recipe((Stage(64, 12, 1e-3, 64), Stage(128, 6, 4e-4, 48), Stage(224, 4, 2e-4, 32))),
    "scratch-gpu": Recipe(
        (Stage(128, 60, 1e-3, 128), Stage(176, 40, 8e-4, 128), Stage(224, 80, 6e-4, 128)),
        average=0.999,
        evaluations_per_stage=5,
    ),
    "fine-tune": Recipe((Stage(128, 3, 3e-4, 32), Stage(224, 5, 1e-4, 32))),
    "smoke": Recipe((Stage(32, 1, 1e-3, 8), Stage(64, 1, 5e-4, 8)), exchange=0.0, mix_style=0.0),
}
"""By name: from nothing on a small machine or on a GPU, from given weights, and a mere trial."""


def learning_rate(position: float, peak: float) -> float:
    """One cycle: linear warm-up over the first fifth, then a cosine to a fiftieth of the peak."""
    if position < 0.2:
        return peak * (0.05 + 0.95 * position / 0.2)
    falling = (position - 0.2) / 0.8
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * falling)))
