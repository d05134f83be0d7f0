"""What a page of the report is about: the run, and each study in the words that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from screener.domain import OperatingPoint
from screener.outcomes import WARNINGS, Warn
from screener.report.pictures import Picture
from screener.report.words import counted, shown_date, shown_name, shown_time

if TYPE_CHECKING:
    from screener.model_card import ModelCard


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
    """One row of the page, in the words and figures that it shows.

    Attributes:
        row: Of `triage.csv`, masked.
        words: What stands beside the triage: the priority, and whether it is new.
        who: What the header says of the patient, without blanks.
        film: What it says of the film, without blanks.
        moment: When the film was taken, so that text sorts by time.
        score: Empty where nothing was scored, as are the next three.
        place: The score's place on a scale.
        mark: The threshold's place on it.
        against: The finding and its threshold.
        novelty: Empty where no model saw it.
        judged: Novelty, and where on the film the score comes from, in words.
        missing: Why there is no picture.
    """

    row: Mapping[str, Any]
    name: str
    words: tuple[str, ...]
    who: tuple[str, ...]
    film: tuple[str, ...]
    warnings: tuple[str, ...]
    more: tuple[tuple[str, str], ...]
    moment: str
    score: str
    place: str
    mark: str
    against: str
    novelty: str
    judged: str
    picture: Picture | None
    missing: str = "no picture"


def study_of(row: Mapping[str, Any], picture: Picture | None, facts: ReportFacts) -> Study:
    """What the page says of one study, from its row in `triage.csv`."""
    born, sex = shown_date(row["patient_birth_date"]), row["patient_sex"]
    taken = f"{shown_date(row['study_date'])} {shown_time(row['study_time'])}".strip()
    images = [counted(row["images"], "image")]
    if row["images_scored"] != row["images"]:
        images.append(f"{row['images_scored']} scored")
    if row["images_gone"]:
        images.append(f"{counted(row['images_gone'], 'file')} gone")
    score, threshold, novelty = row["score"], row["threshold"], row["novelty"]
    judged = "" if novelty is None else f"novelty {novelty:.2f} of 1"
    if picture is not None and picture.peak:
        judged += f" \N{MIDDLE DOT} map strongest {picture.peak}"
    return Study(
        row=row,
        name=shown_name(row["patient_name"]),
        words=_present(row["priority"], _change(row)),
        who=_present(
            row["patient_id"],
            f"born {born}" if born else "",
            f"sex {sex}" if sex else "",
            f"accession {row['accession_number']}" if row["accession_number"] else "",
        ),
        film=_present(
            f"taken {taken}" if taken else "",
            f"{row['modality']} {row['view_position']}".strip(),
            row["station_name"],
            *images,
        ),
        warnings=tuple(words_of(code) for code in row["warnings"].split(";") if code),
        more=tuple(_more(row, facts)),
        moment=f"{row['study_date']}{row['study_time']}",
        score="" if score is None else f"{score:.4f}",
        place="" if score is None else f"{score:.1%}",
        mark="" if score is None else f"{threshold:.1%}",
        against="" if score is None else f"{row['finding']}, threshold {threshold:.4f}",
        novelty="" if novelty is None else f"{novelty:.3f}",
        judged=judged,
        picture=picture,
    )


def _present(*parts: str) -> tuple[str, ...]:
    return tuple(part for part in parts if part)


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


def words_of(code: str) -> str:
    """A warning in words, with its code; the code alone where an earlier version wrote it."""
    known = code in Warn.__members__
    return f"{WARNINGS[Warn(code)]} ({code})" if known else code
