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
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from screener.domain import OperatingPoint, Triage
from screener.outcomes import REASONS, WARNINGS, Outcome, ReasonCode, Warn
from screener.report.pictures import Picture
from screener.report.words import counted, shown_date, shown_name, shown_time, visible
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


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """What the head of the page says of the run.

    Attributes:
        started_at: ISO 8601 UTC.
        outcomes: Outcome -> reason code -> paths.
        triage: Triage -> studies, of all studies, also of those that the page leaves out.
        reasons: Reason code of the policy -> studies.
        warnings: Warning code -> studies.
        changes: NEW, CHANGED, SAME -> studies.
        failures: `path`, `reason_code` and `detail` of the first paths that FAILED, masked.
        notices: What a person should know of the run, a line each.
    """

    run_id: str
    started_at: str
    elapsed_s: float
    software_version: str
    provider: str
    identifiers: str
    card: ModelCard
    model_sha256: str
    points: Sequence[OperatingPoint]
    outcomes: Mapping[str, Mapping[str, int]]
    triage: Mapping[str, int]
    reasons: Mapping[str, int]
    warnings: Mapping[str, int]
    changes: Mapping[str, int]
    new_failures: int
    failures: Sequence[Mapping[str, Any]] = ()
    notices: Sequence[str] = ()

    @property
    def studies(self) -> int:
        """The number of all studies of the report."""
        return sum(self.triage.values())


@dataclass(frozen=True, slots=True)
class Study:
    """One row of the page.

    `who`, `film`: what the header says, a line each, without blanks. `missing`: why there is no
    picture.
    """

    row: Mapping[str, Any]
    name: str
    who: tuple[str, ...]
    film: tuple[str, ...]
    warnings: tuple[str, ...]
    change: str
    more: tuple[tuple[str, str], ...]
    picture: Picture | None
    missing: str = "no picture"

    @property
    def moment(self) -> str:
        """When the film was taken, so that text sorts by time."""
        return f"{self.row['study_date']}{self.row['study_time']}"

    @property
    def place(self) -> str:
        """The score's place on a scale."""
        return f"{self.row['score']:.1%}"

    @property
    def mark(self) -> str:
        """The threshold's place on a scale."""
        return f"{self.row['threshold']:.1%}"


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


def study_of(row: Mapping[str, Any], picture: Picture | None, facts: ReportFacts) -> Study:
    """What the page says of one study, from its row in `triage.csv`."""
    born, sex = shown_date(row["patient_birth_date"]), row["patient_sex"]
    taken = f"{shown_date(row['study_date'])} {shown_time(row['study_time'])}".strip()
    images = [counted(row["images"], "image")]
    if row["images_scored"] != row["images"]:
        images.append(f"{row['images_scored']} scored")
    if row["images_gone"]:
        images.append(f"{counted(row['images_gone'], 'file')} gone")
    named = shown_name(row["patient_name"])
    who = (
        row["patient_id"],
        f"born {born}" if born else "",
        f"sex {sex}" if sex else "",
        f"accession {row['accession_number']}" if row["accession_number"] else "",
    )
    film = (
        f"taken {taken}" if taken else "",
        f"{row['modality']} {row['view_position']}".strip(),
        row["station_name"],
        *images,
    )
    return Study(
        row=row,
        name=named,
        who=tuple(part for part in who if part),
        film=tuple(part for part in film if part),
        warnings=tuple(_words_of(code) for code in row["warnings"].split(";") if code),
        change=_change(row),
        more=tuple(_more(row, facts)),
        picture=picture,
    )


def _change(row: Mapping[str, Any]) -> str:
    if row["change"] == "CHANGED":
        before = row["previous_triage"]
        return f"CHANGED, was {before}" if before != row["triage"] else "CHANGED"
    return "NEW" if row["change"] == "NEW" else ""


def _more(row: Mapping[str, Any], facts: ReportFacts) -> Iterator[tuple[str, str]]:
    """What is looked up now and then; of the model only what is not tonight's."""
    fields = [
        ("study", row["study_instance_uid"] or row["study_key"]),
        ("file", row["path"]),
        ("institution", row["institution_name"]),
    ]
    if row["score"] is not None:
        if row["operating_point"] != facts.points[0].name:
            fields.append(("operating point", row["operating_point"]))
        if row["model_sha256"] != facts.model_sha256:
            fields.append(("model", f"{row['model']}, SHA-256 {row['model_sha256'][:12]}"))
        if row["provider"] != facts.provider:
            fields.append(("computed by", row["provider"]))
    if row["screened_at"] != facts.started_at:
        fields.append(("screened", row["screened_at"]))
    return ((name, value) for name, value in fields if value)


def _words_of(code: str) -> str:
    return f"{WARNINGS[Warn(code)]} ({code})"


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
        "warnings": [(_words_of(code), count) for code, count in sorted(facts.warnings.items())],
        "points": [(point, _of_study(facts.card, point)) for point in facts.points],
    }


def _of_study(card: ModelCard, point: OperatingPoint) -> OperatingPoint | None:
    """What the card says that an operating point gives for whole studies."""
    for each in card.study_operating_points:
        if (each.name, each.finding) == (point.name, point.finding):
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
    from markupsafe import Markup

    def seen(value: object) -> object:
        # What is marked up already is the page's own.
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

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
