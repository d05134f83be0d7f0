"""The network: ResNet50 (He 2016) with one input channel and a single linear head.

A single linear head over the mean makes the class activation map exact (Zhou 2016):
mean(cam) + b is the logit, and the map costs one 1 x 1 convolution.

The network looks through a field of view that fades out towards the edges of the film, where
collimation, letters and the table tell the source: what lies there never reaches a convolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50

from export.graph import EPSILON, field_of_view
from screener.errors import UsageError

MIXED_STAGES = (0, 1)
BETA = 0.1


class Network(nn.Module):
    """Pixels float32 (N, 1, H, W) in [0, 1] -> logits (N, K). Standardises each image itself.

    `mix_style`: the share of a training batch whose features take another film's style.
    """

    def __init__(self, findings: int, mix_style: float = 0.0) -> None:
        super().__init__()
        self.mix_style = mix_style
        backbone = resnet50(weights=None)
        backbone.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        backbone.fc = nn.Linear(2048, findings)
        self.backbone = backbone

    def features(self, pixels: Tensor) -> list[Tensor]:
        """The activations after each of the four stages; the last is (N, 2048, H/32, W/32)."""
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(standardise(pixels)))))
        outputs = []
        for number, stage in enumerate((net.layer1, net.layer2, net.layer3, net.layer4)):
            x = stage(x)
            if self.training and self.mix_style and number in MIXED_STAGES:
                x = mix_styles(x, self.mix_style)
            outputs.append(x)
        return outputs

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, K): the head over the mean of the last stage."""
        last = self.features(pixels)[-1]
        logits: Tensor = self.backbone.fc(last.mean((2, 3)))
        return logits


def standardise(pixels: Tensor) -> Tensor:
    """Each image to mean 0, deviation 1 within the field of view, and 0 outside of it.

    Brightness and contrast carry no label, and what lies at the edge decides neither.
    """
    rows = torch.from_numpy(field_of_view(pixels.shape[-1])).to(pixels)
    seen = rows[:, None] * rows
    share = seen.mean()
    centred = pixels - (pixels * seen).mean((1, 2, 3), keepdim=True) / share
    variance = (centred.square() * seen).mean((1, 2, 3), keepdim=True) / share
    return centred / (variance + EPSILON).sqrt() * seen


def mix_styles(x: Tensor, share: float) -> Tensor:
    """Mix mean and deviation of each channel with another film's (MixStyle, arXiv 2104.02008).

    Args:
        x: Features (N, C, H, W).
        share: Of the films that are changed; their labels stay.
    """
    n = len(x)
    weight = torch.distributions.Beta(BETA, BETA).sample((n,))
    weight = torch.where(torch.rand(n) < share, weight, 1.0).view(-1, 1, 1, 1)
    weight, order = weight.to(x.device, x.dtype), torch.randperm(n).to(x.device)
    mean = x.mean((2, 3), keepdim=True).detach()
    deviation = (x.var((2, 3), keepdim=True) + 1e-6).sqrt().detach()
    mixed_mean = weight * mean + (1 - weight) * mean[order]
    mixed_deviation = weight * deviation + (1 - weight) * deviation[order]
    return (x - mean) / deviation * mixed_deviation + mixed_mean


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
