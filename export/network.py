"""The network: ResNet50 (He 2016) with one input channel and a single linear head.

A single linear head over the mean makes the class activation map exact (Zhou 2016):
mean(cam) + b is the logit, and the map costs one 1 x 1 convolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50

from screener.errors import UsageError


class Network(nn.Module):
    """Pixels float32 (N, 1, H, W) in [0, 1] -> logits (N, K). Standardises each image itself."""

    def __init__(self, findings: int) -> None:
        super().__init__()
        backbone = resnet50(weights=None)
        backbone.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        backbone.fc = nn.Linear(2048, findings)
        self.backbone = backbone

    def features(self, pixels: Tensor) -> list[Tensor]:
        """The activations after each of the four stages; the last is (N, 2048, H/32, W/32)."""
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(standardise(pixels)))))
        outputs = []
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
            outputs.append(x)
        return outputs

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, K): the head over the mean of the last stage."""
        last = self.features(pixels)[-1]
        logits: Tensor = self.backbone.fc(last.mean((2, 3)))
        return logits


def standardise(pixels: Tensor) -> Tensor:
    """Each image to mean 0, deviation 1: brightness and contrast carry no label."""
    mean = pixels.mean((1, 2, 3), keepdim=True)
    centred = pixels - mean
    return centred / (centred.square().mean((1, 2, 3), keepdim=True) + 1e-4).sqrt()


def load_initial_weights(network: Network, source: str) -> None:
    """Load `scratch` (nothing), `imagenet` (torchvision's) or a file's weights.

    A three-channel first layer is summed over its channels, which is exact for grey input. A head
    of another size stays as it was initialised.

    Raises:
        UsageError: the file does not hold weights of a ResNet50.
    """
    if source == "scratch":
        return
    if source == "imagenet":
        state: dict[str, Any] = ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False)
    else:
        state = read_state(Path(source))
    state = {key.removeprefix("backbone."): value for key, value in state.items()}
    own = network.backbone.state_dict()
    first = state.get("conv1.weight")
    if first is None:
        raise UsageError(f"{source!r} holds no ResNet50 weights", mend="name a ResNet50 state dict")
    if first.shape[1] == 3:
        state["conv1.weight"] = first.sum(1, keepdim=True)
    if state["fc.weight"].shape != own["fc.weight"].shape:
        state["fc.weight"], state["fc.bias"] = own["fc.weight"], own["fc.bias"]
    try:
        network.backbone.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(
            f"{source!r} does not fit a ResNet50", str(error).splitlines()[0]
        ) from error


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint or a bare state dict; never unpickles code (`weights_only=True`).

    Raises:
        UsageError: the file is missing, broken, or holds more than tensors and plain values.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(f"no such checkpoint: {str(path)!r}") from error
    except Exception as error:
        # torch raises many unrelated types for a broken or unsafe file.
        raise UsageError(
            f"{str(path)!r} is not a readable checkpoint",
            type(error).__name__,
            "give a checkpoint that `screener train` or torch.save(state_dict) wrote",
        ) from error
    state: dict[str, Any] = loaded.get("weights", loaded) if isinstance(loaded, dict) else {}
    return state
