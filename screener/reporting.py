"""From the ledger to the published report of one night: verdicts, files, the switch, the mark."""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screener import __version__
from screener.domain import Triage
from screener.durable import access_for
from screener.errors import RunError, UsageError
from screener.identifiers import report_key
from screener.log import EventLog
from screener.model_card import write_card
from screener.outcomes import Outcome
from screener.publication import finish_interrupted, open_to_others, publish_run
from screener.report.columns import TRIAGE_COLUMNS
from screener.report.html import LISTED
from screener.report.images import ImagesWriter, ImageTable
from screener.report.layout import CONTRACT, TableLayout
from screener.report.page import ReportFacts
from screener.report.page_guard import PageGuard
from screener.report.paths import PathStore
from screener.report.rows import shown_path
from screener.report.store import ReportStore
from screener.report.verdicts import Report, verdicts
from screener.report.writers import writers_of
from screener.report_facts import LastReport
from screener.summary import RunSummary

if TYPE_CHECKING:
    from screener.night import Night

__all__ = ["finish_interrupted", "publish"]

LIBRARIES = ("pydicom", "numpy", "pillow", "imagecodecs", "onnxruntime", "onnxruntime-gpu")


def publish(
    night: Night, out: Path, command: tuple[str, ...], events: EventLog | None = None
) -> RunSummary:
    """Write and publish the report of a night, and mark in the ledger what it said.

    Raises:
        RunError: the counts do not add up (a bug), or the disk failed; the last report is intact.
    """
    from screener.summary import RunSummary

    store, paths = ReportStore(night.ledger), PathStore(night.ledger.db, night.roots)
    report = _report(night)
    outcomes = paths.counts()
    seen = sum(sum(codes.values()) for codes in outcomes.values())
    if seen != night.found:
        raise RunError(
            f"{night.found} paths were found but {seen} have a row",
            "a report that is not complete is not published; the last one is intact",
            "please report this as a bug",
        )
    made_by = report.fingerprint
    # What is new is told against the run before: against an older one all is looked at.
    known = made_by if night.base_run == night.number - 1 and not report.baseline else ""
    store.write_verdicts(verdicts(store, store.study_rows(night.roots, known), report))
    store.keep_verdicts(night.roots, known)
    tallies = Tallies()
    for row in store.read_verdicts(night.run_id):
        tallies.add(row)
    new_failures = paths.new_failures()
    failed = sum(outcomes.get(Outcome.FAILED, {}).values())
    fails = {"new": new_failures, "any": failed, "never": 0}[night.settings.fail_on]
    notices = [night.classifier.notice] if night.classifier.notice else []
    if night.choice.decided:
        precision = night.bundle.card.precision
        notices.append(
            f"takes the {precision} model, because {night.choice.why}; kept in the state"
        )
    access = access_for(night.settings.output.mode, night.settings.output.group)
    if open_to_others(out, access):
        closing = "go-rwx" if access.gid is None else "g-w,o-rwx"
        notices.append(
            f"the output folder is open to others; `chmod {closing}` it, it holds patient data"
        )
    summary = RunSummary(
        run_id=night.run_id,
        out=out,
        exit_code=3 if fails else 0,
        outcomes=outcomes,
        triage={name.value: tallies.triage[name.value] for name in Triage},
        new_studies=tallies.new,
        new_failures=new_failures,
        provider=night.classifier.provider,
        model=night.bundle.name,
        operating_point=night.points[0].name,
        elapsed_s=time.monotonic() - night.started,
        examined=night.examined,
        notices=tuple(notices),
    )
    page, facts = PageGuard(), _facts(night, summary, tallies)
    key = b""
    if night.settings.identifiers == "pseudonym":
        key = report_key(out)
    table = ImageTable(
        tuple(night.roots), night.run_id, report.findings, night.settings.identifiers, key
    )
    # Another process sees what is committed.
    night.ledger.commit()
    images = ImagesWriter(table, night.ledger.db, night.state, summary.paths)
    writers = writers_of(
        store,
        night.run_id,
        images,
        page,
        facts,
        night.settings,
        site_layout(night.settings.report),
        key,
    )
    publish_run(
        out, night.run_id, writers, lambda: _run_facts(night, summary, command, page), access
    )
    # In one transaction with the mark.
    LastReport.of(night.roots, night.settings, out, night.run_id).keep(night.ledger)
    store.mark_published(night.number, _now(), night.roots, made_by)
    store.drop_thumbnails(night.before(30))
    night.ledger.commit()
    if images.lost:
        (events or EventLog()).event("images_process_lost", run_id=night.run_id, how=images.lost)
    if page.fault:
        (events or EventLog()).event("page_failed", run_id=night.run_id, fault=page.fault)
        notice = f"report.html could not be drawn ({page.fault}): please report it as a bug;"
        summary = replace(summary, notices=(*summary.notices, f"{notice} triage.csv is whole"))
    return summary


