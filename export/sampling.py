"""Which images a training step sees, as a function of the seed and the step alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch import Tensor


def training_pool(positive: Tensor, *, upsample: bool) -> Tensor:
    """The indices that an epoch shuffles: each image once, or the rare class repeated to match."""
    if not upsample:
        return torch.arange(len(positive))
    classes = sorted((torch.nonzero(positive == c)[:, 0] for c in (True, False)), key=len)
    rare, common = classes
    return torch.cat([common, rare.repeat(-(-len(common) // len(rare)))[: len(common)]])


def shrink(images: Tensor, size: int) -> Tensor:
    """Shrink once to a little above the stage's size; the random affine does the rest."""
    side = min(images.shape[-1], int(size * 1.25))
    if side == images.shape[-1]:
        return images
    chunks = [
        F.interpolate(chunk[:, None].float(), (side, side), mode="area")[:, 0].round().byte()
        for chunk in images.split(512)  # type: ignore[no-untyped-call]
    ]
    return torch.cat(chunks)


def step_order(images: int, at: int, count: int, seed: int) -> Tensor:
    """The indices of step `at`: a stream of whole shuffles, found without replaying the past."""
    wanted = torch.arange(at * count, (at + 1) * count)
    epochs = (wanted // images).tolist()
    shuffles = {
        epoch: torch.randperm(images, generator=torch.Generator().manual_seed(seed * 1009 + epoch))
        for epoch in set(epochs)
    }
    pairs = zip(epochs, (wanted % images).tolist(), strict=True)
    return torch.stack([shuffles[epoch][index] for epoch, index in pairs])
