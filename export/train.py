"""Fine-tune or train a ResNet50: from labelled images to the best checkpoint of a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from export.dataset import LabelledImage, manifest_sha256, read_labels, split_images
from export.devices import Place, find_place
from export.initial_weights import check_origin
from export.output import keep_apart, make_folder
from export.pixels import require_pixels
from export.recipe import Recipe
from export.trainer import Trainer
from screener import __version__
from screener.errors import RunError, UsageError
from screener.preprocess import PREPROCESSING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHECKPOINT_STEPS = {"cpu": 50, "mps": 200, "cuda": 2000}
"""By device: about a minute of work, so that writing checkpoints takes little of it."""


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def train(
    data: Path,
    run: Path,
    recipe: Recipe,
    *,
    device: str = "auto",
    checkpoint_steps: int = 0,
    tell: Callable[[str], None] = _to_stderr,
) -> Path:
    """Train on `data`, keep everything in `run`, and return the best checkpoint.

    A run folder that holds `last.pt` is continued; with another recipe or data it is refused.

    Args:
        data: Labelled images, see `export.dataset`.
        run: A folder for checkpoints, log and pixel caches.
        recipe: How to train.
        device: `auto` or torch's name of one; torchrun gives each process its own.
        checkpoint_steps: What a kill may cost at most; 0 for about a minute. It does not change
            how the run ends.
        tell: Takes a line of progress each step.

    Raises:
        UsageError: bad data (before any training), no such device or weights, or a run folder of
            another recipe.
        RunError: the disk is full; the run goes on from its last checkpoint.
    """
    keep_apart(run, data)
    images = read_labels(data)
    parts = split_images(images, recipe.seed)
    data_sha256 = manifest_sha256(images)
    check_origin(recipe.weights, data_sha256, recipe.seed)
    make_folder(run)
    with _told_where_the_disk_is_full(run), find_place(device) as place:
        pixels = _read_parts(images, parts, run, place)
        facts = {
            "finding": next(image.label for image in images if image.positive),
            "recipe": asdict(recipe),
            "data_sha256": data_sha256,
            "counts": {
                name: {"positive": sum(i.positive for i in part), "images": len(part)}
                for name, part in parts.items()
            },
            "preprocessing": PREPROCESSING,
            "software_version": __version__,
            "world": place.world,
        }
        labels = {
            name: torch.tensor([[float(image.positive)] for image in parts[name]])
            for name in pixels
        }
        trainer = Trainer(run, recipe, facts, pixels, labels, place, tell)
        return trainer.run_all(checkpoint_steps or CHECKPOINT_STEPS[place.device.type])


@contextmanager
def _told_where_the_disk_is_full(run: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the run {str(run)!r} cannot be written to",
            error.strerror or type(error).__name__,
            "give the same command again once it can: it goes on from the last checkpoint",
        ) from error


def _read_parts(
    images: list[LabelledImage],
    parts: dict[str, list[LabelledImage]],
    run: Path,
    place: Place,
) -> dict[str, NDArray[np.uint8]]:
    """The pixels of training and validation; of the other parts only whether they can be read."""
    pixels = _read_first_on_the_first(images, run / "pixels.npz", place)
    row = {image.path: number for number, image in enumerate(images)}
    return {name: pixels[[row[i.path] for i in parts[name]]] for name in ("train", "validation")}


def _read_first_on_the_first(
    images: list[LabelledImage], cache: Path, place: Place
) -> NDArray[np.uint8]:
    """The first process reads the films into the cache; the others wait for it, or end with it."""
    if place.first:
        try:
            pixels = require_pixels(images, cache)
        except UsageError:
            place.agree(0.0)
            raise
        place.agree(1.0)
        return pixels
    if not place.agree(0.0):
        raise UsageError("the first process cannot use the data", "it says why")
    return require_pixels(images, cache)
