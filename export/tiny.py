"""A tiny bundle with the inputs and outputs of a real one: for tests and byte-exact golden files.

It is no model of anything. Its score grows with the edges between neighbouring fields of a 7 x 7
grid, its novelty with the distance from a drawn chest: two dark fields beside a bright middle.
It is written from numbers in this file alone, so it is the same wherever it is made:

    python -m export.tiny tests/data/tiny.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from export.graph import Graph, add_head, add_standardisation
from screener import __version__
from screener.bundle import graph_sha256, set_card
from screener.domain import OperatingPoint
from screener.model_card import (
    Calibration,
    ModelCard,
    Novelty,
    SplitCount,
    TrainingData,
)

CHEST = (
    (-3, -2, -1, 0, -1, -2, -3),
    (0, 0, -1, 0, -1, 0, 0),
    (0, 0, -2, 1, -2, 0, 0),
    (0, -1, -1, 1, -1, -1, 0),
    (-1, 0, 0, 2, 1, 0, -1),
    (-1, 1, 2, 2, 2, 1, -1),
    (-1, 2, 3, 3, 2, 2, -1),
)
"""What the 7 x 7 grid of a frontal chest radiograph looks like: lungs dark, the middle bright."""
LIMIT = 0.7
"""Of 1 - correlation with `CHEST`: 19 films of 20 have 0.1 to 0.5, other images about 1."""


def make_tiny() -> bytes:
    """The bundle as bytes, the same every time."""
    graph = Graph()
    standardised = add_standardisation(graph)
    grid = graph.op(
        "AveragePool", standardised, name="grid", kernel_shape=[32, 32], strides=[32, 32]
    )
    kernel = np.zeros((4, 1, 3, 3), np.float32)
    kernel[0, 0, 1, 1] = 1
    kernel[1, 0, 0, 1], kernel[1, 0, 2, 1] = -1, 1
    kernel[2, 0, 1, 0], kernel[2, 0, 1, 2] = -1, 1
    kernel[3, 0] = 1 / 9
    weight = graph.weight("block.weight", kernel)
    block = graph.op("Conv", grid, weight, name="block", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    features = graph.op("Relu", block, name="features")
    calibration = Calibration(a=2.0, b=-2.5, c=0.0)
    add_head(graph, features, np.array([[-4.0, 4.0, 6.0, -2.0]], np.float32), [calibration])
    _add_novelty(graph, grid)
    model = graph.model()
    set_card(model, _card(calibration, graph_sha256(model)))
    return bytes(model.SerializeToString(deterministic=True))


def _add_novelty(graph: Graph, grid: str) -> None:
    """Give the output novelty = (1 - correlation of the grid with `CHEST`) / `LIMIT`."""
    chest = np.array(CHEST, np.float64)
    chest = (chest - chest.mean()) / chest.std()
    mean = graph.spatial_mean(grid, name="grid.mean")
    centred = graph.op("Sub", grid, mean, name="grid.centred")
    square = graph.op("Mul", centred, centred, name="grid.square")
    variance = graph.spatial_mean(square, name="grid.variance")
    positive = graph.op("Add", variance, graph.constant("floor", 1e-6), name="grid.positive")
    deviation = graph.op("Sqrt", positive, name="grid.deviation")
    product = graph.op("Mul", centred, graph.constant("chest", chest[None, None]), name="product")
    covariance = graph.spatial_mean(product, name="covariance")
    correlation = graph.op("Div", covariance, deviation, name="correlation.map")
    correlation = graph.op(
        "Squeeze", correlation, graph.constant("last", [1, 2, 3]), name="correlation"
    )
    distance = graph.op("Sub", graph.constant("one", 1.0), correlation, name="chest.distance")
    graph.op("Div", distance, graph.constant("limit", LIMIT), name="novelty")
    graph.output("novelty", [])


def _card(calibration: Calibration, graph: str) -> ModelCard:
    points = tuple(
        OperatingPoint(name, "covid", threshold, target, 0.5, (0.4, 0.6), 0.5, (0.4, 0.6), "none")
        for name, threshold, target in (("default", 0.5, 0.97), ("balanced", 0.75, None))
    )
    return ModelCard(
        name="tiny-test-model",
        precision="float",
        findings=("covid",),
        calibration=(calibration,),
        operating_points=points,
        study_operating_points=points,
        prevalence=(0.25,),
        age_range_years=(18.0, 120.0),
        novelty=Novelty("correlation with a drawn chest", 1.0, 0.02, 0.0, 0.0, 0.0, {}),
        training_data=TrainingData("0" * 64, 0, "none", {"train": SplitCount(0, 0)}),
        graph_sha256=graph,
        parity=0.0,
        intended_use="Tests of this program. It knows nothing of any disease.",
        limits=("No figure on this card was measured.",),
        software_version=__version__,
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(make_tiny())
