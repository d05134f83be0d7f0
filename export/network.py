"""The network: ResNet50 (He 2016) with one input channel and a single linear head.

A single linear head over the mean makes the class activation map exact (Zhou 2016):
mean(cam) + b is the logit, and the map costs one 1 x 1 convolution.

The network looks through a field of view that fades out towards the edges of the film, where
collimation, letters and the table tell the source: what lies there never reaches a convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import StochasticDepth

from export.graph import EPSILON, field_of_view

BLOCKS = [3, 4, 6, 3]
MIXED_STAGES = (0, 1)
BETA = 0.1


class Block(Bottleneck):  # type: ignore[misc]
    """A bottleneck whose residual branch is left out at random in training (Huang 2016)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drop = StochasticDepth(0.0, "row")

    def forward(self, x: Tensor) -> Tensor:
        """As torchvision's, but for the branch that may be left out."""
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.relu(self.bn2(self.conv2(branch)))
        branch = self.drop(self.bn3(self.conv3(branch)))
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(branch + shortcut)
        return out


class Network(nn.Module):
    """Pixels float32 (N, 1, H, W) in [0, 1] -> logits (N, K). Standardises each image itself.

    `mix_style`: the share of a training batch whose features take another film's style.
    `drop_path`: the chance that the last block's branch is left out for a film, less for each block
    before it, none for the first (arXiv 1603.09382).
    """

    def __init__(self, findings: int, mix_style: float = 0.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.mix_style = mix_style
        backbone = ResNet(Block, BLOCKS)
        blocks = [module for module in backbone.modules() if isinstance(module, Block)]
        for number, block in enumerate(blocks):
            block.drop.p = drop_path * number / (len(blocks) - 1)
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
