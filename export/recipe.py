"""How to train: stages, rates and what else decides how a run ends. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from screener.errors import UsageError


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
    the share whose early features take another film's style. `strength`: of all other augmentation.
    `flip`: the share that is mirrored left to right. `drop_path`: the chance that the last block is
    left out (`export.network`). `mixup`, `cutmix`: see `export.mixing`. `average`: the decay of the
    weights' average; `tail`: the share of each stage, its end, in which the average's memory grows.
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
    strength: float = 1.0
    flip: float = 0.0
    drop_path: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    tail: float = 0.0

    def changed(self, settings: Iterable[str]) -> Recipe:
        """The same with settings `name=value` of a command line.

        Stages are written `size:epochs:rate:batch`, joined by commas, as `describe` writes them.

        Raises:
            UsageError: an unknown name, a value of another kind, or one out of range.
        """
        recipe = self
        for setting in settings:
            name, _, text = setting.partition("=")
            recipe = replace(recipe, **{name: _read_setting(name, text)})
        return recipe

    def lengthened(self, factor: float) -> Recipe:
        """The same with so many times the passes in every stage."""
        stages = tuple(replace(stage, epochs=stage.epochs * factor) for stage in self.stages)
        return replace(self, stages=stages)


RECIPES: dict[str, Recipe] = {
    "scratch": Recipe(
        (Stage(64, 12, 1e-3, 64), Stage(128, 6, 4e-4, 48), Stage(224, 4, 2e-4, 32)),
        exchange=0.0,
        mix_style=0.0,
        strength=0.25,
    ),
    "scratch-gpu": Recipe(
        (Stage(128, 60, 1e-3, 128), Stage(176, 40, 8e-4, 128), Stage(224, 80, 6e-4, 128)),
        average=0.999,
        evaluations_per_stage=5,
        strength=0.5,
        drop_path=0.1,
        mixup=0.2,
        tail=0.3,
    ),
    "fine-tune": Recipe(
        (Stage(128, 3, 3e-4, 32), Stage(224, 5, 1e-4, 32)), strength=0.5, drop_path=0.1, mixup=0.2
    ),
    "smoke": Recipe((Stage(32, 1, 1e-3, 8), Stage(64, 1, 5e-4, 8)), exchange=0.0, mix_style=0.0),
}
"""By name: from nothing on a small machine or on a GPU, from given weights, and a mere trial.

Few passes learn more from films that are changed little; many passes learn those by heart, so the
long recipe changes them more and mixes them (`export/records/screener-covid/README.md`).
"""


def learning_rate(position: float, peak: float) -> float:
    """One cycle: linear warm-up over the first fifth, then a cosine to a fiftieth of the peak."""
    if position < 0.2:
        return peak * (0.05 + 0.95 * position / 0.2)
    falling = (position - 0.2) / 0.8
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * falling)))


CHOICES = {"balance": ("weight", "upsample", "none")}
RANGES: dict[str, tuple[float, float]] = {
    "smoothing": (0, 0.5),
    "weight_decay": (0, 10),
    "average": (0, 0.99999),
    "evaluations_per_stage": (1, 1000),
    "patience": (0, 1000),
    "exchange": (0, 1),
    "mix_style": (0, 1),
    "strength": (0, 1.5),
    "flip": (0, 1),
    "drop_path": (0, 0.9),
    "mixup": (0, 10),
    "cutmix": (0, 10),
    "tail": (0, 1),
}
"""What `Recipe.changed` takes; `weights` and `seed` have options of their own."""


def _read_setting(name: str, text: str) -> Any:
    if name == "stages":
        return tuple(_read_stage(part) for part in text.split(","))
    if name in CHOICES:
        if text not in CHOICES[name]:
            raise UsageError(f"{name} is one of {', '.join(CHOICES[name])}, not {text!r}")
        return text
    if name not in RANGES:
        known = ", ".join(sorted(("stages", *CHOICES, *RANGES)))
        raise UsageError(f"a recipe has no setting {name!r}", f"it has {known}")
    kind = int if name in ("evaluations_per_stage", "patience") else float
    low, high = RANGES[name]
    try:
        value = kind(text)
    except ValueError as error:
        raise UsageError(f"{name} takes a number, not {text!r}") from error
    if not low <= value <= high:
        raise UsageError(f"{name} is between {low:g} and {high:g}, not {text}")
    return value


def _read_stage(text: str) -> Stage:
    try:
        size, epochs, rate, batch = text.split(":")
        stage = Stage(int(size), float(epochs), float(rate), int(batch))
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no stage", mend="write size:epochs:rate:batch, as 128:48:1e-3:128"
        ) from error
    # A ResNet50 shrinks by 32; one film has no batch statistics at 32 pixels.
    if stage.size < 32 or stage.size > 224 or stage.batch < 2:
        raise UsageError(f"{text!r} is no stage", "32 to 224 pixels, 2 films a batch at least")
    if not (0 < stage.epochs < 1e5 and 0 < stage.rate < 1):
        raise UsageError(f"{text!r} is no stage", "passes are above 0, a rate is below 1")
    return stage


def describe(recipe: Mapping[str, Any]) -> dict[str, str | int | float]:
    """A recipe of a checkpoint as a model card holds it: one value a name, stages as text."""
    told: dict[str, str | int | float] = {
        "stages": ",".join(
            ":".join(f"{stage[field.name]:g}" for field in fields(Stage))
            for stage in recipe.get("stages", ())
        )
    }
    own = (field.name for field in fields(Recipe) if field.name in RANGES or field.name in CHOICES)
    return told | {name: recipe[name] for name in own if name in recipe}
