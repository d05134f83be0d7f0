"""Random numbers for whole batches, on the device of their generator, without a pause for it."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(n: int, low: float, high: float, g: torch.Generator) -> Tensor:
    """(n,) between `low` and `high`."""
    return torch.rand(n, generator=g, device=g.device) * (high - low) + low


def chance(n: int, share: float, g: torch.Generator) -> Tensor:
    """(n,) of 1.0 for about a `share` of the films, 0.0 for the rest."""
    return (torch.rand(n, generator=g, device=g.device) < share).float()


def partners(n: int, g: torch.Generator) -> Tensor:
    """(n,) another film of the batch for each film: a random shift in a circle."""
    shift = torch.randint(1, max(n, 2), (1,), generator=g, device=g.device)
    return (torch.arange(n, device=g.device) + shift) % n
