"""The model bundle: one ONNX file with its card, checked before anything is built from it.

The bytes that were hashed and checked are the bytes that are run. Only plain tensor operators are
let in: a loop can hang for ever, a subgraph hides more of the same, and external data would read
other files.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

from screener.accounts import may_see_file
from screener.errors import UsageError
from screener.model_card import CARD_KEY, INPUT, ModelCard, read_card, write_card
from screener.preprocess import PREPROCESSING, SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from onnx import GraphProto, ModelProto, ValueInfoProto

SHIPPED = {"float": "screener-covid.onnx", "int8": "screener-covid-int8.onnx"}
MAX_BYTES = 256 * 1024**2
MAX_NODES = 5000
CAM_SIZE = 7
ALLOWED_OPERATORS = frozenset(
    (  # noqa: SIM905 - a list of quoted words is a page long
        "Add AveragePool BatchNormalization Cast Clip Concat Constant Conv DequantizeLinear Div "
        "Exp Flatten Gemm GlobalAveragePool Identity MatMul Max MaxPool Mul Neg Pow QuantizeLinear "
        "ReduceMax ReduceMean ReduceSum ReduceSumSquare Relu Reshape Sigmoid Slice Sqrt Squeeze "
        "Sub Transpose Unsqueeze"
    ).split()
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked model. `content` are the file's bytes, `sha256` theirs, `name` the card's."""

    content: bytes
    sha256: str
    card: ModelCard
    name: str


def load_bundle(
    path: Path | None = None, *, precision: Literal["float", "int8"] = "float"
) -> Bundle:
    """Read and check a model.

    Args:
        path: None for the one that comes with the package.
        precision: Which of those that come with the package.

    Raises:
        UsageError: no such file, not ONNX, an operator or a shape that is not allowed, a card that
            is missing or not valid, or other preprocessing than this program's.
    """
    content = _read(path, precision)
    model = _parse(content, str(path) if path else SHIPPED[precision])
    _check_structure(model)
    card = _card_of(model)
    _check_outputs(model.graph, len(card.findings))
    if card.graph_sha256 != graph_sha256(model):
        raise UsageError(
            "the model's graph is not the one that its card was written for",
            f"the card names {card.graph_sha256[:12]}, the graph has {graph_sha256(model)[:12]}",
            "export the model again",
        )
    return Bundle(content, hashlib.sha256(content).hexdigest(), card, card.name)


def with_card(bundle: Bundle, card: ModelCard) -> bytes:
    """The same model as bytes, with another card: what `calibrate` writes."""
    model = _parse(bundle.content, bundle.name)
    set_card(model, card)
    return bytes(model.SerializeToString(deterministic=True))


def set_card(model: ModelProto, card: ModelCard) -> None:
    """Put the card into the model's metadata, in place of one that was there."""
    others = [entry for entry in model.metadata_props if entry.key != CARD_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=CARD_KEY, value=write_card(card))


def graph_sha256(model: ModelProto) -> str:
    """SHA-256 of the graph alone: what a threshold is fitted to, whatever the card says."""
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def shipped_file(precision: Literal["float", "int8"]) -> Traversable:
    """Where a bundle of the package lies, if it is there."""
    return files("screener") / "models" / SHIPPED[precision]


def _read(path: Path | None, precision: Literal["float", "int8"]) -> bytes:
    if path is None:
        shipped = shipped_file(precision)
        if not shipped.is_file():
            raise UsageError(
                "no model comes with this copy of the package",
                mend="name one with --model, or make it with `screener export`",
            )
        return shipped.read_bytes()
    try:
        is_file = may_see_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not is_file:
        raise UsageError(
            f"no such model: {str(path)!r}",
            "there is no file of that name; nothing was written",
            "name an ONNX file with --model",
        )
    try:
        with path.open("rb") as stream:
            # No more room is asked for than it takes: an account may have little.
            size = os.fstat(stream.fileno()).st_size
            content = stream.read(min(size, MAX_BYTES) + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"the model {str(path)!r} is larger than {MAX_BYTES // 1024**2} MB",
            mend="use a model that `screener export` wrote",
        )
    return content


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"the model {str(path)!r} cannot be read",
        f"{error.strerror or 'the disk failed'}; nothing was written",
        "check the permissions, or name another with --model",
    )


