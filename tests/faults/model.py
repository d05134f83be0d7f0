"""What the contract says of nights in a row, as plain Python over a dictionary: no SQL, no state.

`Model.walk` is what a run learns of the paths, `Model.rows` what its report must say of each study.
It is written from the contract's text, so that it and the program can be wrong only apart.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

KEEP = timedelta(days=90)
WINDOW = timedelta(days=2)
URGENCY = ("FLAGGED", "NOT_SCREENED", "NOT_FLAGGED", "NOT_APPLICABLE")
Threshold = tuple[Path, float]
"""A model and what its scores are compared with."""
Told = tuple[str, str, tuple[str, ...], frozenset[tuple[str, str]]]
"""Triage, priority, identifiers, images."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file as it may lie at any path, and what becomes of it.

    Attributes:
        name: For the reader of a failed test.
        data: Its bytes.
        study: Its study key, `path` where the path makes one, empty for no image.
        patient: The patient id.
        sop: The SOP Instance UID.
        pixels: Stands for the model input; empty where there is none.
        identity: What of the header the report tells: accession number and patient id first.
        outcome: `SCORED` and so on.
        reason: The reason code.
        score: Of every model.
        sha: Of the bytes.
    """

    name: str
    data: bytes
    study: str
    patient: str
    sop: str
    pixels: str
    identity: tuple[str, ...]
    outcome: str = ""
    reason: str = ""
    score: float = 0.0
    sha: str = ""


@dataclass(slots=True)
class Known:
    """An image that is known of a path, there or gone; `judged` is by what, None for no score."""

    key: bytes
    path: str
    content: Content
    study: str
    gone: bool
    seen: datetime
    judged: Threshold | None

    @property
    def image(self) -> str:
        """What counts as one image."""
        return self.content.sop or self.content.sha


@dataclass(frozen=True, slots=True)
class Row:
    """What the report must say of a study, or of one of its patients."""

    told: Told
    images: int
    images_scored: int
    images_gone: int


@dataclass(slots=True)
class Model:
    """All that the program may know after some nights."""

    known: dict[bytes, Known] = field(default_factory=dict)
    first_seen: dict[str, datetime] = field(default_factory=dict)
    taken_in: dict[str, dict[str, frozenset[tuple[str, str]]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """Study -> patient -> its images when a baseline was published."""
    history: dict[str, list[tuple[int, dict[str, Told]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Study -> number and rows of each published report that covered it."""
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Path -> reason and hash, where the last report that covered it had it FAILED."""
    scored: set[tuple[str, Path]] = field(default_factory=set)
    """Model inputs that a model has scored."""

    # -- what a run learns ----------------------------------------------------------------------

    def walk(
        self,
        world: Mapping[str, Content],
        roots: list[str],
        now: datetime,
        by: Threshold,
        *,
        rescan: bool,
    ) -> None:
        """Take in what lies at every path below the roots, and forget what is gone for long."""
        since = now - WINDOW
        inside = {path: world[path] for path in sorted(world) if os.path.dirname(path) in roots}
        # Films are kept in batches, all else at once.
        for path in sorted(inside, key=lambda path: inside[path].outcome == "SCORED"):
            self._meet(path, inside[path], now, by, since, rescan=rescan)
        for each in self.known.values():
            below = os.path.dirname(each.path) in roots
            if below and not each.gone and each.path not in inside:
                each.gone, each.seen = True, max(each.seen, now)
            is_recent = each.judged is not None and self.first_seen[each.study] >= since
            if is_recent and (each.content.pixels, by[0]) in self.scored:
                each.judged = by
        self._forget(now)

    def _meet(
        self,
        path: str,
        content: Content,
        now: datetime,
        by: Threshold,
        since: datetime,
        *,
        rescan: bool,
    ) -> None:
        key = os.fsencode(path)
        before = self.known.get(key)
        if before is not None and before.content.sha == content.sha and not rescan:
            outdated = before.judged not in (None, by) and self.first_seen[before.study] >= since
            if not outdated or (content.pixels, by[0]) in self.scored:
                before.gone = False
                if content.outcome == "FAILED":
                    before.seen = now
                return
        judged = by if content.outcome == "SCORED" else None
        study = study_of(path, content)
        if judged is not None:
            self.scored.add((content.pixels, by[0]))
            if not rescan and self.first_seen.get(study, now) < since:
                judged = self._former(study, content.pixels, by)
        is_lost = before is not None and (
            before.content.sha != content.sha or content.outcome == "FAILED"
        )
        if before is not None and before.judged is not None and is_lost:
            former = key + b"\0" + before.content.sha.encode()
            self.known[former] = replace(before, key=former, gone=True, seen=max(before.seen, now))
        if content.outcome != "FAILED":
            self.known.pop(key + b"\0" + content.sha.encode(), None)
        self.known[key] = Known(key, path, content, study, False, now, judged)
        if study:
            self.first_seen.setdefault(study, now)

    def _former(self, study: str, pixels: str, by: Threshold) -> Threshold:
        """By what a film of an older study was judged, wherever it lay."""
        others = sorted(
            (each.key, each.judged)
            for each in self.known.values()
            if (each.study, each.content.pixels) == (study, pixels)
            and each.judged is not None
            and each.judged != by
        )
        return others[0][1] if others else by

    def _forget(self, now: datetime) -> None:
        for key, each in list(self.known.items()):
            nameless = each.content.outcome == "FAILED" and each.study.startswith("path:")
            if each.gone and (nameless or each.seen < now - KEEP):
                del self.known[key]
        studies = {each.study for each in self.known.values()}
        pixels = {each.content.pixels for each in self.known.values()}
        self.scored = {each for each in self.scored if each[0] in pixels}
        for study in self.first_seen.keys() - studies:
            for table in (self.first_seen, self.taken_in, self.history):
                table.pop(study, None)

    # -- what its report says -------------------------------------------------------------------

    def rows(
        self, roots: list[str], words: Mapping[str, str], *, baseline: bool
    ) -> dict[tuple[str, str], Row]:
        """Study and patient -> row; the patient is empty where the study has but one."""
        covered = {
            each.study
            for each in self.known.values()
            if each.study and os.path.dirname(each.path) in roots
        }
        found = {}
        for study in covered:
            images = [self.known[key] for key in sorted(self.known)]
            images = [each for each in images if each.study == study]
            patients = sorted({each.content.patient for each in images} - {""})
            for patient in ["", *patients] if len(patients) > 1 else [""]:
                own = [each for each in images if each.content.patient == patient]
                own = own if len(patients) > 1 else images
                if own:
                    taken = None if baseline else self.taken_in[study].get(patient)
                    found[study, patient] = _row(own, words, baseline=baseline, taken_in=taken)
        return found

    def published(
        self,
        number: int,
        rows: Mapping[tuple[str, str], Row],
        world: Mapping[str, Content],
        roots: list[str],
        *,
        baseline: bool,
    ) -> None:
        """A report is out and marked."""
        for study in {study for study, _ in rows}:
            said = {patient: row.told for (key, patient), row in rows.items() if key == study}
            self.history[study].append((number, said))
        for (study, patient), row in rows.items() if baseline else ():
            self.taken_in[study][patient] = row.told[3]
        for path in [path for path in self.failed if os.path.dirname(path) in roots]:
            del self.failed[path]
        for path, content in world.items():
            if os.path.dirname(path) in roots and content.outcome == "FAILED":
                self.failed[path] = (content.reason, content.sha)

    def change(self, key: tuple[str, str], row: Row, base: int | None) -> tuple[str, str]:
        """`change` and `previous_triage` against the last report, or one that `--since` names."""
        study, patient = key
        reports = [
            said for number, said in self.history.get(study, ()) if base is None or number <= base
        ]
        last = reports[-1].get(patient) if reports else None
        if last is None:
            return "NEW", ""
        return ("SAME" if last == row.told else "CHANGED"), last[0]

    def copy_of(self, path: str) -> tuple[str, bool]:
        """Of which path one is a copy, and whether its UID stands for other pixels too."""
        own = self.known[os.fsencode(path)]
        if not own.study:
            return "", False
        images = [each for each in self.known.values() if each.study == own.study]
        first: dict[str, str] = {}
        for each in sorted(images, key=lambda each: (each.gone, each.key)):
            for content in {each.content.pixels, each.content.sha} - {""}:
                first.setdefault(content, each.path)
        original = first[own.content.pixels or own.content.sha]
        pixels = {
            each.content.pixels
            for each in images
            if each.content.sop and each.content.sop == own.content.sop and each.content.pixels
        }
        return ("" if original == path else original), len(pixels) > 1


def study_of(path: str, content: Content) -> str:
    """The study key of a file at a path."""
    if content.study == "path":
        return f"path:{sha256(os.fsencode(path)).hexdigest()}"
    return content.study


def _row(
    images: list[Known],
    words: Mapping[str, str],
    *,
    baseline: bool,
    taken_in: frozenset[tuple[str, str]] | None,
) -> Row:
    scored = [each for each in images if each.judged is not None]
    uids = {each.content.sop for each in scored} - {""}
    failed = any(
        each.content.outcome == "FAILED" and each.content.sop not in uids for each in images
    )
    best: tuple[tuple[int, float], str, Known] | None = None
    # Images of an earlier time are judged by the threshold of their time.
    for judged in dict.fromkeys(each.judged for each in scored):
        if judged is None:
            continue
        group = [each for each in scored if each.judged == judged]
        worst = min(group, key=lambda each: (-each.content.score, each.content.sop, each.path))
        flagged = worst.content.score >= judged[1]
        triage = "FLAGGED" if flagged else "NOT_SCREENED" if failed else "NOT_FLAGGED"
        falling = 0.0 if triage == "NOT_SCREENED" else -worst.content.score
        order = (URGENCY.index(triage), falling)
        if best is None or order < best[0]:
            best = order, triage, worst
    if best is not None:
        triage, deciding = best[1], best[2]
    else:
        triage = "NOT_SCREENED" if failed else "NOT_APPLICABLE"
        deciding = min(images, key=lambda each: (each.content.outcome != "FAILED", each.key))
    content = frozenset((each.image, each.content.pixels or each.content.sha) for each in images)
    priority = {"FLAGGED": "HIGH", **words}.get(triage, "")
    if baseline or taken_in == content:
        priority = ""
    return Row(
        (triage, priority, deciding.content.identity, content),
        len({each.image for each in images}),
        len({each.image for each in scored}),
        sum(each.gone for each in images),
    )
