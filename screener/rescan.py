"""What a nightly rerun does with a path that it knows: a pure rule over what is known of it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from screener.domain import FileStamp
from screener.ledger_paths import Known
from screener.outcomes import Outcome, ReasonCode

if TYPE_CHECKING:
    from screener.judge import Judge

RETRIED = frozenset(
    {
        ReasonCode.UNSTABLE,
        ReasonCode.TRUNCATED,
        ReasonCode.UNREADABLE,
        ReasonCode.OUT_OF_MEMORY,
        ReasonCode.TIMEOUT,
    }
)
"""Failures that another night may mend by itself; any other needs a change of file or program."""
NIGHTS = 3


class Need(Enum):
    """What is to be done with a path."""

    NOTHING = "NOTHING"
    HASH = "HASH"
    """Read it; if the content is the same, so is the result."""
    EXAMINE = "EXAMINE"
    REJUDGE = "REJUDGE"
    """Its pixels are known: only the verdict of the model in force is missing."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the rule needs to know of the run. `judge` is what judges in it."""

    points_id: int
    judge: Judge
    rescan: bool
    recent_studies: Container[str]


def need_of(
    known: Known | None, stamp: FileStamp | None, run: Run, *, made_up: bool = False
) -> Need:
    """Decide on one path.

    Args:
        known: What the ledger says of the path.
        stamp: What `lstat` says of it now; None where it could not be asked.
        run: The run's model, program and window.
        made_up: Whether the file system makes inode and ctime up, so that they say nothing.
    """
    if known is None or run.rescan or stamp is None:
        return Need.EXAMINE
    if made_up and known.stamp is not None:
        stamp = replace(stamp, ctime_ns=known.stamp.ctime_ns, inode=known.stamp.inode)
    if known.outcome == Outcome.FAILED:
        return _need_of_failure(known, stamp, run)
    recent = known.study_key in run.recent_studies
    judged_by_model = known.points_id is not None
    if not judged_by_model and not run.judge.is_still(known.judged_by, recent=recent):
        return Need.EXAMINE
    outdated = judged_by_model and known.points_id != run.points_id
    if outdated and recent:
        return Need.REJUDGE if stamp == known.stamp else Need.EXAMINE
    if stamp == known.stamp:
        return Need.NOTHING
    return Need.HASH if known.sha256 else Need.EXAMINE


def _need_of_failure(known: Known, stamp: FileStamp, run: Run) -> Need:
    recent = known.study_key in run.recent_studies
    if stamp != known.stamp or not run.judge.is_still(known.judged_by, recent=recent):
        return Need.EXAMINE
    again = known.reason_code in RETRIED and known.attempts < NIGHTS
    return Need.EXAMINE if again else Need.NOTHING