def _parse(content: bytes, name: str) -> ModelProto:
    # 0.2 s that `screener --help` must not wait for.
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise UsageError(
            f"the model {name!r} is not an ONNX file", mend="copy or export it again"
        ) from error
    if not model.graph.node:
        raise UsageError(f"the model {name!r} is empty", mend="copy or export it again")
    return model


def _check_structure(model: ModelProto) -> None:
    """Only plain operators, in one graph, with all data inside the file."""
    graph = model.graph
    foreign = {opset.domain for opset in model.opset_import} - {"", "ai.onnx"}
    foreign |= {node.domain for node in graph.node} - {"", "ai.onnx"}
    if foreign:
        _refuse(f"operators of the domain {ascii(min(foreign))[:60]}")
    if model.functions or model.training_info:
        _refuse("functions or training graphs")
    if len(graph.node) > MAX_NODES:
        _refuse(f"{len(graph.node)} nodes, more than {MAX_NODES}")
    for node in graph.node:
        if node.op_type not in ALLOWED_OPERATORS:
            _refuse(f"the operator {ascii(node.op_type)[:60]}")
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if any(attribute.HasField("g") or attribute.graphs for attribute in attributes):
        _refuse("a subgraph")
    sparse = any(a.HasField("sparse_tensor") or a.sparse_tensors for a in attributes)
    if sparse or graph.sparse_initializer:
        _refuse("sparse tensors")
    tensors = [tensor for a in attributes for tensor in (*a.tensors, a.t)]
    if any(t.external_data or t.data_location for t in (*tensors, *graph.initializer)):
        _refuse("data outside the file")


def _refuse(what: str) -> None:
    raise UsageError(
        f"the model holds {what}",
        "which this program does not run, because it could hang it or read other files",
        "use a model that `screener export` wrote",
    )


def _card_of(model: ModelProto) -> ModelCard:
    cards = [entry.value for entry in model.metadata_props if entry.key == CARD_KEY]
    if len(cards) != 1:
        raise UsageError(
            f"the model has {len(cards)} model cards, not one",
            mend="use a model that `screener export` wrote",
        )
    card = read_card(cards[0].encode())
    _check_same("preprocessing", card.preprocessing, PREPROCESSING)
    _check_same("input", card.input, INPUT)
    return card


def _check_same(name: str, stated: object, own: object) -> None:
    if stated != own:
        raise UsageError(
            f"the model was made for another {name} than this program's: {ascii(stated)[:300]}",
            f"this program's is {own}",
            "use a model and a program of one version, or export the model again",
        )


def _check_outputs(graph: GraphProto, findings: int) -> None:
    wanted_outputs = {
        "cam": (findings, CAM_SIZE, CAM_SIZE),
        "logit": (findings,),
        "score": (findings,),
        "novelty": (),
    }
    _check_values("input", graph.input, {"pixels": (1, SIZE, SIZE)})
    _check_values("output", graph.output, wanted_outputs)


def _check_values(
    role: str, values: Sequence[ValueInfoProto], wanted: dict[str, tuple[int, ...]]
) -> None:
    """Names, float32, a first dimension that is free, and the others as wanted."""
    names = [value.name for value in values]
    if names != list(wanted):
        raise UsageError(
            f"the model's {role}s are {_listed(names)}, not {_listed(wanted)}",
            mend="use a model that `screener export` wrote",
        )
    for value in values:
        tensor = value.type.tensor_type
        shape = tuple(dim.dim_value for dim in tensor.shape.dim)
        # 1 is FLOAT; a free dimension has a value of 0.
        if tensor.elem_type != 1 or shape != (0, *wanted[value.name]):
            raise UsageError(
                f"the model's {role} {value.name!r} is not float32 "
                f"{('N', *wanted[value.name])}".replace("'N'", "N"),
                f"its shape is {shape}",
                "use a model that `screener export` wrote",
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(ascii(name)[1:-1][:40] for name in list(names)[:8]) or "none"
