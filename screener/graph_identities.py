"""What a bundle's graph must be made of for its identities to hold on every image, not on a few.

The map is one 1 x 1 convolution of the last block's activations, the logit comes from the map and
the score from the logit alone, novelty sees the image, and nothing after the last block is
quantised. `screener.verify` adds what can be seen by running it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx import GraphProto, NodeProto, TensorProto

FLOAT, HALF = 1, 10
QUANTISED = frozenset({"QuantizeLinear", "DequantizeLinear"})


def find_faults(graph: GraphProto) -> list[str]:
    """What of it does not hold, in words; empty where all does.

    Args:
        graph: Of a bundle that `load_bundle` has let in, with its four outputs.
    """
    made_by = {output: node for node in graph.node for output in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    cam = made_by.get("cam")
    if cam is None or cam.op_type != "Conv" or len(cam.input) != 2:
        return ["cam is not one convolution without bias"]
    faults = []
    weight = _weight(cam.input[1], made_by, tensors)
    if weight is None:
        faults.append("the weights of cam are not float16 or float32")
    elif list(weight.dims[2:]) != [1, 1]:
        faults.append("the convolution of cam is not 1 x 1")
    if _attribute(cam, "group", 1) != 1:
        faults.append("the convolution of cam is divided into groups")
    for value, source in (("logit", "cam"), ("score", "logit")):
        reached = _sources(value, made_by, stop={source})
        if source not in reached or "pixels" in reached:
            faults.append(f"{value} does not come from {source} alone")
    if "pixels" not in _sources("novelty", made_by, stop=set()):
        faults.append("novelty does not see the image")
    late = sorted({node.op_type for node in _after(cam.input[0], graph.node)} & QUANTISED)
    if late:
        faults.append(f"{' and '.join(late)} after the last block")
    return faults


def _weight(
    name: str, made_by: dict[str, NodeProto], tensors: dict[str, TensorProto]
) -> TensorProto | None:
    """The stored weight behind a name: itself, or what a cast widens."""
    node = made_by.get(name)
    if node is not None and node.op_type == "Cast":
        name = node.input[0]
    tensor = tensors.get(name)
    return tensor if tensor is not None and tensor.data_type in {FLOAT, HALF} else None


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)


def _sources(value: str, made_by: dict[str, NodeProto], stop: set[str]) -> set[str]:
    """Every value that another is made from, not looking behind those in `stop`."""
    seen: set[str] = set()
    waiting = [value]
    while waiting:
        name = waiting.pop()
        if name in stop or name not in made_by:
            continue
        fresh = set(made_by[name].input) - seen
        seen |= fresh
        waiting += fresh
    return seen


def _after(value: str, nodes: Iterable[NodeProto]) -> list[NodeProto]:
    """The nodes that a value flows into, in the graph's order, which is that of computation."""
    reached, found = {value}, []
    for node in nodes:
        if reached & set(node.input):
            found.append(node)
            reached |= set(node.output)
    return found
