"""From what the reports say to what is queued: which studies, which objects, through which doors.

Idempotent: planned twice, nothing more is queued. What is planned of a study is made of what the
report says of it now; an older plan that still waits is replaced.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from screener.domain import Triage
from screener.outcomes import Warn
from screener.pacs.identity import identity_of, object_uid
from screener.pacs.queue import Queue, Row, Wanted
from screener.settings import Settings
from screener.triage import sort_key

SR, KEY_IMAGE, WORKLIST, CSV = "sr", "key_image", "worklist", "csv"
OBJECTS = (SR, KEY_IMAGE)
FILM_GONE = "FILM_GONE"


@dataclass(frozen=True, slots=True)
class Plan:
    """What became of the studies of the reports: how many stand for each way out."""

    studies: int
    conflicts: int
    taken_in: int
    too_old: int
    queued: int


def plan(queue: Queue, settings: Settings, now: datetime, done: frozenset[str]) -> Plan:
    """Queue what the reports say and the doors do not know yet.

    Args:
        queue: Of the state.
        settings: What the site file says of `[publish]`, `[worklist]` and `[csv]`.
        now: For ages, and as the time of queueing.
        done: Accession numbers of studies that were read: nothing is raised any more.
    """
    queue.forget_unknown()
    oldest = f"{now - timedelta(days=settings.publish.days):%Y-%m-%dT%H:%M:%SZ}"
    rows = sorted(
        queue.told(),
        key=lambda row: sort_key(Triage(row["triage"]), row["score"], row["study_key"]),
    )
    conflicting = {row["study_key"] for row in rows if in_conflict(row)}
    for study_key in conflicting:
        queue.hold_back(study_key)
    counts = Counter[str]()
    for urgency, row in enumerate(rows):
        if row["study_key"] in conflicting:
            counts["conflicts"] += 1
            continue
        # Nothing is begun with what an archive brought along, or was said long ago.
        new = not row.get("taken_in") and row["said_at"] >= oldest
        queued, missing = _plan_study(queue, row, urgency, settings, now, done, new=new)
        counts["queued"] += queued
        counts["taken_in" if row.get("taken_in") else "too_old"] += missing
    queue.commit()
    return Plan(
        studies=len(rows),
        conflicts=counts["conflicts"],
        taken_in=counts["taken_in"],
        too_old=counts["too_old"],
        queued=counts["queued"],
    )


def _plan_study(
    queue: Queue,
    row: Mapping[str, Any],
    urgency: int,
    settings: Settings,
    now: datetime,
    done: frozenset[str],
    *,
    new: bool,
) -> tuple[int, bool]:
    """Queue what a study lacks: how many things that were, and whether age kept one from it."""
    place = (row["study_key"], row["patient_key"])
    images = queue.images(row["study_key"])
    referable = _referable(images, row)
    wishes = list(_wishes(row, settings, done, referable=bool(referable)))
    queue.drop_others(*place, {(kind, door) for kind, door, _ in wishes})
    queued, missing = 0, False
    for kind, door, form in wishes:
        last = queue.last(*place, kind, door)
        if last is None and not _starts(kind, door, row, settings):
            continue
        if last is None and not new:
            missing = True
            continue
        identity = identity_of(row, kind, form)
        if last is not None and last["identity"] == identity:
            if last["state"] == "IMPOSSIBLE" and _is_back(last["code"], images):
                queue.requeue(last["id"])
                queued += 1
            continue
        said = {
            "row": row,
            "images": referable,
            "form": form,
            "findings": queue.findings(row["model_sha256"]),
        }
        wanted = Wanted(*place, kind, door, identity, urgency, json.dumps(said))
        _put(queue, wanted, now)
        queued += 1
    return queued, missing


def _put(queue: Queue, wanted: Wanted, now: datetime) -> None:
    uid = predecessor = ""
    if wanted.kind in OBJECTS:
        place = (wanted.study_key, wanted.patient_key, wanted.kind, wanted.door)
        predecessor = queue.delivered_uid(*place)
        uid = object_uid(wanted.identity)
        if queue.uid_used(uid, wanted.door):
            # Said before, then something else, and now again: it follows what was said last.
            uid = object_uid(wanted.identity, predecessor)
    queue.put(wanted, uid, predecessor, f"{now:%Y-%m-%dT%H:%M:%SZ}")


def in_conflict(row: Mapping[str, Any]) -> bool:
    """Whether a study has images of different patients: it is held back from every door."""
    return Warn.IDENTITY_CONFLICT.value in str(row["warnings"]).split(";")


def _wishes(
    row: Mapping[str, Any], settings: Settings, done: frozenset[str], *, referable: bool
) -> Iterator[tuple[str, str, str]]:
    """Kind, door and form of everything that a study may get."""
    publish = settings.publish
    if referable:
        for door in publish.structured_report:
            yield SR, door, publish.sr_class
        if row["triage"] == Triage.FLAGGED and row["score"] is not None:
            for door in publish.key_image:
                yield KEY_IMAGE, door, publish.key_image_kind
    read = bool(row["accession_number"]) and row["accession_number"] in done
    is_study = bool(row["study_instance_uid"])
    if settings.worklist.folder is not None and row["priority"] and is_study and not read:
        yield WORKLIST, WORKLIST, settings.worklist.ae_title
    for name, importer in settings.csv.items():
        if is_study or row["accession_number"] or not importer.only_studies:
            yield CSV, name, ""


def _starts(kind: str, door: str, row: Mapping[str, Any], settings: Settings) -> bool:
    """Whether something is sent of a study of which nothing of its kind was sent before."""
    if kind == SR:
        return row["triage"] in settings.publish.triage
    if kind == CSV:
        return bool(row["priority"]) or not settings.csv[door].only_raised
    return True


def _referable(images: Sequence[Row], row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The images of a study that an object can refer to, each once, the deciding one first."""
    found: dict[str, dict[str, str]] = {}
    names = ("sop_class_uid", "sop_instance_uid", "series_instance_uid")
    complete = [
        image for image in images if row["study_instance_uid"] and all(image[n] for n in names)
    ]
    scored = [image for image in complete if image["outcome"] == "SCORED"]
    for image in scored or complete:
        uid = image["sop_instance_uid"]
        if uid in found:
            continue
        found[uid] = {name: image[name] for name in names} | {
            "path": bytes(image["path"]).partition(b"\0")[0].hex(),
            "sha256": image["sha256"],
            "cam": bytes(image["cam"]).hex() if image["cam"] is not None else "",
        }
    return sorted(
        found.values(), key=lambda each: each["sop_instance_uid"] != row["sop_instance_uid"]
    )


def _is_back(code: str, images: Sequence[Row]) -> bool:
    return code == FILM_GONE and any(
        os.path.exists(image["path"]) for image in images if b"\0" not in image["path"]
    )
