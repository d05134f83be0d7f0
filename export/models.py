"""One face for what is measured: an ONNX bundle (no torch) or a checkpoint of `screener train`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from screener.bundle import load_bundle
from screener.classifier import Classifier, Outputs
from screener.classifier_providers import Device
from screener.domain import OperatingPoint
from screener.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.dataset import LabelledImage
    from screener.model_card import ModelCard

CHECKPOINT_BATCH = 32


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What measuring needs to know of a model.

    A checkpoint has neither novelty nor calibration yet: `novelty_limit` and `card` are None, its
    operating point is 0.5. `data_sha256` and `seed` say which data the model was trained on and how
    that was split.
    """

    name: str
    kind: Literal["onnx", "checkpoint"]
    sha256: str
    provider: str
    findings: tuple[str, ...]
    data_sha256: str
    seed: int
    age_range: tuple[float, float] | None = None
    novelty_limit: float | None = None
    operating_points: tuple[OperatingPoint, ...] = ()
    study_operating_points: tuple[OperatingPoint, ...] = ()
    card: ModelCard | None = None


class Model(Protocol):
    """Pixels float32 (n, 224, 224) in [0, 1] -> outputs as the contract's bundle has them."""

    facts: ModelFacts

    def run(self, pixels: NDArray[np.float32]) -> Outputs:
        """Run any number of images."""


def open_model(path: Path | None, device: Device = "auto") -> Model:
    """Open a model by its content; `None` is the one that comes with the package.

    Raises:
        UsageError: no such file, or neither a valid bundle nor a checkpoint.
    """
    if path is not None and os.path.isfile(path) and _is_zip(path):
        return CheckpointModel(path, device)
    return BundleModel(path, device)


def _is_zip(path: Path) -> bool:
    # torch writes zip archives; ONNX is a protocol buffer.
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"


class BundleModel:
    """An ONNX bundle, run by the program's own classifier."""

    def __init__(self, path: Path | None, device: Device) -> None:
        self.bundle = load_bundle(path)
        self._classifier = Classifier(self.bundle, device)
        card = self.bundle.card
        self.facts = ModelFacts(
            name=card.name,
            kind="onnx",
            sha256=self.bundle.sha256,
            provider=self._classifier.provider,
            findings=card.findings,
            data_sha256=card.training_data.manifest_sha256,
            seed=card.training_data.seed,
            age_range=card.age_range_years,
            novelty_limit=card.novelty.limit,
            operating_points=card.operating_points,
            study_operating_points=card.study_operating_points,
            card=card,
        )

    def run(self, pixels: NDArray[np.float32]) -> Outputs:
        """Run any number of images."""
        return self._classifier.run(pixels)


class CheckpointModel:
    """A checkpoint in PyTorch, float32: its score is not calibrated, its novelty always 0."""

    def __init__(self, path: Path, device: Device) -> None:
        try:
            import torch

            from export.prediction import load_network
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{path.name!r} is a checkpoint, and torch is not installed",
                "a bundle needs none",
                "pip install '.[train]' in the program's clone, or give an exported model",
            ) from error
        use_gpu = device != "cpu" and torch.cuda.is_available()
        self._device = torch.device("cuda" if use_gpu else "cpu")
        network, facts = load_network(path)
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        finding = str(facts["finding"])
        point = OperatingPoint("default", finding, 0.5, data="none: not calibrated yet")
        self.facts = ModelFacts(
            name=f"{path.parent.name}/{path.name}",
            kind="checkpoint",
            sha256=sha256,
            provider=f"torch {self._device.type}",
            findings=(finding,),
            data_sha256=str(facts["data_sha256"]),
            seed=int(facts["recipe"]["seed"]),
            operating_points=(point,),
            study_operating_points=(point,),
        )

    def run(self, pixels: NDArray[np.float32]) -> Outputs:
        """Run any number of images."""
        import torch

        head = self._network.backbone.fc
        cams = [np.zeros((0, len(self.facts.findings), 7, 7), np.float32)]
        with torch.inference_mode():
            for begin in range(0, len(pixels), CHECKPOINT_BATCH):
                chunk = torch.from_numpy(pixels[begin : begin + CHECKPOINT_BATCH])
                batch = chunk[:, None].to(self._device, memory_format=torch.channels_last)
                last = self._network.features(batch)[-1]
                cam = torch.einsum("kc,nchw->nkhw", head.weight, last)
                cams.append(cam.float().cpu().numpy())
        cam_all = np.concatenate(cams)
        logit = cam_all.mean((2, 3)) + head.bias.detach().cpu().numpy()
        score = 1 / (1 + np.exp(-logit))
        return Outputs(cam_all, logit, score, np.zeros(len(pixels), np.float32))


def finding_of(facts: ModelFacts, images: Sequence[LabelledImage]) -> int:
    """Which of the model's findings the positive label of the data is.

    Raises:
        UsageError: the model has several and none has the label's name.
    """
    label = next(image.label for image in images if image.positive)
    for index, finding in enumerate(facts.findings):
        if finding.casefold() == label.casefold():
            return index
    if len(facts.findings) == 1:
        return 0
    raise UsageError(
        f"the model knows no finding {label!r}",
        f"it knows {', '.join(facts.findings)}",
        "call the label as the model does",
    )
