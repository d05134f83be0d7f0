"""The policy's verdict on every study of the ledger, as a row that has no rank yet.

On the way from `screener.report.store`, which reads the ledger, to `screener.report.rows`.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from screener.body_part import BodyPart, join_body_parts, judge_body_part
from screener.domain import ImageFacts, OperatingPoint, StudyTriage, Triage, View
from screener.outcomes import Outcome, ReasonCode, Warn
from screener.report.columns import SCHEMA_VERSION
from screener.report.rows import shown_path
from screener.report.sameness import IDENTITY, Note, content_of, digest_of, image_identity, notes_of
from screener.triage import priority_of, sort_key, triage_study

if TYPE_CHECKING:
    from screener.report.store import ReportStore

Row = sqlite3.Row | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What every row of one report shares."""

    run_id: str
    base_run: int
    findings: tuple[str, ...]
    points_id: int
    points: Mapping[int, tuple[str, tuple[OperatingPoint, ...]]]
    bundles: Mapping[str, Row]
    model: str
    model_sha256: str
    provider: str
    software_version: str
    priorities: Mapping[Triage, str]
    baseline: bool
    identifiers: str = "full"

    @property
    def fingerprint(self) -> str:
        """Equal where the same images of a study give the same verdict."""
        made_of = [
            SCHEMA_VERSION, self.software_version, self.findings, self.points_id, self.model,
            self.model_sha256, self.provider, sorted(self.priorities.items()), self.identifiers,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def verdicts(store: ReportStore, rows: Iterable[Row], report: Report) -> Iterator[Verdict]:
    """Apply the policy to every study; `rows` come study by study."""
    for study_key, images in groupby(rows, key=lambda row: row["study_key"]):
        yield from _study(store, study_key, list(images), report)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A study's row before it has its rank.

    `key` orders it. `image`: path of the image that decided, or that a reader should look at.
    `notes`: path, duplicate of, UID conflict, for its images that have either.
    `baseline`: what its images are, where it is taken in without raising anything from now on.
    """

    key: tuple[float | int | str, ...]
    row: dict[str, Any]
    image: bytes
    notes: tuple[Note, ...]
    baseline: str | None


def _study(
    store: ReportStore, study_key: str, images: list[Row], report: Report
) -> Iterator[Verdict]:
    identities = sorted({image["patient_key"] for image in images} - {""})
    notes = notes_of(images)
    if len(identities) < 2:
        yield _verdict(store, study_key, "", images, report, notes, conflict=False)
        return
    for identity in ("", *identities):
        own = [image for image in images if image["patient_key"] == identity]
        if own:
            paths = {image["path"] for image in own}
            told = tuple(note for note in notes if note[0] in paths)
            yield _verdict(store, study_key, identity, own, report, told, conflict=True)


def _verdict(
    store: ReportStore,
    study_key: str,
    patient_key: str,
    images: list[Row],
    report: Report,
    notes: tuple[Note, ...],
    *,
    conflict: bool,
) -> Verdict:
    verdict, points = _judge(images, report)
    image = images[verdict.image] if verdict.image is not None else _representative(images)
    scored = verdict.image is not None and verdict.finding is not None
    finding = verdict.finding if verdict.finding is not None else 0
    point = points[finding] if scored else _current(report)[0]
    score = json.loads(image["scores"])[finding] if scored else None
    warnings = {name for i in images for name in i["warnings"].split(";") if name}
    warnings |= {Warn.UID_CONFLICT.value for note in notes if note[2]}
    if conflict:
        warnings.add(Warn.IDENTITY_CONFLICT.value)
    digest = digest_of(image, images)
    priority = priority_of(verdict.triage, report.priorities)
    content = content_of(images)
    # The second is how states of before have it.
    as_taken_in = (content, f"{verdict.triage} {digest}")
    taken_in = report.baseline or store.baseline(study_key, patient_key) in as_taken_in
    if taken_in:
        priority = ""
    last = store.last_reported(study_key, patient_key, report.base_run)
    newest = store.last_reported(study_key, patient_key, sys.maxsize)
    # A worklist that was given pseudonyms, or nothing, was not told whose study it is.
    reported = digest if report.identifiers == "full" else f"{report.identifiers} {digest}"
    told = (verdict.triage.value, priority, reported)
    change = "NEW" if last is None else "SAME" if _told(last) == told else "CHANGED"
    bundle = report.bundles.get(image["bundle_sha256"] or report.model_sha256)
    row: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": report.run_id,
        "triage": verdict.triage.value,
        "priority": priority,
        "reason_code": str(verdict.reason_code),
        "reason": verdict.reason,
        **{name: image[name] or "" for name in IDENTITY},
        "images": len({image_identity(i) for i in images}),
        "images_scored": len({image_identity(i) for i in images if i["outcome"] == "SCORED"}),
        "images_gone": sum(i["gone"] for i in images),
        "sop_instance_uid": image["sop_instance_uid"] or "",
        "finding": point.finding if scored else "",
        "score": score,
        "logit": json.loads(image["logits"])[finding] if scored else None,
        "threshold": point.threshold if scored else None,
        "operating_point": point.name if scored else "",
        "target_sensitivity": point.target_sensitivity if scored else None,
        "calibration_prevalence": json.loads(bundle["prevalence"])[finding]
        if scored and bundle
        else None,
        "novelty": image["novelty"],
        "warnings": ";".join(sorted(warnings)),
        "model": bundle["name"] if bundle else report.model,
        "model_sha256": image["bundle_sha256"] or report.model_sha256,
        "provider": image["provider"] or report.provider,
        "software_version": image["software_version"] or report.software_version,
        "source": image["source"],
        "study_key": study_key,
        "path": shown_path(image["path"]),
        "is_new": change != "SAME",
        "change": change,
        "previous_triage": last["triage"] if last is not None else "",
        "screened_at": image["scored_at"] or image["examined_at"],
        "digest": digest,
        "reported": reported,
        "taken_in": taken_in,
        "differs": newest is None or _told(newest) != told,
        "patient_key": patient_key,
    }
    urgency, falling, _ = sort_key(verdict.triage, score, study_key)
    key = (urgency, falling, study_key, patient_key)
    return Verdict(key, row, image["path"], notes, content if report.baseline else None)


def _told(last: Row) -> tuple[str, str, str]:
    return last["triage"], last["priority"], last["digest"]


def _judge(images: list[Row], report: Report) -> tuple[StudyTriage, tuple[OperatingPoint, ...]]:
    """The policy's verdict; images scored under an earlier model by the points of their time."""
    by_points: dict[int, list[int]] = defaultdict(list)
    unscored = []
    for index, image in enumerate(images):
        if image["outcome"] == "SCORED":
            by_points[image["points_id"]].append(index)
        else:
            unscored.append(index)
    scored_uids = {images[i]["sop_instance_uid"] for part in by_points.values() for i in part} - {
        "",
        None,
    }
    counted = [i for i in unscored if images[i]["sop_instance_uid"] not in scored_uids]
    best: tuple[tuple[int, float, str], StudyTriage, tuple[OperatingPoint, ...]] | None = None
    empty: list[int] = []
    for points_id, part in (by_points or {report.points_id: empty}).items():
        points = report.points[points_id][1]
        chosen = sorted(part + counted)
        found = triage_study([_facts(images[i]) for i in chosen], points)
        deciding = None if found.image is None else chosen[found.image]
        score = None
        if deciding is not None and found.finding is not None:
            score = json.loads(images[deciding]["scores"])[found.finding]
        verdict = StudyTriage(
            found.triage, found.reason_code, found.reason, deciding, found.finding
        )
        order = sort_key(verdict.triage, score, "")
        if best is None or order < best[0]:
            best = (order, verdict, points)
    if best is None:
        raise ValueError("a study without images")
    return best[1], best[2]


def _facts(image: Row) -> ImageFacts:
    return ImageFacts(
        Outcome(image["outcome"]),
        ReasonCode(image["reason_code"]) if image["reason_code"] else None,
        View(image["view"]) if image["view"] else View.UNKNOWN,
        tuple(json.loads(image["scores"])) if image["outcome"] == "SCORED" else (),
        image["sop_instance_uid"] or "",
        shown_path(image["path"]),
        other_body_part=BodyPart.OTHER
        is join_body_parts(
            judge_body_part(image["body_part_examined"] or ""),
            judge_body_part(image["anatomic_region"] or ""),
        ),
    )


def _representative(images: Sequence[Row]) -> Row:
    """The image that a reader should look at where none was scored."""
    order = ["FAILED", "SCORED", "INELIGIBLE", "NOT_AN_IMAGE"]
    return min(images, key=lambda image: (order.index(image["outcome"]), image["path"]))


def _current(report: Report) -> tuple[OperatingPoint, ...]:
    return report.points[report.points_id][1]
