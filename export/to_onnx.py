"""Checkpoint -> float bundle, compared with PyTorch before it is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from export.backbone import build_backbone, head_of, round_network
from export.bundling import Films, Origin, make_bundle, read_films, run_model, write_bundle
from export.calibration import TARGET_SENSITIVITY, require_target
from export.dataset import manifest_sha256, read_labels, split_images
from export.output import check_file
from export.prediction import load_network
from export.recipe import describe
from screener.errors import RunError, UsageError
from screener.model_card import SplitCount, TrainingData
from screener.preprocess import PREPROCESSING
from screener.verify import LARGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

    from export.network import Network
    from screener.model_card import Calibration

ADULTS = (18.0, 120.0)
"""As the intended use says; no child of the shipped model's training data has a finding."""
PARITY = 1e-4
PARITY_FILMS = 64


def export(
    checkpoint: Path,
    data: Path,
    out: Path,
    *,
    negatives: Path | None = None,
    name: str = "",
    target_sensitivity: float = TARGET_SENSITIVITY,
    age_range_years: tuple[float, float] | None = ADULTS,
    limits: Sequence[str] = (),
) -> Path:
    """Write the float bundle of a checkpoint.

    Args:
        checkpoint: Of `screener train`; its averaged weights are taken.
        data: What it was trained on: the splits are drawn again by the run's own seed.
        out: The ONNX file to write.
        negatives: A folder of folders of images that are no frontal chest radiograph; for each,
            the card reports how well novelty tells them.
        name: Of the model; the file's by default.
        target_sensitivity: Of the operating point `default`, end to end.
        age_range_years: Whom the model is for; None for all.
        limits: Of its data, for the card: what whoever uses the model should know.

    Returns:
        The file written.

    Raises:
        UsageError: `out` cannot be written, no such checkpoint, other data or preprocessing than
            it was trained with, or a model that does not tell the classes apart.
        RunError: the bundle is too large or differs from PyTorch.
    """
    check_file(out)
    require_target(target_sensitivity)
    network, facts = load_network(checkpoint)
    parts, origin = read_origin(facts, data, name or out.stem, target_sensitivity, age_range_years)
    origin = dataclasses.replace(origin, limits=tuple(limits))
    films = read_films(parts, negatives)
    rounded = round_network(network)
    model, card = make_bundle(build_backbone(rounded), head_of(rounded), films, origin, "float")
    parity = compare(rounded, model, card.calibration[0], films)
    if not parity < PARITY:
        raise RunError(
            f"the graph differs from PyTorch by {parity:.1e} in score",
            f"at most {PARITY} is accepted; nothing was written",
        )
    return write_bundle(model, dataclasses.replace(card, parity=parity), out, LARGEST["float"])


def read_origin(
    facts: dict[str, Any],
    data: Path,
    name: str,
    target_sensitivity: float,
    age_range_years: tuple[float, float] | None,
) -> tuple[dict[str, Any], Origin]:
    """The splits that a run was trained on and what its card says of them.

    Raises:
        UsageError: the data or the preprocessing is not that of the run.
    """
    if facts["preprocessing"] != PREPROCESSING:
        raise UsageError(
            "the checkpoint was trained with another preprocessing",
            f"it names {facts['preprocessing']}, this program's is {PREPROCESSING}",
            "train again",
        )
    images = read_labels(data)
    if facts["data_sha256"] != manifest_sha256(images):
        raise UsageError(
            f"{str(data)!r} is not the data that the checkpoint was trained on",
            "its names, labels or groups differ, so films of training could be in other splits",
            "give the data of the run",
        )
    seed = int(facts["recipe"]["seed"])
    parts = split_images(images, seed)
    counts = {
        split: SplitCount(len(part), sum(image.positive for image in part))
        for split, part in parts.items()
    }
    training = TrainingData(
        facts["data_sha256"],
        seed,
        Path(facts["recipe"]["weights"]).name,
        counts,
        describe(facts["recipe"]),
    )
    return parts, Origin(name, facts["finding"], training, age_range_years, target_sensitivity)


@torch.inference_mode()
def compare(rounded: Network, model: ModelProto, calibration: Calibration, films: Films) -> float:
    """The largest difference in score between PyTorch and the graph, both of rounded weights."""
    count = len(films.calibration)
    chosen = films.calibration[:: max(1, count // PARITY_FILMS)][:PARITY_FILMS]
    scores = run_model(model, ["score"], chosen)["score"][:, 0]
    batches = torch.split(torch.from_numpy(chosen)[:, None].float().div(255), 16)
    logits = torch.cat([rounded(batch) for batch in batches])[:, 0].double().numpy()
    expected = 1 / (1 + np.exp(-(calibration.a * logits + calibration.c)))
    return float(np.abs(expected - scores).max())
