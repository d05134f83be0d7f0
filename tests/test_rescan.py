"""The rule for a path that is known: a table over every state that it can be in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from screener.domain import FileStamp
from screener.judge import Judge
from screener.ledger_paths import Known
from screener.outcomes import REASONS, Outcome, ReasonCode
from screener.rescan import NIGHTS, Need, Run, need_of

STAMP = FileStamp(size=1000, mtime_ns=1, ctime_ns=2, inode=3)
CHANGED = [replace(STAMP, **{name: 999}) for name in ("size", "mtime_ns", "ctime_ns", "inode")]
JUDGE = Judge("v1", {"charls": "charls 2", "pydicom": "pydicom 3"}, "18 to 99")
RUN = Run(points_id=7, judge=JUDGE, rescan=False, recent_studies={"recent"})

SCORED = Known(
    stamp=STAMP,
    sha256="a" * 64,
    outcome="SCORED",
    reason_code="",
    attempts=1,
    judged_by="v1",
    pixels_sha256="b" * 64,
    study_key="old",
    points_id=7,
    gone=False,
    number=1,
)
LATERAL = replace(SCORED, outcome="INELIGIBLE", reason_code="VIEW", points_id=None)
CUT = replace(SCORED, outcome="FAILED", reason_code="TRUNCATED", points_id=None)
BROKEN = replace(CUT, reason_code="DECODE_ERROR")


@pytest.mark.parametrize(
    ("known", "need"),
    [
        (None, Need.EXAMINE),
        (SCORED, Need.NOTHING),
        (replace(SCORED, judged_by="v0"), Need.NOTHING),
        (replace(SCORED, points_id=6), Need.NOTHING),
        (replace(SCORED, points_id=6, study_key="recent"), Need.REJUDGE),
        (LATERAL, Need.NOTHING),
        (replace(LATERAL, judged_by="v1 aged 4 to 99"), Need.NOTHING),
        (replace(LATERAL, judged_by="v1 aged 4 to 99", study_key="recent"), Need.EXAMINE),
        (replace(LATERAL, judged_by="v1 aged 18 to 99", study_key="recent"), Need.NOTHING),
        (replace(LATERAL, judged_by="v0"), Need.EXAMINE),
        (BROKEN, Need.NOTHING),
        (replace(BROKEN, judged_by="v0"), Need.EXAMINE),
        (replace(BROKEN, judged_by="v1 by charls 2; pydicom 3"), Need.NOTHING),
        (replace(BROKEN, judged_by="v1 by charls 1; pydicom 3"), Need.EXAMINE),
        (replace(BROKEN, judged_by="v0 by charls 2; pydicom 3"), Need.EXAMINE),
        (replace(BROKEN, judged_by="v1 aged 4 to 99 by charls 2; pydicom 3"), Need.NOTHING),
        (
            replace(BROKEN, judged_by="v1 aged 4 to 99 by charls 2", study_key="recent"),
            Need.EXAMINE,
        ),
        (replace(CUT, attempts=NIGHTS, judged_by="v1 by charls 2"), Need.NOTHING),
        (replace(CUT, attempts=NIGHTS, judged_by="v1 by charls 1"), Need.EXAMINE),
        (CUT, Need.EXAMINE),
        (replace(CUT, attempts=NIGHTS - 1), Need.EXAMINE),
        (replace(CUT, attempts=NIGHTS), Need.NOTHING),
        (replace(CUT, attempts=NIGHTS, judged_by="v0"), Need.EXAMINE),
    ],
)
def test_unchanged_file(known: Known | None, need: Need) -> None:
    assert need_of(known, STAMP, RUN) is need


@pytest.mark.parametrize("code", [c for c in ReasonCode if REASONS[c][0] is Outcome.FAILED])
def test_which_failures_another_night_may_mend(code: ReasonCode) -> None:
    failed = replace(BROKEN, reason_code=code.value)
    nights = {"UNSTABLE", "TRUNCATED", "UNREADABLE", "OUT_OF_MEMORY", "TIMEOUT"}
    expected = [Need.EXAMINE] * (2 if code in nights else 0)
    needs = [need_of(replace(failed, attempts=n), STAMP, RUN) for n in (1, 2, 3, 4)]
    assert needs == expected + [Need.NOTHING] * (4 - len(expected))


@pytest.mark.parametrize("stamp", CHANGED)
@pytest.mark.parametrize(
    ("known", "need"),
    [
        (SCORED, Need.HASH),
        (replace(SCORED, points_id=6, study_key="recent"), Need.EXAMINE),
        (LATERAL, Need.HASH),
        (replace(LATERAL, sha256=""), Need.EXAMINE),
        (replace(CUT, attempts=NIGHTS), Need.EXAMINE),
        (BROKEN, Need.EXAMINE),
    ],
)
def test_changed_file(known: Known, stamp: FileStamp, need: Need) -> None:
    assert need_of(known, stamp, RUN) is need


@pytest.mark.parametrize("known", [SCORED, LATERAL, CUT, BROKEN])
def test_rescan_examines_everything(known: Known) -> None:
    assert need_of(known, STAMP, replace(RUN, rescan=True)) is Need.EXAMINE


@pytest.mark.parametrize("known", [SCORED, LATERAL, CUT, BROKEN])
def test_unknown_stamp_is_no_unchanged_file(known: Known) -> None:
    assert need_of(known, None, RUN) is Need.EXAMINE


@pytest.mark.parametrize(("name", "need"), [
    ("size", Need.HASH), ("mtime_ns", Need.HASH), ("ctime_ns", Need.NOTHING),
    ("inode", Need.NOTHING),
])  # fmt: skip
def test_what_the_file_system_makes_up_says_nothing(name: str, need: Need) -> None:
    changed = replace(STAMP, **{name: 999})
    assert need_of(SCORED, changed, RUN, made_up=True) is need


def test_a_path_without_a_stamp_is_examined_there_too() -> None:
    assert need_of(replace(SCORED, stamp=None), STAMP, RUN, made_up=True) is Need.HASH
