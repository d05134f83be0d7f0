"""Float bundle -> int8 bundle: static quantisation, everything after the backbone fitted anew.

QDQ with int8 weights a channel and uint8 activations, calibrated on real radiographs. Only the
backbone is quantised: head, CAM, calibration and novelty are built on it in float32 by the same
function as the float bundle's, on what the quantised backbone itself gives. Needs no torch.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference
from onnx.utils import Extractor
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from export.bundling import (
    TAPS,
    Films,
    Head,
    Origin,
    make_bundle,
    read_films,
    run_model,
    write_bundle,
)
from export.calibration import TARGET_SENSITIVITY
from export.dataset import manifest_sha256, read_labels, split_images
from export.metrics import auc_delong
from export.output import check_file
from screener.bundle import load_bundle
from screener.errors import RunError, UsageError
from screener.model_card import Acceptance, ModelCard
from screener.verify import LARGEST, LARGEST_AUC_FALL, LARGEST_CHANGE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

CALIBRATION_FILMS = 256


def quantize(model: Path, data: Path, out: Path, *, negatives: Path | None = None) -> Path:
    """Write the int8 bundle of a float bundle.

    Args:
        model: A float bundle of `screener export`.
        data: What it was trained on; the splits are drawn again by the card's seed.
        out: The ONNX file to write.
        negatives: As for the float bundle.

    Returns:
        The file written.

    Raises:
        UsageError: the model is not a float bundle of a ResNet50, or the data is not its own.
        RunError: it differs from the float bundle by more than is accepted; nothing is written.
    """
    check_file(out)
    bundle = load_bundle(model)
    card = bundle.card
    if card.precision != "float":
        raise UsageError(f"{str(model)!r} is {card.precision} already", mend="give the float model")
    if card.site is not None:
        raise UsageError(
            f"{str(model)!r} has a site's own operating point",
            "it was fitted to the float model's scores, and int8 gives others",
            "give the model from before `screener calibrate`, then calibrate what comes out",
        )
    images = read_labels(data)
    if manifest_sha256(images) != card.training_data.manifest_sha256:
        raise UsageError(
            f"{str(data)!r} is not the data that the model was trained on",
            mend="give the data of the run",
        )
    films = read_films(split_images(images, card.training_data.seed), negatives)
    whole = onnx.load_model_from_string(bundle.content)
    backbone = quantize_backbone(extract_backbone(whole), films.statistics)
    target = card.operating_points[0].target_sensitivity or TARGET_SENSITIVITY
    origin = Origin(
        f"{card.name}-int8",
        card.findings[0],
        card.training_data,
        card.age_range_years,
        target,
        card.limits,
    )
    small, small_card = make_bundle(backbone, head_of(whole), films, origin, "int8")
    acceptance = accept(whole, card, small, small_card, films, bundle.sha256)
    finished = dataclasses.replace(small_card, acceptance=acceptance, parity=card.parity)
    return write_bundle(small, finished, out, LARGEST["int8"])


def extract_backbone(model: ModelProto) -> ModelProto:
    """The float graph from `pixels` to the stages, its weights plain float32.

    Raises:
        UsageError: the model has no such stages.
    """
    produced = {output for node in model.graph.node for output in node.output}
    if not set(TAPS.values()) <= produced:
        raise UsageError("the model is not a ResNet50 of `screener export`")
    # The extractor takes only values whose shapes are stated.
    stated = shape_inference.infer_shapes(model)
    part: ModelProto = Extractor(stated).extract_model(["pixels"], list(TAPS.values()))
    _unpack_halves(part)
    return part


def _unpack_halves(model: ModelProto) -> None:
    """Turn float16 weights and their casts into float32 weights, as the quantiser wants them."""
    graph = model.graph
    halves = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == 10}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in halves]
    for node in casts:
        values = numpy_helper.to_array(halves[node.input[0]]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
    for tensor in halves.values():
        graph.initializer.remove(tensor)


def head_of(model: ModelProto) -> Head:
    """The linear head of a float bundle."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    weight = numpy_helper.to_array(values["head.weight.half"]).astype(np.float32)
    return Head(weight[:, :, 0, 0], numpy_helper.to_array(values["head.b"]))


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds films to the quantiser, a few at a time."""

    def __init__(self, films: NDArray[np.uint8]) -> None:
        self._batches = iter(np.array_split(films, max(1, len(films) // 8)))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"pixels": (batch[:, None] / 255).astype(np.float32)}


def quantize_backbone(backbone: ModelProto, films: NDArray[np.uint8]) -> ModelProto:
    """Quantise every convolution, addition and pooling of a float backbone.

    Args:
        backbone: From `pixels` to the stages.
        films: uint8 (n, 224, 224), real radiographs that set the range of each activation.
    """
    chosen = films[:: max(1, len(films) // CALIBRATION_FILMS)][:CALIBRATION_FILMS]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save_model(onnx.shape_inference.infer_shapes(backbone), source)
        options: dict[str, Any] = {"ActivationSymmetric": False, "WeightSymmetric": True}
        # The quantiser advises a preprocessing that this graph has had: norms folded, shapes known.
        logging.disable(logging.WARNING)
        try:
            quantize_static(
                source,
                target,
                _Reader(chosen),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                op_types_to_quantize=["Conv", "Add", "MaxPool", "Relu"],
                nodes_to_exclude=["pixels.positive"],
                extra_options=options,
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load_model(target)


def accept(
    large: ModelProto,
    large_card: ModelCard,
    small: ModelProto,
    small_card: ModelCard,
    films: Films,
    float_sha256: str,
) -> Acceptance:
    """Compare the decisions of two bundles on the calibration split.

    Raises:
        RunError: AUC falls by more than 0.001, or more than 0.5 % of the decisions change.
    """
    positive = np.array([image.positive for image in films.calibration_images])
    areas, flags = [], []
    for model, card in ((large, large_card), (small, small_card)):
        outputs = run_model(model, ["score", "logit", "novelty"], films.calibration)
        area = auc_delong(outputs["logit"][:, 0].astype(np.float64), positive)
        if area is None:
            raise UsageError("the calibration split lacks a class")
        areas.append(round(area.value, 5))
        threshold = card.operating_point("default", card.findings[0]).threshold
        score = np.round(outputs["score"][:, 0].astype(np.float64), 4)
        flags.append((score >= threshold) & (outputs["novelty"] <= 1))
    changed = round(float((flags[0] != flags[1]).mean()), 5)
    if areas[0] - areas[1] > LARGEST_AUC_FALL or changed > LARGEST_CHANGE:
        raise RunError(
            "the int8 model is not accepted; nothing was written",
            f"AUC {areas[0]} became {areas[1]}, {changed:.2%} of decisions changed",
            "calibrate on more films, or keep the float model",
        )
    return Acceptance(float_sha256, len(positive), areas[0], areas[1], changed)
