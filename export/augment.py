"""Random changes of training images: everything that must not carry the label.

In this kind of data borders, burned-in letters, contrast and sharpness give the source away
(DeGrave 2021, doi:10.1038/s42256-021-00338-7), so they are made random, and films of one batch
exchange them (`export.exchange`). The road of a real film is part of it: resampling, windows,
JPEG. Films are mirrored only where a recipe asks for it: the heart lies on one side. No image is
blanked as the audit of `evaluate` blanks it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch import Tensor

from export.draw import chance, uniform
from export.exchange import exchange_spectra, exchange_surroundings, exchange_tones

BLOCK = 8
LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation of the luminance (ISO/IEC 10918-1, table K.1)."""


def augment(
    images: Tensor,
    size: int,
    generator: torch.Generator,
    exchange: float = 0.0,
    strength: float = 1.0,
    flip: float = 0.0,
) -> Tensor:
    """Change a batch at random.

    Args:
        images: float32 (N, 1, H, W) in [0, 1], on the generator's device.
        size: the side of what is returned.
        generator: the only source of randomness.
        exchange: the share of the films that take tone, spectrum or surroundings of another film.
        strength: of every other change, in size or in the share of films: 0 for none.
        flip: the share of the films that are mirrored left to right.

    Returns:
        float32 (N, 1, size, size) in [0, 1].
    """
    if flip:
        mirrored = chance(len(images), flip, generator).view(-1, 1, 1, 1) > 0
        images = torch.where(mirrored, images.flip(-1), images)
    x = _move(images, size, generator, strength)
    if exchange:
        x = exchange_surroundings(x, exchange, generator)
        x = exchange_tones(x, exchange, generator)
        x = exchange_spectra(x, exchange, generator)
    x = _tone(x, generator, strength)
    x = _local_contrast(x, generator, strength)
    x = _sharpness(x, generator, strength)
    x = _borders(x, generator, strength)
    x = _noise(x, generator, strength)
    return _jpeg(x, generator, strength)


