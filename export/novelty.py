"""Novelty: how far an image lies from the frontal chest radiographs that the model was made from.

Mahalanobis distances in the leading principal components of features at several depths (Lee 2018;
on radiographs Calli 2019, arXiv 1907.01253). No single depth sees everything (Anthony 2023, arXiv
2309.01488): the pooled activations tell tissue, texture and sharpness, the coarse grid of the image
itself tells where things lie, so that a film upside down or sideways is far away too.

The sum is scaled so that 1.0 turns away a chosen share of valid films. Fitted in numpy, run inside
the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from screener.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from export.graph import Graph

    Features = Mapping[str, NDArray[np.float32]]

GRID = 14
GRID_DEPTH = "grid"
COMPONENTS: dict[str, int] = {GRID_DEPTH: 16, "layer2": 64, "layer3": 64, "layer4": 64}
"""The depths, and how many principal components of each: at most 128."""
LEAST_FILMS = 16
FEATURES = {GRID_DEPTH: GRID * GRID, "layer2": 512, "layer3": 1024, "layer4": 2048}
TARGET_REJECTED = 0.01
MOST_CROP = 0.08
METHOD = "Mahalanobis distances in principal components of image grid and pooled stages, summed"


@dataclass(frozen=True, slots=True)
class Depth:
    """One depth: `mean` float32 (D,), `projection` float32 (D, k) onto unit variance."""

    name: str
    mean: NDArray[np.float32]
    projection: NDArray[np.float32]

    def distance(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean squared whitened component of (n, D): about 1 for the films it was fitted on."""
        z = (features.astype(np.float64) - self.mean) @ self.projection.astype(np.float64)
        squares: NDArray[np.float64] = np.square(z).mean(1)
        return squares


@dataclass(frozen=True, slots=True)
class NoveltyModel:
    """The depths and the weight of each in the sum whose root is the novelty."""

    depths: tuple[Depth, ...]
    weights: tuple[float, ...]

    def novelty(self, features: Features) -> NDArray[np.float64]:
        """(n,) of the features of n images: 1.0 is the limit."""
        parts = [
            weight * depth.distance(features[depth.name])
            for depth, weight in zip(self.depths, self.weights, strict=True)
        ]
        root: NDArray[np.float64] = np.sqrt(np.sum(parts, axis=0))
        return root


def fit_novelty(
    train: Features,
    held_back: Features,
    positive: NDArray[np.bool_],
    target_rejected: float = TARGET_REJECTED,
) -> NoveltyModel:
    """Fit the statistics on one set of valid films and the limit on another.

    Severe disease is novel too: the limit is the higher of the two classes' own, so that neither is
    turned away more often than the other by more than chance.

    Args:
        train: For each depth the features (n, D) of films that the network was trained on.
        held_back: The same of films that it was not: their tail decides weights and limit.
        positive: The labels of `held_back`.
        target_rejected: The share of each class of `held_back` beyond the limit, at most.

    Raises:
        UsageError: fewer than 16 films to fit on.
    """
    depths = tuple(fit_depth(name, train[name], COMPONENTS[name]) for name in COMPONENTS)
    distances = [depth.distance(held_back[depth.name]) for depth in depths]
    tail = 1 - target_rejected
    # Each depth counts in units of its own tail, or the one with the longest would drown the rest.
    weights = [1 / float(np.quantile(distance, tail)) for distance in distances]
    total = np.sum([w * d for w, d in zip(weights, distances, strict=True)], axis=0)
    limit = max(
        float(np.quantile(total[positive == label], tail, method="higher"))
        for label in np.unique(positive)
    )
    return NoveltyModel(depths, tuple(weight / limit for weight in weights))


def vary_style(films: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The films as another device could have given them: tone, range and crop at random.

    The statistics are fitted on films and varied films alike, or a hospital's own tones would be
    novel, whatever they show.

    Args:
        films: uint8 (n, 224, 224).

    Returns:
        uint8 (n, 224, 224), the same every time.
    """
    random = np.random.default_rng(3)
    varied = np.empty_like(films)
    for number, film in enumerate(films):
        side = len(film)
        left, top = random.uniform(0, MOST_CROP * side, 2)
        right, bottom = side - random.uniform(0, MOST_CROP * side, 2)
        image = Image.fromarray(film).resize(
            (side, side), Image.Resampling.BILINEAR, (left, top, right, bottom)
        )
        low, high = random.uniform(0, 0.08), 1 - random.uniform(0, 0.08)
        tones = np.clip((np.asarray(image) / 255 - low) / (high - low), 0, 1)
        varied[number] = np.rint(255 * tones ** np.exp(random.uniform(-0.4, 0.4)))
    return varied


def fit_depth(name: str, features: NDArray[np.float32], components: int) -> Depth:
    """Principal components of (n, D), whitened, rounded as they will be stored.

    Args:
        name: Of the depth.
        features: float32 (n, D).
        components: How many; fewer where there are not four films for each.

    Raises:
        UsageError: fewer than 16 films.
    """
    if len(features) < LEAST_FILMS:
        raise UsageError(f"{len(features)} films are too few for novelty", mend="give more data")
    components = min(components, len(features) // 4)
    mean = features.mean(0, dtype=np.float64)
    centred = features.astype(np.float64) - mean
    variances, axes = np.linalg.eigh(centred.T @ centred / len(features))
    chosen = variances.argsort()[::-1][:components]
    # A component without variance would make every other image infinitely far away.
    spread = np.sqrt(np.maximum(variances[chosen], variances.max() * 1e-6))
    projection = (axes[:, chosen] / spread).astype(np.float16).astype(np.float32)
    return Depth(name, mean.astype(np.float32), projection)


def add_features(graph: Graph, taps: Mapping[str, str]) -> dict[str, str]:
    """Add the features of every depth; returns the value (N, D) of each.

    Args:
        graph: A graph that holds `standardised`.
        taps: The value after each stage.
    """
    side = 224 // GRID
    grid = graph.op(
        "AveragePool", "standardised", name="grid.map", kernel_shape=[side] * 2, strides=[side] * 2
    )
    features = {GRID_DEPTH: graph.op("Flatten", grid, name="grid.features")}
    for name in COMPONENTS:
        if name != GRID_DEPTH:
            features[name] = graph.pooled(taps[name], name=f"{name}.features")
    return features


def add_novelty(graph: Graph, features: Mapping[str, str], model: NoveltyModel) -> None:
    """Add and declare the output `novelty`."""
    total = ""
    for depth, weight in zip(model.depths, model.weights, strict=True):
        prefix = f"novelty.{depth.name}"
        mean = graph.constant(f"{prefix}.mean", depth.mean)
        centred = graph.op("Sub", features[depth.name], mean, name=f"{prefix}.centred")
        projection = graph.weight(f"{prefix}.projection", depth.projection)
        z = graph.op("MatMul", centred, projection, name=f"{prefix}.z")
        square = graph.op("Mul", z, z, name=f"{prefix}.square")
        image = graph.op(
            "Unsqueeze", square, graph.constant("novelty.axes", [1, 2]), name=f"{prefix}.map"
        )
        distance = graph.pooled(image, name=f"{prefix}.distance")
        weighted = graph.op(
            "Mul", distance, graph.constant(f"{prefix}.weight", weight), name=f"{prefix}.weighted"
        )
        total = graph.op("Add", total, weighted, name=f"{prefix}.total") if total else weighted
    root = graph.op("Sqrt", total, name="novelty.root")
    graph.op("Squeeze", root, graph.constant("novelty.axis", [1]), name="novelty")
    graph.output("novelty", [])
