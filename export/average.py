"""The exponential average of a network's weights: what validation judges and export takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def decay_at(longest: float, step: int, tail: int) -> float:
    """The part of the average that stays at a step.

    A short memory at first, or the random start would linger; then `longest`; in the tail of a
    stage a memory that grows by a step each step, so that all of the tail weighs alike in the end.

    Args:
        longest: The decay outside of a tail.
        step: Of the whole run, from 0.
        tail: Steps since the tail began; 0 outside.
    """
    decay = min(longest, (1 + step) / (10 + step))
    return 1 - 1 / (1 / (1 - decay) + tail)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average towards the network; what is counted, not averaged, is copied.

    Args:
        average: The same kind of network; changed in place.
        network: As the last step left it.
        decay: The part of the average that stays.
    """
    kept, new = list(average.state_dict().values()), list(network.state_dict().values())
    averaged = [tensor.dtype.is_floating_point for tensor in kept]
    # One call for all: on a GPU three hundred small ones would take as long as the step.
    torch._foreach_lerp_(
        [tensor for tensor, there in zip(kept, averaged, strict=True) if there],
        [tensor for tensor, there in zip(new, averaged, strict=True) if there],
        1 - decay,
    )
    for counted, count, there in zip(kept, new, averaged, strict=True):
        if not there:
            counted.copy_(count)


def in_halves(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network, its weights as `export` rounds them anyway: half the file."""
    return {
        key: value.half() if value.ndim > 1 else value
        for key, value in network.state_dict().items()
    }