def _move(images: Tensor, size: int, g: torch.Generator, strength: float) -> Tensor:
    """Rotate by up to 12 degrees, scale, change the aspect, shift; outside is black or the edge."""
    n = len(images)
    angle = uniform(n, -12, 12, g) * math.pi / 180 * strength
    zoom = uniform(n, 1 - 0.3 * strength, 1 + 0.12 * strength, g)
    aspect = (uniform(n, -0.15, 0.15, g) * strength).exp()
    across, down = (uniform(n, -0.12, 0.12, g) * strength for _ in range(2))
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            torch.stack([cos * zoom * aspect, -sin * zoom, across], 1),
            torch.stack([sin * zoom, cos * zoom / aspect, down], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    black, edge = (
        F.grid_sample(images, grid, padding_mode=mode, align_corners=False)
        for mode in ("zeros", "border")
    )
    return torch.where(chance(n, 0.5, g).view(-1, 1, 1, 1) > 0, black, edge)


def _tone(x: Tensor, g: torch.Generator, strength: float) -> Tensor:
    """Window and percentile jitter, gamma, and a sigmoid tone curve for a third of the films."""
    n = len(x)
    low = uniform(n, -0.1, 0.15, g) * strength
    high = uniform(n, 1 - 0.15 * strength, 1 + 0.15 * strength, g)
    x = ((x - low.view(-1, 1, 1, 1)) / (high - low).view(-1, 1, 1, 1)).clamp(0, 1)
    gamma = (uniform(n, math.log(0.5), math.log(2.0), g) * strength).exp().view(-1, 1, 1, 1)
    x = x.clamp_min(1e-4) ** gamma
    steep = uniform(n, 3, 9, g).view(-1, 1, 1, 1)
    centre = uniform(n, 0.4, 0.6, g).view(-1, 1, 1, 1)
    curved = torch.sigmoid(steep * (x - centre))
    return torch.where(chance(n, 0.33 * strength, g).view(-1, 1, 1, 1) > 0, curved, x)


def _local_contrast(x: Tensor, g: torch.Generator, strength: float) -> Tensor:
    """What the maker's processing does: more or less of what a wide blur leaves, for some films."""
    n, size = len(x), x.shape[-1]
    side = max(2, size // 16)
    coarse = F.avg_pool2d(x, side, stride=side)
    wide = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    amount = (uniform(n, -0.5, 1.0, g) * chance(n, 0.5, g) * strength).view(-1, 1, 1, 1)
    return (x + amount * (x - wide)).clamp(0, 1)


def _sharpness(x: Tensor, g: torch.Generator, strength: float) -> Tensor:
    """Blend with a blurred copy: weights below 1 blur, above 1 sharpen; some lose resolution."""
    n, size = len(x), x.shape[-1]
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device) / 16
    padded = F.pad(x, (2, 2, 2, 2), mode="replicate")
    blurred = F.conv2d(padded, (kernel[:, None] * kernel)[None, None])
    amount = uniform(n, 1 - 1.2 * strength, 1 + strength, g).view(-1, 1, 1, 1)
    x = blurred + amount * (x - blurred)
    # One size and filter a batch, chosen on the processor: asking the device would stop it.
    host = torch.Generator().manual_seed(g.initial_seed() % 2**63)
    side = int(size * float(torch.rand(1, generator=host) * 0.45 + 0.45))
    mode = ("area", "bilinear", "bicubic")[int(torch.randint(3, (1,), generator=host))]
    small = F.interpolate(x, size=(side, side), mode=mode)
    coarse = F.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    return torch.where(chance(n, 0.25 * strength, g).view(-1, 1, 1, 1) > 0, coarse, x)


def _borders(x: Tensor, g: torch.Generator, strength: float) -> Tensor:
    """Random collimation strips, corner letters and frames in a random grey."""
    n, size = len(x), x.shape[-1]
    rows = torch.arange(size, device=x.device).view(1, size, 1)
    columns = torch.arange(size, device=x.device).view(1, 1, size)
    framed = chance(n, 0.5 * strength, g)
    width = [(uniform(n, 0, 0.11, g) * size * framed).view(-1, 1, 1) for _ in range(4)]
    frame = (rows < width[0]) | (rows >= size - width[1]) | (columns < width[2])
    frame = frame | (columns >= size - width[3])
    grey = chance(n, 0.4, g) * uniform(n, 0, 1, g)
    x = torch.where(frame[:, None], grey.view(-1, 1, 1, 1), x)
    for _ in range(2):
        height, breadth = (uniform(n, 0.03, 0.16, g) * size for _ in range(2))
        top = (1 - chance(n, 0.7, g)) * 0.86 * size
        left = (1 - chance(n, 0.5, g)) * 0.84 * size
        top, left = (v + uniform(n, 0, 0.08, g) * size for v in (top, left))
        chosen = chance(n, 0.35 * strength, g).view(-1, 1, 1) > 0
        mark = (rows >= top.view(-1, 1, 1)) & (rows < (top + height).view(-1, 1, 1)) & chosen
        mark = mark & (columns >= left.view(-1, 1, 1)) & (columns < (left + breadth).view(-1, 1, 1))
        texture = (torch.rand(n, 1, size, size, generator=g, device=x.device) < 0.5).float()
        bright = uniform(n, 0, 1, g).view(-1, 1, 1, 1)
        x = torch.where(mark[:, None], bright * texture, x)
    return x


def _noise(x: Tensor, g: torch.Generator, strength: float) -> Tensor:
    deviation = uniform(len(x), 0, 0.05 * strength, g).view(-1, 1, 1, 1)
    noise = torch.randn(x.shape, generator=g, device=x.device)
    return (x + noise * deviation).clamp(0, 1)


def _jpeg(x: Tensor, g: torch.Generator, strength: float) -> Tensor:
    """JPEG of quality 60 to 100 for half the films: quantised cosines of 8 x 8 blocks.

    A side that is no multiple of 8 keeps its last rows and columns as they are.
    """
    n, side = len(x), x.shape[-1] // BLOCK
    k = torch.arange(BLOCK, device=x.device, dtype=x.dtype)
    cosines = torch.cos((2 * k + 1) * k[:, None] * math.pi / (2 * BLOCK)) / 2
    cosines[0] /= math.sqrt(2)
    table = torch.tensor(LUMINANCE, device=x.device, dtype=x.dtype).view(BLOCK, BLOCK)
    quality = uniform(n, 60, 100, g).view(-1, 1, 1, 1, 1)
    step = (table * (2 - quality / 50)).clamp_min(1)
    whole = x[:, 0, : side * BLOCK, : side * BLOCK] * 255 - 128
    blocks = whole.reshape(n, side, BLOCK, side, BLOCK).transpose(2, 3)
    quantised = torch.round(cosines @ blocks @ cosines.T / step) * step
    pixels = (cosines.T @ quantised @ cosines).transpose(2, 3).reshape(whole.shape)
    changed = x.clone()
    changed[:, 0, : side * BLOCK, : side * BLOCK] = ((pixels + 128) / 255).clamp(0, 1)
    return torch.where(chance(n, 0.5 * strength, g).view(-1, 1, 1, 1) > 0, changed, x)
