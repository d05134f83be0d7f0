"""Backbone graph -> bundle: head, calibration, novelty, operating points and card. No torch.

The float bundle and the int8 one come about by this same function, each fitted on what its own
graph gives: novelty's statistics on training films, its limit, the calibration and the operating
points on the calibration split. The test split is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from export.calibration import fit_operating_points, fit_platt, join_studies, make_sample
from export.dataset import LabelledImage, load_pixels
from export.graph import Graph, add_head
from export.metrics import auc_delong
from export.negatives import make_negatives
from export.novelty import (
    FEATURES,
    METHOD,
    TARGET_REJECTED,
    add_features,
    add_novelty,
    fit_novelty,
    vary_style,
)
from export.output import write_model
from screener import __version__
from screener.bundle import graph_sha256, set_card
from screener.classifier import open_session
from screener.classifier_providers import choose_providers, cores
from screener.errors import RunError, UsageError
from screener.model_card import Calibration, ModelCard, Novelty, TrainingData
from screener.preprocess import SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import ModelProto

    Pixels = NDArray[np.uint8]
    Outputs = dict[str, NDArray[np.float32]]

LAST_BLOCK = {"layer1": 2, "layer2": 3, "layer3": 5, "layer4": 2}
TAPS = {stage: f"{stage}.{number}.out" for stage, number in LAST_BLOCK.items()}
"""The value after each stage of a ResNet50, by the stage's name."""
STATISTICS_FILMS = 4000
BATCH = 16
INTENDED_USE = (
    "Research. Puts frontal chest radiographs of adults in an order for reading, as a second look. "
    "Not a medical device, never a diagnosis, never a reason not to read a film."
)
LIMITS = (
    "Expect a lower AUC at other hospitals than on its own data.",
    "Other findings were not learnt and may be flagged or not.",
    "Frontal films only: novelty turns most others away, not all.",
    "Calibrated at the prevalence of its data: fit a threshold of your own.",
)
"""Of every model; what its own data leaves open is said by who knows it (`Origin.limits`)."""


