"""Two films as one, and their labels with them: against learning films by heart.

MixUp (Zhang 2018, arXiv 1710.09412) blends whole films; CutMix (Yun 2019, arXiv 1905.04899) pastes
a box of one into another, its label by the box's area. Unlike `export.exchange` they change labels.
Both draw from torch's own generator, which each step seeds, so a resumed run mixes alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchvision.transforms import v2

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def make_mixer(mixup: float, cutmix: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """How each batch is mixed; where both kinds are wanted, one of them a batch by chance.

    Args:
        mixup: Of the Beta distribution that gives the share of the second film; 0 for none.
        cutmix: The same for the box's area.

    Returns:
        A function of films (N, 1, H, W) and labels float32 (N, K), which gives mixed ones.
    """
    kinds: list[v2.Transform] = []
    if mixup:
        kinds.append(v2.MixUp(alpha=mixup))
    if cutmix:
        kinds.append(v2.CutMix(alpha=cutmix))
    if not kinds:
        return lambda films, labels: (films, labels)
    one = v2.RandomChoice(kinds)

    def mix(films: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mixed: tuple[Tensor, Tensor] = one(films, labels)
        return mixed

    return mix
