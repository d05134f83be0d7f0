"""The policy: from what became of the images of a study to one verdict. Pure, fed by the ledger.

The rules (contract, `triage.csv`), the first that applies decides:

1. One flagged image makes the study FLAGGED. An image is flagged where the score of any finding,
   rounded to 4 decimals, is at or above that finding's threshold.
2. Otherwise NOT_SCREENED, if an image that counts FAILED, if an image whose header says PA or AP
   was turned away by novelty or age, or if nothing was scored though something may be a frontal
   chest radiograph.
3. Otherwise NOT_FLAGGED, if an image was scored.
4. Otherwise NOT_APPLICABLE (an MR, say).

A failure is never NOT_FLAGGED. A failed copy does not count where another copy with its SOP
Instance UID was scored. What "may be a frontal chest radiograph" is `_may_be_frontal`.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from screener.domain import ImageFacts, OperatingPoint, StudyTriage, Triage, View
from screener.outcomes import REASONS, Outcome, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class StudyReason(StrEnum):
    """Which rule of the policy decided a study. A closed list; `STUDY_REASONS` gives the words."""

    SCORE_ABOVE_THRESHOLD = "SCORE_ABOVE_THRESHOLD"
    IMAGE_FAILED = "IMAGE_FAILED"
    FRONTAL_TURNED_AWAY = "FRONTAL_TURNED_AWAY"
    NOTHING_SCORED = "NOTHING_SCORED"
    SCORES_BELOW_THRESHOLD = "SCORES_BELOW_THRESHOLD"
    NO_CHEST_RADIOGRAPH = "NO_CHEST_RADIOGRAPH"


STUDY_REASONS: dict[StudyReason, tuple[Triage, str]] = {
    StudyReason.SCORE_ABOVE_THRESHOLD: (
        Triage.FLAGGED,
        "an image scored at or above the threshold",
    ),
    StudyReason.IMAGE_FAILED: (
        Triage.NOT_SCREENED,
        "an image could not be screened",
    ),
    StudyReason.FRONTAL_TURNED_AWAY: (
        Triage.NOT_SCREENED,
        "a frontal image was turned away",
    ),
    StudyReason.NOTHING_SCORED: (
        Triage.NOT_SCREENED,
        "nothing was scored, though no header rules a frontal chest radiograph out",
    ),
    StudyReason.SCORES_BELOW_THRESHOLD: (
        Triage.NOT_FLAGGED,
        "every score is below the threshold",
    ),
    StudyReason.NO_CHEST_RADIOGRAPH: (
        Triage.NOT_APPLICABLE,
        "no image is a frontal chest radiograph for this model",
    ),
}

FRONTAL = frozenset({View.PA, View.AP})

# Header and pixels are those of a radiograph; only the model's own limits turned it away.
_BEYOND_THE_MODEL = frozenset({ReasonCode.NOVEL, ReasonCode.AGE})
# A film that the header calls PA or AP is one also as raw data, in frames, in colour or as a
# preview: none of these rules says that the chest is not on it.
_FORM_ONLY = frozenset(
    {ReasonCode.FOR_PROCESSING, ReasonCode.MULTI_FRAME, ReasonCode.COLOUR, ReasonCode.TOO_SMALL}
)

# What a site may raise, and to what unless its file says otherwise. The other two verdicts have
# no word: lowering a film that a person has not read is not for this program.
RAISABLE = frozenset({Triage.FLAGGED, Triage.NOT_SCREENED})
DEFAULT_PRIORITIES: Mapping[Triage, str] = {Triage.FLAGGED: "HIGH"}

_ORDER = {triage: place for place, triage in enumerate(Triage)}
_BY_SCORE = frozenset({Triage.FLAGGED, Triage.NOT_FLAGGED})


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The images of one study, sorted into what the rules ask for."""

    flagged: tuple[ImageFacts, ...]
    failed: tuple[ImageFacts, ...]
    turned_away: tuple[ImageFacts, ...]
    unscored: tuple[ImageFacts, ...]
    scored: tuple[ImageFacts, ...]
    all: tuple[ImageFacts, ...]


# The first row whose images are not empty decides; they are also what the reason tells of.
_DECISIONS: tuple[tuple[Callable[[_Evidence], tuple[ImageFacts, ...]], StudyReason], ...] = (
    (lambda evidence: evidence.flagged, StudyReason.SCORE_ABOVE_THRESHOLD),
    (lambda evidence: evidence.failed, StudyReason.IMAGE_FAILED),
    (lambda evidence: evidence.turned_away, StudyReason.FRONTAL_TURNED_AWAY),
    (lambda evidence: evidence.unscored, StudyReason.NOTHING_SCORED),
    (lambda evidence: evidence.scored, StudyReason.SCORES_BELOW_THRESHOLD),
    (lambda evidence: evidence.all, StudyReason.NO_CHEST_RADIOGRAPH),
)