@dataclass(frozen=True, slots=True)
class Head:
    """The linear head as float16 can hold it: float32 `weight` (K, 2048) and `bias` (K,)."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Films:
    """The films that a bundle is fitted on, uint8 (n, 224, 224), and the labels of two splits."""

    statistics: Pixels
    calibration: Pixels
    calibration_images: list[LabelledImage]
    validation: Pixels
    validation_images: list[LabelledImage]
    negatives: dict[str, Pixels]


@dataclass(frozen=True, slots=True)
class Origin:
    """What the card says of a model beside what is measured here.

    `limits`: of its data, before those of every model.
    """

    name: str
    finding: str
    training_data: TrainingData
    age_range_years: tuple[float, float] | None
    target_sensitivity: float
    limits: tuple[str, ...] = ()


def read_films(
    parts: Mapping[str, Sequence[LabelledImage]], negatives: Path | None = None
) -> Films:
    """Read what fitting needs of the splits.

    Args:
        parts: As `export.dataset.split_images` gives them.
        negatives: A folder with one folder of images for each further kind that is no frontal
            chest radiograph; only reported, never fitted.

    Raises:
        UsageError: an image cannot be read, or a kind holds none.
    """
    train = parts["train"]
    step = max(1, 2 * len(train) // STATISTICS_FILMS)
    calibration, validation = list(parts["calibration"]), list(parts["validation"])
    films, statistics = _read(validation), _read(train[::step])
    return Films(
        statistics=np.concatenate([statistics, vary_style(statistics)]),
        calibration=_read(calibration),
        calibration_images=calibration,
        validation=films,
        validation_images=validation,
        negatives=make_negatives(films, negatives),
    )


def _read(images: Sequence[LabelledImage]) -> Pixels:
    pixels, rejections = load_pixels(images)
    for image, rejection in zip(images, rejections, strict=True):
        if rejection is not None:
            raise UsageError(
                f"{image.path.name!r} cannot be used",
                f"{rejection.code}: scan would not score it",
                "remove it from the data",
            )
    return pixels


def run_model(model: ModelProto, names: Sequence[str], pixels: Pixels) -> Outputs:
    """Run a graph on uint8 (n, 224, 224), 255 for 1.0, and give the named outputs."""
    providers, _ = choose_providers("auto")
    session, _ = open_session(
        model.SerializeToString(), [(name, {}) for name in providers], cores()
    )
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for begin in range(0, len(pixels), BATCH):
        chunk = pixels[begin : begin + BATCH]
        # One shape for all, as the classifier does.
        batch = np.zeros((BATCH, 1, SIZE, SIZE), np.float32)
        batch[: len(chunk), 0] = chunk / np.float32(255)
        for name, values in zip(names, session.run(list(names), {"pixels": batch}), strict=True):
            parts[name].append(values[: len(chunk)])
    return {name: np.concatenate(values) for name, values in parts.items()}


def make_bundle(
    backbone: ModelProto,
    head: Head,
    films: Films,
    origin: Origin,
    precision: Literal["float", "int8"],
) -> tuple[ModelProto, ModelCard]:
    """Fit everything on what the backbone gives and put it into one graph, its card not yet set.

    Args:
        backbone: From `pixels` to the values of `TAPS`.
        head: The linear head.
        films: What to fit on.
        origin: What else the card says.
        precision: Of the backbone.

    Raises:
        UsageError: the logit does not rise with the finding, or novelty turns too much away.
    """
    plain = Calibration(1.0, float(head.bias[0]), 0.0)
    graph = Graph.over(backbone)
    add_head(graph, TAPS["layer4"], head.weight, [plain])
    names = add_features(graph, TAPS)
    for name, value in names.items():
        graph.output(value, [FEATURES[name]])
    probe = graph.model()
    outputs = {
        part: run_model(probe, [*names.values(), "logit"], pixels)
        for part, pixels in (("train", films.statistics), ("calibration", films.calibration))
    }
    train, held_back = (
        {name: outputs[part][value] for name, value in names.items()}
        for part in ("train", "calibration")
    )
    positive = np.array([image.positive for image in films.calibration_images])
    novelty = fit_novelty(train, held_back, positive)
    accepted = novelty.novelty(held_back) <= 1
    a, c = fit_platt(outputs["calibration"]["logit"][accepted, 0], positive[accepted])
    calibration = Calibration(a, plain.b, c)

    graph = Graph.over(backbone)
    add_head(graph, TAPS["layer4"], head.weight, [calibration])
    add_novelty(graph, add_features(graph, TAPS), novelty)
    model = graph.model()
    return model, _measure(model, films, origin, calibration, precision)


def _measure(
    model: ModelProto,
    films: Films,
    origin: Origin,
    calibration: Calibration,
    precision: Literal["float", "int8"],
) -> ModelCard:
    """The card of a finished graph, its figures from the graph's own outputs."""
    outputs = run_model(model, ["score", "novelty"], films.calibration)
    positive = np.array([image.positive for image in films.calibration_images])
    accepted = outputs["novelty"] <= 1
    sample = make_sample(positive, outputs["score"][:, 0], accepted)
    studies = join_studies(sample, [image.group for image in films.calibration_images])
    of = f"manifest {origin.training_data.manifest_sha256[:12]}; thresholds were fitted on it"
    points, study_points = (
        fit_operating_points(
            part,
            origin.finding,
            origin.target_sensitivity,
            f"calibration split, {len(part.score)} {unit}, {part.positive.sum()} positive, {of}",
        )
        for part, unit in ((sample, "images"), (studies, "studies"))
    )
    return ModelCard(
        name=origin.name,
        precision=precision,
        findings=(origin.finding,),
        calibration=(calibration,),
        operating_points=points,
        study_operating_points=study_points,
        prevalence=(round(float(positive.mean()), 4),),
        age_range_years=origin.age_range_years,
        novelty=_measure_novelty(model, films, accepted),
        training_data=origin.training_data,
        graph_sha256=graph_sha256(model),
        parity=0.0,
        intended_use=INTENDED_USE,
        limits=tuple(dict.fromkeys((*origin.limits, *LIMITS))),
        software_version=__version__,
    )


def _measure_novelty(model: ModelProto, films: Films, accepted: NDArray[np.bool_]) -> Novelty:
    valid = run_model(model, ["novelty"], films.validation)["novelty"]
    positive = np.array([image.positive for image in films.validation_images])
    auroc = {}
    for kind, pixels in films.negatives.items():
        other = run_model(model, ["novelty"], pixels)["novelty"]
        joint = np.concatenate([valid, other]).astype(np.float64)
        area = auc_delong(joint, np.arange(len(joint)) >= len(valid))
        if area is not None:
            auroc[kind] = round(area.value, 4)
    return Novelty(
        method=METHOD,
        limit=1.0,
        target_rejected=TARGET_REJECTED,
        calibration_rejected=round(float((~accepted).mean()), 4),
        validation_rejected_positive=round(float((valid[positive] > 1).mean()), 4),
        validation_rejected_negative=round(float((valid[~positive] > 1).mean()), 4),
        auroc=auroc,
    )


def write_bundle(model: ModelProto, card: ModelCard, out: Path, limit: int) -> Path:
    """Set the card and write the file, whole or not at all.

    Raises:
        RunError: it is not under `limit` bytes.
        UsageError: it cannot be written.
    """
    set_card(model, card)
    content = model.SerializeToString(deterministic=True)
    if len(content) >= limit:
        raise RunError(f"the bundle has {len(content)} bytes, not under {limit}")
    write_model(out, content)
    return out