def tell_failures(night: Night, events: EventLog) -> None:
    """One event for each path that FAILED, by its place in `images.csv`, never by its name."""
    if not events.is_open:
        return
    for row, path, code, reported in PathStore(night.ledger.db, night.roots).failed():
        events.event(
            "path_failed",
            {"path": shown_path(path)},
            run_id=night.run_id,
            row=row,
            reason_code=code,
            is_new=not reported,
        )


@dataclass(slots=True)
class Tallies:
    """Studies counted by what the report says of them."""

    triage: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    new: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one study."""
        self.triage[row["triage"]] += 1
        self.reasons[row["reason_code"]] += 1
        self.changes[row["change"]] += 1
        self.new += row["is_new"]
        if row["warnings"]:
            self.warnings.update(row["warnings"].split(";"))


def _report(night: Night) -> Report:
    return Report(
        run_id=night.run_id,
        base_run=night.base_run,
        findings=night.bundle.card.findings,
        points_id=night.points_id,
        points=night.ledger.points(),
        bundles=night.ledger.bundles(),
        model=night.bundle.name,
        model_sha256=night.bundle.sha256,
        provider=night.classifier.provider,
        software_version=__version__,
        priorities={Triage(name): word for name, word in night.settings.priority.items()},
        baseline=night.settings.baseline,
        identifiers=night.settings.identifiers,
    )


def _facts(night: Night, summary: RunSummary, tallies: Tallies) -> ReportFacts:
    """What the head of the page says of the run."""
    return ReportFacts(
        run_id=night.run_id,
        started_at=night.now,
        elapsed_s=summary.elapsed_s,
        software_version=__version__,
        provider=summary.provider,
        identifiers=night.settings.identifiers,
        card=night.bundle.card,
        model_sha256=night.bundle.sha256,
        points=night.points,
        outcomes=summary.outcomes,
        triage=summary.triage,
        reasons=tallies.reasons,
        warnings=tallies.warnings,
        changes=tallies.changes,
        new_failures=summary.new_failures,
        failures=[
            failure | {"path": shown_path(failure["path"])}
            for failure in PathStore(night.ledger.db, night.roots).failures(LISTED)
        ],
        notices=summary.notices,
    )


def site_layout(layout: TableLayout) -> TableLayout:
    """The site's shape of `triage.csv`; the contract's where the site file says nothing.

    Raises:
        UsageError: a column that does not exist.
    """
    if layout == TableLayout():
        return CONTRACT
    try:
        layout.choose(TRIAGE_COLUMNS)
    except ValueError as error:
        raise UsageError(
            f"[report] of the site file: {error}", mend="the README lists the columns"
        ) from None
    return layout


def _run_facts(
    night: Night, summary: RunSummary, command: tuple[str, ...], page: PageGuard
) -> dict[str, Any]:
    facts = {
        "started_at": night.now,
        "finished_at": _now(),
        "elapsed_s": round(summary.elapsed_s, 3),
        "paths": summary.paths,
        "outcomes": summary.outcomes,
        "triage": summary.triage,
        "new_studies": summary.new_studies,
        "new_failures": summary.new_failures,
        "examined": summary.examined,
        "exit_code": summary.exit_code,
        "provider": summary.provider,
        "precision": night.bundle.card.precision,
        "precision_reason": night.choice.why,
        "operating_points": [point.name for point in night.points],
        "thresholds": [point.threshold for point in night.points],
        "model_sha256": night.bundle.sha256,
        "model_card": json.loads(write_card(night.bundle.card)),
        "versions": {
            "screener": __version__,
            "python": platform.python_version(),
            **_versions(),
        },
        "command": list(command) if night.settings.identifiers == "full" else [],
        "identifiers": night.settings.identifiers,
    }
    return {**facts, "page_fault": page.fault} if page.fault else facts


def _versions() -> dict[str, str]:
    """Of the libraries that decide a score, those that are installed."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
