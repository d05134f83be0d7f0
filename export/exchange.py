"""Films of one batch lend each other their style: what belongs to a source must not give the label.

Where no source holds both classes, tone, spectrum and surroundings of a film tell its source and so
its label. Here each is taken from another film of the batch, whatever its label is, while the
film's own structures and label stay: tones by histogram matching, contrast and sharpness by mixing
the amplitudes of the spectrum while keeping the phase (Xu 2021, arXiv 2105.14780), and what
surrounds the chest by pasting. Pure functions over (N, 1, H, W) in [0, 1]; a share of the films is
changed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from export.draw import chance, partners, uniform

LEAST_SURROUNDINGS, MOST_SURROUNDINGS = 0.03, 0.18
FEATHER = 0.04
MOST_AMPLITUDE = 0.8


def exchange_tones(x: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Move the histogram towards another film's, by a random part of the way."""
    n = len(x)
    weight = (uniform(n, 0, 1, g) * chance(n, share, g)).view(-1, 1)
    values, order = x.flatten(1).sort(1)
    other = values[partners(n, g)]
    mixed = values + weight * (other - values)
    return torch.empty_like(mixed).scatter_(1, order, mixed).view_as(x)


def exchange_spectra(x: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Mix the amplitudes of the spectrum with another film's; the phase, so the shapes, stay."""
    n = len(x)
    weight = (uniform(n, 0, MOST_AMPLITUDE, g) * chance(n, share, g)).view(-1, 1, 1, 1)
    spectrum = torch.fft.rfft2(x)
    amplitude = spectrum.abs()
    mixed = amplitude + weight * (amplitude[partners(n, g)] - amplitude)
    scaled = spectrum * (mixed / amplitude.clamp_min(1e-6))
    changed: Tensor = torch.fft.irfft2(scaled, s=x.shape[-2:])
    return changed.clamp(0, 1)


def exchange_surroundings(x: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Put the film's middle, of a random size, into another film."""
    n, size = len(x), x.shape[-1]
    at = (torch.arange(size, device=x.device) + 0.5) / size
    inside = []
    for _ in range(2):
        first, last = (
            uniform(n, LEAST_SURROUNDINGS, MOST_SURROUNDINGS, g).view(-1, 1) for _ in range(2)
        )
        rising, falling = (at - first) / FEATHER, (1 - last - at) / FEATHER
        inside.append(rising.clamp(0, 1) * falling.clamp(0, 1))
    mask = (inside[0][:, :, None] * inside[1][:, None, :])[:, None]
    mask = torch.maximum(mask, 1 - chance(n, share, g).view(-1, 1, 1, 1))
    return mask * x + (1 - mask) * x[partners(n, g)]
