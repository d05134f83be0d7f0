"""The network that both peers run: a ResNet50 with one linear head, as torchvision has it."""

from __future__ import annotations

import torch
from torchvision.models import resnet50


def make_network() -> torch.nn.Module:
    """Random weights: speed does not depend on them."""
    network = resnet50(weights=None)
    network.fc = torch.nn.Linear(network.fc.in_features, 1)
    return network.eval()
