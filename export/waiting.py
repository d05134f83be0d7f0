"""What a flag does to the time until a study is read: for those with the finding, and the others.

One reader, studies that come at random, reading times that vary at random around their mean: the
queue M/M/1 with two priorities (Cobham 1954; the same question as DIDSR's QuCAD answers by
simulation). A flagged study is read next, once the study in hand is finished; QuCAD lets it
interrupt the study in hand, and that figure stands beside. Pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from screener.errors import UsageError


@dataclass(frozen=True, slots=True)
class Site:
    """A reading room: the defaults are QuCAD's.

    `reading_minutes`: mean of one study. `load`: the share of the time in which the reader reads,
    0 to 1. `prevalence`: the share of studies with the finding.
    """

    reading_minutes: float = 10.0
    load: float = 0.8
    prevalence: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what is no reading room.

        Raises:
            UsageError: a number that cannot be.
        """
        if not 0 < self.reading_minutes <= 24 * 60:
            raise UsageError(
                f"a reading time of {self.reading_minutes} minutes",
                mend="give the minutes that one study takes, say 10",
            )
        if not 0 < self.load < 1:
            raise UsageError(
                f"a load of {self.load}",
                "at 1 and above the queue grows without end",
                "give the share of the time in which the reader is busy, say 0.8",
            )
        if not 0 < self.prevalence < 1:
            raise UsageError(
                f"a prevalence of {self.prevalence}", mend="give a share between 0 and 1, say 0.1"
            )


@dataclass(frozen=True, slots=True)
class Waiting:
    """Mean minutes from arrival until reading begins.

    `in_order`: without triage. `with_finding`, `without_finding`: with triage. `saved`: of a study
    with the finding. `lost`: of one without, on average; `lost_unflagged`: of one that is not
    flagged. `saved_share` is of `in_order`. `interrupting`: what would be saved if a flag
    interrupted the study in hand.
    """

    in_order: float
    with_finding: float
    without_finding: float
    saved: float
    lost: float
    lost_unflagged: float
    saved_share: float
    interrupting: float
    interrupting_share: float


@dataclass(frozen=True, slots=True)
class Flags:
    """What is flagged at a site's prevalence, as shares."""

    flagged: float
    positive_predictive_value: float | None
    negative_predictive_value: float | None


def waiting(site: Site, sensitivity: float, specificity: float) -> Waiting:
    """The waiting times that a flag with these properties gives.

    Args:
        site: The reading room.
        sensitivity: End to end, 0 to 1.
        specificity: 0 to 1.
    """
    minutes, load = site.reading_minutes, site.load
    first = load * flags(site, sensitivity, specificity).flagged
    in_order = load * minutes / (1 - load)
    # The study in hand is finished first: its rest is load * minutes on average.
    flagged = load * minutes / (1 - first)
    unflagged = flagged / (1 - load)
    with_finding = _mixed(sensitivity, flagged, unflagged)
    without_finding = _mixed(1 - specificity, flagged, unflagged)
    # Interrupted: time until the study is finished, less its own reading.
    at_once = first * minutes / (1 - first)
    interrupted = minutes / ((1 - first) * (1 - load)) - minutes
    saved_at_once = in_order - _mixed(sensitivity, at_once, interrupted)
    return Waiting(
        in_order=in_order,
        with_finding=with_finding,
        without_finding=without_finding,
        saved=in_order - with_finding,
        lost=without_finding - in_order,
        lost_unflagged=unflagged - in_order,
        saved_share=(in_order - with_finding) / in_order,
        interrupting=saved_at_once,
        interrupting_share=saved_at_once / in_order,
    )


def flags(site: Site, sensitivity: float, specificity: float) -> Flags:
    """How many are flagged, and what a flag is worth, by Bayes' rule."""
    found = site.prevalence * sensitivity
    false = (1 - site.prevalence) * (1 - specificity)
    flagged = found + false
    cleared = (1 - site.prevalence) * specificity
    return Flags(
        flagged,
        found / flagged if flagged else None,
        cleared / (1 - flagged) if flagged < 1 else None,
    )


def _mixed(share: float, flagged: float, unflagged: float) -> float:
    return share * flagged + (1 - share) * unflagged
