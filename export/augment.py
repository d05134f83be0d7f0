"""Random changes of training images: everything that must not carry the label.

In this kind of data borders, burned-in letters, contrast and sharpness give the source away
(DeGrave 2021, doi:10.1038/s42256-021-00338-7), so they are made random. No left-right flip: the
heart lies on one side. No image is blanked as the audit of `evaluate` blanks it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch import Tensor


def augment(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Change a batch at random.

    Args:
        images: float32 (N, 1, H, W) in [0, 1].
        size: the side of what is returned.
        generator: the only source of randomness.

    Returns:
        float32 (N, 1, size, size) in [0, 1].
    """
    x = _move(images, size, generator)
    x = _tone(x, generator)
    x = _sharpness(x, generator)
    x = _borders(x, generator)
    return _noise(x, generator)


def _uniform(n: int, low: float, high: float, g: torch.Generator) -> Tensor:
    return torch.empty(n).uniform_(low, high, generator=g)


def _move(images: Tensor, size: int, g: torch.Generator) -> Tensor:
    """Rotate by up to 12 degrees, scale, change the aspect, shift; outside is black or the edge."""
    n = len(images)
    angle = _uniform(n, -12, 12, g) * math.pi / 180
    zoom = _uniform(n, 0.72, 1.12, g)
    aspect = _uniform(n, -0.12, 0.12, g).exp()
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            torch.stack([cos * zoom * aspect, -sin * zoom, _uniform(n, -0.12, 0.12, g)], 1),
            torch.stack([sin * zoom, cos * zoom / aspect, _uniform(n, -0.12, 0.12, g)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    black = torch.rand(n, generator=g) < 0.5
    out = torch.empty(n, 1, size, size)
    for mode, chosen in (("zeros", black), ("border", ~black)):
        if chosen.any():
            out[chosen] = F.grid_sample(
                images[chosen], grid[chosen], padding_mode=mode, align_corners=False
            )
    return out


def _tone(x: Tensor, g: torch.Generator) -> Tensor:
    """Window and percentile jitter, gamma, and a sigmoid tone curve for a third of the films."""
    n = len(x)
    low, high = _uniform(n, -0.1, 0.15, g), _uniform(n, 0.85, 1.15, g)
    x = ((x - low.view(-1, 1, 1, 1)) / (high - low).view(-1, 1, 1, 1)).clamp(0, 1)
    gamma = _uniform(n, math.log(0.5), math.log(2.0), g).exp().view(-1, 1, 1, 1)
    x = x.clamp_min(1e-4) ** gamma
    steep = _uniform(n, 3, 9, g).view(-1, 1, 1, 1)
    centre = _uniform(n, 0.4, 0.6, g).view(-1, 1, 1, 1)
    curved = torch.sigmoid(steep * (x - centre))
    curve = (torch.rand(n, generator=g) < 0.33).view(-1, 1, 1, 1)
    return torch.where(curve, curved, x)


def _sharpness(x: Tensor, g: torch.Generator) -> Tensor:
    """Blend with a blurred copy: weights below 1 blur, above 1 sharpen; some lose resolution."""
    n, size = len(x), x.shape[-1]
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
    blurred = F.conv2d(padded, (kernel[:, None] * kernel)[None, None])
    amount = _uniform(n, -0.2, 2.0, g).view(-1, 1, 1, 1)
    x = blurred + amount * (x - blurred)
    coarse = torch.rand(n, generator=g) < 0.25
    if coarse.any():
        side = int(size * float(_uniform(1, 0.45, 0.9, g)))
        mode = ("area", "bilinear", "bicubic")[int(torch.randint(3, (1,), generator=g))]
        small = F.interpolate(x[coarse], size=(side, side), mode=mode)
        x[coarse] = F.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    return x


def _borders(x: Tensor, g: torch.Generator) -> Tensor:
    """Random collimation strips, corner letters and frames in a random grey."""
    n, size = len(x), x.shape[-1]
    rows = torch.arange(size).view(1, size, 1)
    columns = torch.arange(size).view(1, 1, size)
    framed = (torch.rand(n, generator=g) < 0.6).float()
    width = [(_uniform(n, 0, 0.11, g) * size * framed).view(-1, 1, 1) for _ in range(4)]
    frame = (rows < width[0]) | (rows >= size - width[1]) | (columns < width[2])
    frame = frame | (columns >= size - width[3])
    grey = torch.where(torch.rand(n, generator=g) < 0.6, 0.0, torch.rand(n, generator=g))
    x = torch.where(frame[:, None], grey.view(-1, 1, 1, 1), x)
    for _ in range(2):
        height, breadth = (_uniform(n, 0.03, 0.16, g) * size for _ in range(2))
        top = torch.where(torch.rand(n, generator=g) < 0.7, 0.0, 0.86) * size
        left = torch.where(torch.rand(n, generator=g) < 0.5, 0.0, 0.84) * size
        top, left = (v + _uniform(n, 0, 0.08, g) * size for v in (top, left))
        chosen = (torch.rand(n, generator=g) < 0.35).view(-1, 1, 1)
        mark = (rows >= top.view(-1, 1, 1)) & (rows < (top + height).view(-1, 1, 1)) & chosen
        mark = mark & (columns >= left.view(-1, 1, 1)) & (columns < (left + breadth).view(-1, 1, 1))
        texture = (torch.rand(n, 1, size, size, generator=g) < 0.5).float()
        bright = torch.rand(n, generator=g).view(-1, 1, 1, 1)
        x = torch.where(mark[:, None], bright * texture, x)
    return x


def _noise(x: Tensor, g: torch.Generator) -> Tensor:
    strength = _uniform(len(x), 0, 0.05, g).view(-1, 1, 1, 1)
    return (x + torch.randn(x.shape, generator=g) * strength).clamp(0, 1)
