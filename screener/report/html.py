"""Rows and facts of a run -> `report.html`: one file that needs nothing else and asks for nothing.

Its content security policy lets in its own script and style, by their hashes, and pictures that
stand in the page; whatever a header smuggles in stays text. Rows are written as they come: memory
does not grow with their number.
"""

from __future__ import annotations

import functools
import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from screener.domain import OperatingPoint, Triage
from screener.outcomes import REASONS, Outcome, ReasonCode
from screener.report.page import ReportFacts, Study, study_of, words_of
from screener.report.pictures import Picture
from screener.report.words import counted, visible
from screener.triage import STUDY_REASONS, StudyReason

if TYPE_CHECKING:
    from jinja2 import Template

    from screener.model_card import ModelCard

TEMPLATE = "report.html.jinja"
SHOWN = 5000
"""Studies in the page, the most urgent of the worklist; the rest stands in `triage.csv`."""
PAGE_BYTES = 24_900_000
"""What the page may take; where that is reached, the rest of its studies have no picture."""
_ROW_BYTES, _FOOT_BYTES = 1500, 10_000
LISTED = 200
"""Failed paths that are listed by name; all of them stand in `images.csv`."""
MEANINGS: Mapping[Triage, str] = {
    Triage.FLAGGED: "a score at or above the threshold",
    Triage.NOT_SCREENED: "an image could not be judged: read it as if unscreened",
    Triage.NOT_FLAGGED: "all scores below the threshold; not a normal study, one that waits",
    Triage.NOT_APPLICABLE: "no frontal chest radiograph in it",
}


def write_html(
    stream: BinaryIO,
    facts: ReportFacts,
    rows: Iterable[tuple[Mapping[str, Any], Picture | None]],
) -> int:
    """Write the page.

    Args:
        stream: Takes the bytes; stays open.
        facts: The head of the page.
        rows: Studies in the order of the worklist, as `triage.csv` has them, masked, each with its
            picture. No more than `SHOWN` are taken.

    Returns:
        The number of studies in the page.
    """
    count = size = 0

    def studies() -> Iterator[Study]:
        nonlocal count
        for row, picture in islice(rows, SHOWN):
            study = study_of(row, picture, facts)
            if picture is not None:
                left = min(facts.studies, SHOWN) - count
                taken = len(picture.film) + len(picture.heat)
                if size + taken + left * _ROW_BYTES + _FOOT_BYTES > PAGE_BYTES:
                    study = replace(study, picture=None, missing="the page is full")
            count += 1
            yield study

    for part in _template().generate(_head(facts), studies=studies()):
        content = part.encode("utf-8", "backslashreplace")
        size += len(content)
        stream.write(content)
    return count


def _head(facts: ReportFacts) -> dict[str, Any]:
    """What the template is given beside the studies."""
    failed = facts.outcomes.get(Outcome.FAILED, {})
    paths = {name: sum(facts.outcomes.get(name, {}).values()) for name in Outcome}
    style, script = _packaged("report.css"), _packaged("report.js")
    return {
        "facts": facts,
        "style": style,
        "script": script,
        "policy": "; ".join(
            (
                "default-src 'none'",
                "img-src data:",
                f"style-src '{_hash(style)}'",
                f"script-src '{_hash(script)}'",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        "shown": min(facts.studies, SHOWN),
        "limit": SHOWN,
        "listed": LISTED,
        "paths": paths,
        "outcomes": [
            (outcome, code, REASONS[ReasonCode(code)][1] if code else "", count)
            for outcome in Outcome
            for code, count in facts.outcomes.get(outcome, {}).items()
        ],
        "failed": [
            (code, REASONS[ReasonCode(code)][1], count)
            for code, count in sorted(failed.items(), key=lambda item: (-item[1], item[0]))
        ],
        "failures": [
            (REASONS[ReasonCode(each["reason_code"])][1], each) for each in facts.failures
        ],
        "meanings": MEANINGS,
        "reasons": [
            (code.value, words)
            for code, (_, words) in STUDY_REASONS.items()
            if facts.reasons.get(StudyReason(code))
        ],
        "warnings": [(words_of(code), count) for code, count in sorted(facts.warnings.items())],
        "points": [(point, _of_study(facts.card, point)) for point in facts.points],
    }


def _of_study(card: ModelCard, point: OperatingPoint) -> OperatingPoint | None:
    """What the card says that an operating point gives for whole studies.

    Nothing where it was measured at another threshold than the one that is in force.
    """
    wanted = (point.name, point.finding, point.threshold)
    for each in card.study_operating_points:
        if (each.name, each.finding, each.threshold) == wanted:
            return each
    return None


def measured(value: float | None, interval: Sequence[float] | None) -> str:
    """A share in per cent with its 95 % interval."""
    if value is None:
        return "not measured"
    if interval is None:
        return f"{value:.1%}"
    return f"{value:.1%} (95 % interval {interval[0]:.1%} to {interval[1]:.1%})"


def _hash(text: str) -> str:
    """The name of an inline script or style in a policy (CSP level 3, 2.3.1)."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


@functools.cache
def _packaged(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    def seen(value: object) -> object:
        # What is marked up already is the page's own, and no plain string.
        return visible(value) if type(value) is str else value

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=seen,
    )
    environment.filters |= {"measured": measured, "counted": counted}
    return environment.get_template(TEMPLATE)