def triage_study(
    images: Sequence[ImageFacts], operating_points: Sequence[OperatingPoint]
) -> StudyTriage:
    """Judge one study. The order of `images` does not matter, but for the index that is returned.

    Args:
        images: Every image of the study that is known, also where its file is gone.
        operating_points: One for each finding, in the order of `ImageFacts.scores`.

    Raises:
        ValueError: No image; a scored image whose scores are not one finite number a finding.
    """
    if not images:
        raise ValueError("a study has at least one image")
    _check_scores(images, operating_points)
    evidence = _gather(images, operating_points)
    code, told = next((code, told) for select, code in _DECISIONS if (told := select(evidence)))
    triage, words = STUDY_REASONS[code]
    reason = f"{words}{_underlying(told)}"
    if code is StudyReason.SCORE_ABOVE_THRESHOLD and evidence.failed:
        # Most urgent already, but whoever opens the study should know what is missing from it.
        reason += f"; {STUDY_REASONS[StudyReason.IMAGE_FAILED][1]}{_underlying(evidence.failed)}"
    image, finding = _worst(images, operating_points)
    return StudyTriage(triage, code, reason, image, finding)


def _check_scores(images: Sequence[ImageFacts], operating_points: Sequence[OperatingPoint]) -> None:
    if not operating_points:
        raise ValueError("no operating point: nothing can be flagged")
    for image in images:
        if image.outcome is not Outcome.SCORED:
            continue
        # NaN is never at or above a threshold: it would pass for a low score.
        if len(image.scores) != len(operating_points) or not all(map(math.isfinite, image.scores)):
            raise ValueError(f"{len(operating_points)} finite scores expected: {image.scores!r}")


def _gather(images: Sequence[ImageFacts], operating_points: Sequence[OperatingPoint]) -> _Evidence:
    scored = tuple(image for image in images if image.outcome is Outcome.SCORED)
    scored_uids = {image.sop_instance_uid for image in scored} - {""}
    turned_away = tuple(
        image
        for image in images
        if image.reason_code in _BEYOND_THE_MODEL and image.view in FRONTAL
    )
    return _Evidence(
        flagged=tuple(image for image in scored if _is_flagged(image, operating_points)),
        failed=tuple(
            image
            for image in images
            if image.outcome is Outcome.FAILED and image.sop_instance_uid not in scored_uids
        ),
        turned_away=turned_away,
        unscored=() if scored else tuple(image for image in images if _may_be_frontal(image)),
        scored=scored,
        all=tuple(images),
    )


def _is_flagged(image: ImageFacts, operating_points: Sequence[OperatingPoint]) -> bool:
    return any(
        score >= point.threshold
        for score, point in zip(image.scores, operating_points, strict=True)
    )


def _may_be_frontal(image: ImageFacts) -> bool:
    """Whether an image that was ruled out may still be a frontal chest radiograph.

    - Turned away by novelty or age with no view stated: yes. Everything that the header says
      fits a chest radiograph, and only this model could not judge it.
    - Raw data, several frames, colour, too small, where the header states PA or AP and no other
      body part: yes. With no view stated: no, or every photograph, icon and raw film of a knee
      would stand above the chest films.
    - Another view, another body part, another modality or SOP class, our own output: no, the
      header says so.
    - A purged patient: no. Nobody is to be told of this patient again.
    """
    if image.reason_code in _BEYOND_THE_MODEL:
        return image.view is not View.OTHER
    return image.reason_code in _FORM_ONLY and image.view in FRONTAL and not image.other_body_part


def _underlying(images: Sequence[ImageFacts]) -> str:
    """The images' own reasons in words, most frequent first: `: the file ends too early (2)`."""
    counts = Counter(image.reason_code for image in images if image.reason_code is not None)
    if not counts:
        return ""
    codes = list(ReasonCode)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], codes.index(item[0])))
    return ": " + ", ".join(
        REASONS[code][1] + (f" ({count} images)" if count > 1 else "") for code, count in ordered
    )


def _worst(
    images: Sequence[ImageFacts], operating_points: Sequence[OperatingPoint]
) -> tuple[int | None, int | None]:
    """Index of the image and finding with the largest margin over the threshold.

    With one finding that is the highest score. Ties go to the lower SOP Instance UID, then path,
    then finding, so that equal input gives equal reports.
    """
    candidates = (
        (point.threshold - score, image.sop_instance_uid, image.path, finding, index)
        for index, image in enumerate(images)
        if image.outcome is Outcome.SCORED
        for finding, (score, point) in enumerate(zip(image.scores, operating_points, strict=True))
    )
    worst = min(candidates, default=None)
    return (None, None) if worst is None else (worst[4], worst[3])


def sort_key(triage: Triage, score: float | None, study_key: str) -> tuple[int, float, str]:
    """Place in `triage.csv`: most urgent first, by falling score where one decided."""
    falling = -score if score is not None and triage in _BY_SCORE else 0.0
    return _ORDER[triage], falling, study_key


def priority_of(triage: Triage, mapping: Mapping[Triage, str] = DEFAULT_PRIORITIES) -> str:
    """What an importer may raise the study to; empty means: leave what is there.

    Args:
        triage: The verdict.
        mapping: The site's words; what it does not name keeps the default.

    Raises:
        ValueError: A word for a verdict that must not change a priority.
    """
    for named, word in mapping.items():
        if word and named not in RAISABLE:
            raise ValueError(f"{named} may not be given a priority: {word!r}")
    return mapping.get(triage, DEFAULT_PRIORITIES.get(triage, ""))
