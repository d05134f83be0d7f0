"""ONNX by hand: what every bundle shares, from standardisation to head and novelty. No torch.

The graph is written node by node rather than traced, so that its names are stable, the weights can
be stored in half precision and computed in single, and the identities of the contract hold by
construction: `logit` is the mean of `cam` plus b, `score` the sigmoid of a * logit + c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from screener import __version__
from screener.preprocess import SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from screener.model_card import Calibration

OPSET = 18
IR_VERSION = 9
EPSILON = 1e-4
TILE = 16
"""The side of what `Graph.film_mean` sums at first; it divides the film's."""
FIELD = (0.05, 0.11)
"""Where the field of view begins and where it is whole, as shares of the film's side."""


class Graph:
    """A graph under construction; every method returns the name of the value it adds."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._outputs: list[onnx.ValueInfoProto] = []

    @classmethod
    def over(cls, model: ModelProto) -> Graph:
        """Go on building on a finished model; its outputs become plain values."""
        graph = cls()
        graph._nodes = list(model.graph.node)
        graph._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        return graph

    def op(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node with one output, which is called as the node."""
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, values: NDArray[Any] | Sequence[float] | float) -> str:
        """Add an initialiser: float32, or int64 where the values are integers."""
        array = np.asarray(values)
        wanted = np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32
        self._initializers[name] = numpy_helper.from_array(array.astype(wanted), name)
        return name

    def weight(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a weight that is stored as float16 and computed in float32."""
        half = numpy_helper.from_array(np.asarray(values, np.float16), f"{name}.half")
        self._initializers[half.name] = half
        return self.op("Cast", half.name, name=name, to=TensorProto.FLOAT)

    def spatial_mean(self, value: str, *, name: str) -> str:
        """Add the mean over rows and columns of (N, C, H, W), as (N, C, 1, 1).

        Not ReduceMean: its order of summation follows the alignment of the row in memory, so the
        last bit of a score would depend on the image's place in the batch.
        """
        return self.op("GlobalAveragePool", value, name=name)

    def film_mean(self, value: str, *, name: str) -> str:
        """Add the mean over a whole film (N, C, 224, 224), as (N, C, 1, 1), in two steps.

        ONNX Runtime sums into one float32: over 50,176 pixels at once the standardised film was
        wrong by 1e-4, and scores differed from PyTorch's by as much.
        """
        tiles = self.op(
            "AveragePool", value, name=f"{name}.tiles", kernel_shape=[TILE] * 2, strides=[TILE] * 2
        )
        return self.spatial_mean(tiles, name=name)

    def pooled(self, value: str, *, name: str) -> str:
        """Add the mean over rows and columns of (N, C, H, W), as (N, C)."""
        return self.op("Flatten", self.spatial_mean(value, name=f"{name}.map"), name=name)

    def output(self, name: str, shape: Sequence[int]) -> None:
        """Declare a value as output, float32 (N, *shape)."""
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        self._outputs.append(value)

    def model(self) -> ModelProto:
        """The finished model, checked by onnx."""
        pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])
        graph = helper.make_graph(
            self._nodes, "screener", [pixels], self._outputs, list(self._initializers.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="screener",
            producer_version=__version__,
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def add_standardisation(graph: Graph, pixels: str = "pixels") -> str:
    """Each image to mean 0 and deviation 1, all of it seen."""
    mean = graph.spatial_mean(pixels, name="pixels.mean")
    centred = graph.op("Sub", pixels, mean, name="pixels.centred")
    square = graph.op("Mul", centred, centred, name="pixels.square")
    variance = graph.spatial_mean(square, name="pixels.variance")
    positive = graph.op("Add", variance, graph.constant("epsilon", EPSILON), name="pixels.positive")
    deviation = graph.op("Sqrt", positive, name="pixels.deviation")
    return graph.op("Div", centred, deviation, name="standardised")


def field_of_view(side: int) -> NDArray[np.float32]:
    """How much of each row, or column, the network sees: float32 (side,), 0 at the edges, then 1.

    A film's edge tells where it comes from; lungs seldom reach it.
    """
    at = (np.arange(side) + 0.5) / side
    distance = np.minimum(at, 1 - at)
    return np.clip((distance - FIELD[0]) / (FIELD[1] - FIELD[0]), 0, 1).astype(np.float32)


def add_view(graph: Graph, pixels: str = "pixels") -> str:
    """As `export.network.standardise` does: within the field of view mean 0 and deviation 1."""
    rows = field_of_view(SIZE)
    seen = rows[:, None] * rows
    field = graph.constant("field", seen[None, None])
    # The mean over the field is the mean of the product, divided by the field's own mean.
    share = graph.constant("field.share", float(seen.mean(dtype=np.float64)))
    inside = graph.op("Mul", pixels, field, name="pixels.seen")
    part = graph.film_mean(inside, name="pixels.part")
    mean = graph.op("Div", part, share, name="pixels.mean")
    centred = graph.op("Sub", pixels, mean, name="pixels.centred")
    square = graph.op("Mul", centred, centred, name="pixels.square")
    seen_square = graph.op("Mul", square, field, name="pixels.square.seen")
    spread = graph.film_mean(seen_square, name="pixels.spread")
    variance = graph.op("Div", spread, share, name="pixels.variance")
    positive = graph.op("Add", variance, graph.constant("epsilon", EPSILON), name="pixels.positive")
    deviation = graph.op("Sqrt", positive, name="pixels.deviation")
    scaled = graph.op("Div", centred, deviation, name="pixels.scaled")
    return graph.op("Mul", scaled, field, name="standardised")


def add_head(
    graph: Graph,
    features: str,
    weight: NDArray[np.float32],
    calibration: Sequence[Calibration],
) -> None:
    """Add and declare `cam`, `logit` and `score`.

    Args:
        graph: The graph so far.
        features: The value after the last block, float32 (N, C, 7, 7).
        weight: float32 (K, C), already rounded to what float16 holds.
        calibration: a, b and c of each of the K findings.
    """
    k = len(calibration)
    cam_weight = graph.weight("head.weight", weight[:, :, None, None])
    graph.op("Conv", features, cam_weight, name="cam", kernel_shape=[1, 1])
    mean = graph.pooled("cam", name="cam.mean")
    b = graph.constant("head.b", [float(finding.b) for finding in calibration])
    graph.op("Add", mean, b, name="logit")
    a = graph.constant("calibration.a", [float(finding.a) for finding in calibration])
    c = graph.constant("calibration.c", [float(finding.c) for finding in calibration])
    scaled = graph.op("Mul", "logit", a, name="logit.scaled")
    shifted = graph.op("Add", scaled, c, name="logit.calibrated")
    graph.op("Sigmoid", shifted, name="score")
    graph.output("cam", [k, 7, 7])
    graph.output("logit", [k])
    graph.output("score", [k])
