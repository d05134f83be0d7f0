"""A trained ResNet50 as an ONNX graph: batch norm folded, weights rounded to half precision.

What is measured, calibrated and shipped is the rounded network; `round_network` makes the same one
in PyTorch, so that the two can be compared.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from export.bundling import LAST_BLOCK, Head
from export.graph import Graph, add_view
from screener.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto
    from torchvision.models.resnet import Bottleneck

    from export.network import Network

STAGES = ("layer1", "layer2", "layer3", "layer4")
CHANNELS = {"layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048}
SIDES = {"layer1": 56, "layer2": 28, "layer3": 14, "layer4": 7}


def round_network(network: Network) -> Network:
    """A copy with batch norm folded into the convolutions and weights that float16 can hold.

    Biases stay float32: they are few.

    Raises:
        UsageError: a weight is too large for float16 or not finite.
    """
    rounded = copy.deepcopy(network).eval().float()
    _fold(rounded.backbone, "conv1", "bn1")
    for _, block in _blocks(rounded):
        for number in "123":
            _fold(block, f"conv{number}", f"bn{number}")
        if block.downsample is not None:
            _fold(block.downsample, "0", "1")
    with torch.no_grad():
        for name, parameter in rounded.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())
            if not bool(parameter.isfinite().all()):
                raise UsageError(
                    f"the weights {name!r} do not fit half precision",
                    "a weight beyond 65504 is a run that diverged",
                    "train again",
                )
    return rounded


def _fold(owner: nn.Module, conv: str, norm: str) -> None:
    fused = fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm))
    setattr(owner, conv, fused)
    setattr(owner, norm, nn.Identity())


def _blocks(network: Network) -> Iterator[tuple[str, Bottleneck]]:
    for stage in STAGES:
        for number, block in enumerate(getattr(network.backbone, stage)):
            yield f"{stage}.{number}", block


def head_of(rounded: Network) -> Head:
    """The head of a rounded network."""
    head = rounded.backbone.fc
    return Head(head.weight.detach().numpy().copy(), head.bias.detach().numpy().copy())


def build_backbone(rounded: Network) -> ModelProto:
    """The graph from `pixels` to the activations after each stage (`TAPS`).

    Args:
        rounded: As `round_network` gives it.
    """
    graph = Graph()
    x = _convolve(graph, add_view(graph), "conv1", rounded.backbone.conv1)
    x = graph.op("Relu", x, name="conv1.relu")
    x = graph.op(
        "MaxPool", x, name="maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    for name, block in _blocks(rounded):
        x = _add_block(graph, x, name, block)
        stage, number = name.split(".")
        if int(number) == LAST_BLOCK[stage]:
            graph.output(x, [CHANNELS[stage], SIDES[stage], SIDES[stage]])
    return graph.model()


def _add_block(graph: Graph, x: str, name: str, block: Bottleneck) -> str:
    """A bottleneck (He 2016)."""
    shortcut = x
    if block.downsample is not None:
        shortcut = _convolve(graph, x, f"{name}.downsample", block.downsample[0])
    x = _convolve(graph, x, f"{name}.conv1", block.conv1)
    x = graph.op("Relu", x, name=f"{name}.relu1")
    x = _convolve(graph, x, f"{name}.conv2", block.conv2)
    x = graph.op("Relu", x, name=f"{name}.relu2")
    x = _convolve(graph, x, f"{name}.conv3", block.conv3)
    x = graph.op("Add", x, shortcut, name=f"{name}.add")
    return graph.op("Relu", x, name=f"{name}.out")


def _convolve(graph: Graph, x: str, name: str, conv: nn.Conv2d) -> str:
    weight = graph.weight(f"{name}.weight", conv.weight.detach().numpy())
    inputs = [x, weight]
    if conv.bias is not None:
        inputs.append(graph.constant(f"{name}.bias", conv.bias.detach().numpy()))
    (rows, columns), (top, left) = conv.kernel_size, (int(pad) for pad in conv.padding)
    return graph.op(
        "Conv",
        *inputs,
        name=name,
        kernel_shape=[rows, columns],
        strides=list(conv.stride),
        pads=[top, left, top, left],
    )
