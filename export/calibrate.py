"""A site's own labelled sample gives the site's own threshold, saved in the card of a new model.

The threshold is the highest that flags the wanted share of the sample's positives, end to end: a
positive that novelty turns away cannot be flagged. Its interval comes from a bootstrap that draws
whole groups (patients) again; sensitivity and specificity have Wilson's interval, and are those of
the very sample that the threshold was fitted to, so they flatter a little. Needs no torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.calibration import Sample, join_studies, measure, require_target
from export.dataset import LabelledImage, read_labels
from export.evaluate import choose_part
from export.metrics import bootstrap_by_group, threshold_at_sensitivity
from export.models import BundleModel, finding_of, open_model
from export.output import check_file, write_model
from export.scoring import measure_images
from screener.bundle import with_card
from screener.classifier_providers import Device
from screener.domain import OperatingPoint
from screener.errors import UsageError
from screener.model_card import ModelCard, SiteSample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.figures import Measured

NAME = "site"
BOOTSTRAP_ROUNDS = 2000


@dataclass(frozen=True, slots=True)
class SiteCalibration:
    """What was fitted: the image's and the study's point, and the sample with the interval."""

    point: OperatingPoint
    study_point: OperatingPoint
    sample: SiteSample

    @property
    def threshold_interval(self) -> tuple[float, float]:
        """The threshold's 95 % interval."""
        return self.sample.threshold_interval or (0.0, self.point.threshold)


def calibrate(
    model: Path | None,
    data: Path,
    out: Path,
    target_sensitivity: float,
    *,
    name: str = NAME,
    device: Device = "auto",
    tell: Callable[[str], None] = lambda _: None,
) -> SiteCalibration:
    """Fit the operating point `name` on a labelled sample and write the model with it to `out`.

    Args:
        model: A bundle; None for the one that comes with the package.
        data: The sample, see `export.dataset`; of the data that the model was trained on, its
            calibration part is taken.
        out: The new model; the graph in it is the same.
        target_sensitivity: Of the images, 0.5 to 0.999.
        name: What `scan --operating-point` will call it; not a name of the model's own points.
        device: What runs the model.
        tell: Takes a line of progress now and then.

    Raises:
        UsageError: no such model or sample, a checkpoint, a target out of range, too few positives
            for the target, or too many of them turned away to reach it.
    """
    require_target(target_sensitivity)
    check_file(out)
    images = read_labels(data)
    opened = open_model(model, device)
    if not isinstance(opened, BundleModel):
        raise UsageError(
            "a checkpoint has no card to keep a threshold in", mend="run `screener export` first"
        )
    card = opened.bundle.card
    _check_name(card, name)
    part = choose_part(images, opened.facts, "calibration")
    _check_size(part.images, target_sensitivity)
    tell(f"fitting on {len(part.images)} images: {part.reason}")
    finding = finding_of(opened.facts, part.images)
    measured = measure_images(opened, part.images, finding, tell, with_audit=False)
    found = fit(measured, card, card.findings[finding], name, target_sensitivity)
    write_model(out, with_card(opened.bundle, _with_site(card, found)))
    return found


def _check_name(card: ModelCard, name: str) -> None:
    own = {point.name for point in card.operating_points}
    if card.site is not None:
        own.discard(card.site.operating_point)
    if name in own or not name.isascii() or not name.isprintable() or not name.strip():
        raise UsageError(
            f"{name!r} cannot be the name of a site's operating point",
            f"the model's own are {', '.join(sorted(own))}",
            f"choose another, say {NAME!r}",
        )


def _check_size(images: Sequence[LabelledImage], target: float) -> None:
    """With fewer positives than this, one miss is already more than the target allows."""
    needed = math.ceil(1 / (1 - target) - 1e-9)
    positive = sum(image.positive for image in images)
    if positive < needed:
        raise UsageError(
            f"the sample has {positive} positives, too few for a sensitivity of {target}",
            "the threshold would hang on the lowest of them",
            f"give at least {needed}, better 200, or lower the target",
        )


def fit(
    measured: Measured, card: ModelCard, finding: str, name: str, target: float
) -> SiteCalibration:
    """Fit the threshold on a measured sample.

    Raises:
        UsageError: no threshold reaches the target.
    """
    sample = Sample(measured.positive, measured.score)
    groups = [image.group for image in measured.images]
    threshold = threshold_at_sensitivity(sample.score, sample.positive, target)
    if threshold is None:
        positive = sample.positive
        away = int((positive & ~measured.scored).sum())
        raise UsageError(
            f"no threshold reaches a sensitivity of {target}",
            f"{away} of {int(positive.sum())} positives are turned away before they get a score",
            "see why (`screener evaluate` lists them), or lower the target",
        )

    def drawn(index: NDArray[np.intp]) -> float | None:
        positive = sample.positive[index]
        if not positive.any():
            return None
        # Where so many were turned away that nothing reaches the target, no threshold is too low.
        return threshold_at_sensitivity(sample.score[index], positive, target) or 0.0

    interval = bootstrap_by_group(drawn, groups, rounds=BOOTSTRAP_ROUNDS)
    low, high = (round(end, 4) for end in interval or (0.0, threshold))
    images, positives = len(groups), int(sample.positive.sum())
    gone = [
        int((chosen & ~measured.scored).sum()) for chosen in (sample.positive, ~sample.positive)
    ]
    said = (
        f"site sample: {images} images, {positives} positive, {len(set(groups))} groups; "
        f"turned away {gone[0]} positive, {gone[1]} negative; "
        f"threshold 95 % interval {low:.4f} to {high:.4f}"
    )
    return SiteCalibration(
        measure(sample, name, finding, threshold, said, target),
        # A study is judged by its highest image at the same threshold.
        measure(join_studies(sample, groups), name, finding, threshold, said),
        SiteSample(
            name,
            card.graph_sha256,
            sample_sha256(measured.images),
            images,
            positives,
            (low, high),
        ),
    )


def sample_sha256(images: Sequence[LabelledImage]) -> str:
    """SHA-256 over each file's content, label and group: says which sample, wherever it lies."""
    digest = hashlib.sha256()
    lines = []
    for image in images:
        with image.path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{content},{image.label},{image.group}\n")
    for line in sorted(lines):
        digest.update(line.encode())
    return digest.hexdigest()


def _with_site(card: ModelCard, found: SiteCalibration) -> ModelCard:
    """The card with the site's point in place of an earlier one of that or another name."""
    gone = {(found.point.name, found.point.finding)}
    if card.site is not None:
        former = card.site.operating_point
        gone |= {(former, finding) for finding in card.findings}
    kept = [
        tuple(point for point in points if (point.name, point.finding) not in gone)
        for points in (card.operating_points, card.study_operating_points)
    ]
    return replace(
        card,
        operating_points=(*kept[0], found.point),
        study_operating_points=(*kept[1], found.study_point),
        site=found.sample,
    )
