"""Graphs whose outputs look right on some images and are not what the contract says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import GraphProto, NodeProto, helper, numpy_helper

from export.tiny import make_tiny
from screener.bundle import load_bundle
from screener.graph_identities import find_faults
from screener.model_card import Acceptance
from screener.verify import verify_bundle
from tests.films import TINY


def node(graph: GraphProto, name: str) -> NodeProto:
    return next(each for each in graph.node if each.output[0] == name)


def insert_before(graph: GraphProto, name: str, *nodes: NodeProto) -> None:
    at = [each.output[0] for each in graph.node].index(name)
    for number, new in enumerate(nodes):
        graph.node.insert(at + number, new)


def with_bias(graph: GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "bias"))
    node(graph, "cam").input.append("bias")


def wide_map(graph: GraphProto) -> None:
    weight = next(each for each in graph.initializer if each.name == "head.weight.half")
    values = numpy_helper.to_array(weight)
    wide = numpy_helper.from_array(np.repeat(np.repeat(values, 3, 2), 3, 3), weight.name)
    weight.CopyFrom(wide)


def other_map(graph: GraphProto) -> None:
    """The map is scaled after the convolution."""
    node(graph, "cam").output[0] = "cam.raw"
    insert_before(graph, "cam.mean.map", helper.make_node("Mul", ["cam.raw", "head.b"], ["cam"]))


def logit_from_pixels(graph: GraphProto) -> None:
    """The logit of a model that looks past its map: pooled pixels are added."""
    node(graph, "logit").output[0] = "logit.honest"
    insert_before(
        graph,
        "logit.scaled",
        helper.make_node("GlobalAveragePool", ["pixels"], ["pixels.pooled"]),
        helper.make_node("Flatten", ["pixels.pooled"], ["pixels.flat"]),
        helper.make_node("Add", ["logit.honest", "pixels.flat"], ["logit"]),
    )


def score_from_map(graph: GraphProto) -> None:
    node(graph, "logit.scaled").input[0] = "cam.mean"


def blind_novelty(graph: GraphProto) -> None:
    chest = node(graph, "chest.distance")
    for at, name in enumerate(chest.input):
        if name == "correlation":
            chest.input[at] = "one"


def quantised_head(graph: GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "scale"))
    graph.initializer.append(numpy_helper.from_array(np.uint8(0), "zero"))
    node(graph, "logit.scaled").input[0] = "logit.coarse"
    insert_before(
        graph,
        "logit.scaled",
        helper.make_node("QuantizeLinear", ["logit", "scale", "zero"], ["logit.q"]),
        helper.make_node("DequantizeLinear", ["logit.q", "scale", "zero"], ["logit.coarse"]),
    )


FAULTS: list[tuple[Callable[[GraphProto], None], str]] = [
    (with_bias, "not one convolution without bias"),
    (wide_map, "not 1 x 1"),
    (other_map, "not one convolution"),
    (logit_from_pixels, "logit does not come from cam alone"),
    (score_from_map, "score does not come from logit alone"),
    (blind_novelty, "novelty does not see the image"),
    (quantised_head, "QuantizeLinear after the last block"),
]


@pytest.mark.parametrize(("spoil", "words"), FAULTS, ids=[f.__name__ for f, _ in FAULTS])
def test_faults(spoil: Callable[[GraphProto], None], words: str) -> None:
    model = onnx.load_model_from_string(make_tiny())
    assert find_faults(model.graph) == []
    spoil(model.graph)
    assert words in "; ".join(find_faults(model.graph))


def test_verify_reads_what_the_makers_compared() -> None:
    bundle = load_bundle(TINY)

    def failed(**changes: object) -> list[str]:
        card = dataclasses.replace(bundle.card, **changes)
        return [c.name for c in verify_bundle(dataclasses.replace(bundle, card=card)) if not c.ok]

    assert failed() == []
    assert failed(parity=2e-4) == ["parity with PyTorch, as stated"]
    good = Acceptance("0" * 64, 900, 0.99, 0.989, 0.005)
    assert failed(precision="int8", acceptance=good) == []
    named = ["int8 against float, as stated"]
    assert failed(precision="int8") == named
    assert failed(precision="int8", acceptance=dataclasses.replace(good, auc_int8=0.9889)) == named
    worse = dataclasses.replace(good, decisions_changed=0.006)
    assert failed(precision="int8", acceptance=worse) == named
