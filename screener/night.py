"""One run over the roots: walk, examine, score, and bring the ledger up to date.

One path is one step; memory does not grow with their number.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from screener.discovery import Found, walk
from screener.domain import (
    Examined,
    FileStamp,
    OperatingPoint,
    Radiograph,
    Rejection,
    Unchanged,
)
from screener.errors import NothingToScreenError
from screener.examine_settings import ExamineSettings
from screener.file_systems import FileSystems
from screener.judge import judge_of
from screener.ledger import Ledger
from screener.ledger_paths import KnownPaths
from screener.ledger_schema import files_of_state
from screener.outcomes import ReasonCode
from screener.publication import last_number
from screener.record import RunRecord
from screener.rescan import Need, Run, need_of
from screener.scoring import Batches, Pending, Scorer
from screener.settings import Settings
from screener.summary import Progress, Stop
from screener.tombstones import Tombstones, key_of_tombstones
from screener.workers import Task, WorkerPool

if TYPE_CHECKING:
    from screener.bundle import Bundle
    from screener.precision import Choice

CHUNK = 400
COMMIT_EVERY_S = 5.0
REHASH_SHARE = 30


@dataclass(slots=True)
class Night:
    """One run over the roots: what is shared between its steps."""

    ledger: Ledger
    state: Path
    classifier: Scorer
    choice: Choice
    points: tuple[OperatingPoint, ...]
    settings: Settings
    examine_settings: ExamineSettings
    roots: list[bytes]
    progress: Callable[[Progress], None]
    stop: Stop
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.monotonic)
    keys: count[int] = field(default_factory=count)
    number: int = 0
    base_run: int = 0
    run_id: str = ""
    points_id: int = 0
    record: RunRecord = field(init=False)
    found: int = 0
    done: int = 0
    examined: int = 0
    walked: bool = False
    committed: float = field(default_factory=time.monotonic)
    pending: list[Pending] = field(default_factory=list)
    batches: Batches = field(init=False)
    paths: KnownPaths = field(init=False)

    @property
    def bundle(self) -> Bundle:
        """The model of the run."""
        return self.choice.bundle

    @property
    def now(self) -> str:
        """The time of the run, ISO 8601 UTC; one for all its rows, so that they sort as one."""
        return f"{self.started_at:%Y-%m-%dT%H:%M:%SZ}"

    def before(self, days: float) -> str:
        """A time so many days before the run."""
        return f"{self.started_at - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"

    def begin(self, published: int) -> None:
        """Take the next number, higher than `published`, the highest of the kept reports."""
        ledger, bundle = self.ledger, self.bundle
        self.paths = KnownPaths(ledger)
        self.points_id = ledger.register(
            bundle.sha256, bundle.name, bundle.card.findings, bundle.card.prevalence, self.points
        )
        self.number, self.run_id = ledger.start_run(
            f"{self.started_at:%Y%m%dT%H%M%SZ}", self.now, bundle.sha256, published
        )
        self.base_run = self.number - 1

    def examine_all(self, pool: WorkerPool, out: Path) -> None:
        """Walk the roots and bring the ledger up to date."""
        ledger = self.ledger
        purged = Tombstones(ledger, self.state)
        since = self.settings.since
        base_run = ledger.run_number(since) if since else None
        self.begin(last_number(out))
        self.base_run = self.number - 1 if base_run is None else base_run
        self.record = RunRecord(
            ledger=ledger,
            paths=self.paths,
            purged=purged,
            judge=judge_of(self.examine_settings),
            roots=self.roots,
            number=self.number,
            now=self.now,
            bundle_sha256=self.bundle.sha256,
            points_id=self.points_id,
            provider=self.classifier.provider,
            settle_s=self.settings.settle,
            # Whoever asks for all to be read again asks the model in force.
            renewed_since="" if self.settings.rescan else self.before(self.settings.rescreen.days),
        )
        ledger.commit()
        with Batches(self.classifier, self._is_scored) as self.batches:
            for task, result in pool.run(self._tasks(out)):
                self._receive(task, result)
            self._score_the_rest()
            self._tick()
            self._require_enough()
            self.paths.mark_gone(self.number, self.now, self.roots)
            for task, result in pool.run(self._recheck()):
                self._receive(task, result)
            self._score_the_rest()
        since = self.before(self.settings.rescreen.days)
        for path, pixels_sha256 in self.paths.outdated(self.points_id, since):
            self.record.rejudge(path, pixels_sha256)
        self.paths.forget_gone(self.before(self.settings.keep_days))
        self.examined = self.record.examined
        ledger.commit()

    def _tasks(self, out: Path) -> Iterator[Task]:
        run = Run(
            self.points_id,
            self.record.judge,
            self.settings.rescan,
            self.paths.recent_studies(self.before(self.settings.rescreen.days)),
        )
        exclude = [os.fsencode(out), *(os.fsencode(p) for p in self.settings.exclude)]
        own = {os.fsencode(path) for path in files_of_state(self.state)}
        own.add(os.fsencode(out) + b".key")
        own.add(os.fsencode(key_of_tombstones(self.state)))
        systems = FileSystems()
        entries = (item for item in walk(self.roots, exclude) if item.path not in own)
        while chunk := list(islice(entries, CHUNK)):
            self.stop.check()
            known = self.paths.known([item.path for item in chunk])
            self.found += len(chunk)
            unchanged, returned = 0, []
            for item in chunk:
                status = None if item.rejection else _lstat(item.path)
                stamp = None if status is None else FileStamp.of(status)
                before = known.get(item.path)
                if item.rejection is not None:
                    self._require_listed(item, item.rejection)
                    examined = Examined(None, "", None, item.rejection)
                    self.record.reject(item.path, examined, item.rejection)
                    continue
                made_up = status is not None and systems.makes_up(status.st_dev)
                need = need_of(before, stamp, run, made_up=made_up)
                if (
                    need is Need.REJUDGE
                    and before is not None
                    and not self.record.rejudge(item.path, before.pixels_sha256)
                ):
                    need = Need.EXAMINE
                if need in (Need.NOTHING, Need.REJUDGE) and before is not None:
                    self.paths.seen.add(before.number)
                    unchanged += 1
                    if before.gone:
                        returned.append(item.path)
                    continue
                if stamp is not None:
                    self.record.stamps[item.path] = stamp
                sha256 = before.sha256 if need is Need.HASH and before is not None else ""
                yield Task(next(self.keys), item.path, sha256)
            self.paths.returned(returned)
            self.done += unchanged
            self._tick()
        self.walked = True

    def _recheck(self) -> Iterator[Task]:
        for path, sha256 in self.paths.oldest_checked(self.number, REHASH_SHARE, self.roots):
            yield Task(next(self.keys), path, sha256)

    def _receive(self, task: Task, result: Examined | Unchanged) -> None:
        self.stop.check()
        if isinstance(result, Unchanged):
            self.record.confirm(task.path, result.stamp)
            self.done += 1
        elif self.record.purged.hold(result.instance):
            self.record.reject_purged(task.path)
        elif isinstance(result.result, Radiograph):
            self.pending.append(Pending(task, result, result.result))
            if len(self.pending) >= self.classifier.batch:
                self._begin_batch(len(self.pending))
        else:
            self.record.reject(task.path, result, result.result)
        self._tick()

    def _is_scored(self, key: str) -> bool:
        return self.record.novelty(key) is not None

    def _begin_batch(self, size: int) -> None:
        """Begin to score the first films that wait; write the rows of the batches before."""
        self.batches.begin(self.pending[:size])
        del self.pending[:size]
        while self.batches.is_full:
            self.record.keep(self.batches.take())

    def _score_the_rest(self) -> None:
        """Score what waits, in as many parts as are computed at once, and write all rows."""
        share = -(-len(self.pending) // self.classifier.at_once)
        while self.pending:
            self._begin_batch(share)
        while not self.batches.is_empty:
            self.record.keep(self.batches.take())

    def _tick(self) -> None:
        done = self.done + self.record.examined
        self.progress(Progress(self.found, done, self.walked))
        if time.monotonic() - self.committed > COMMIT_EVERY_S:
            self.ledger.commit()
            self.committed = time.monotonic()

    def _require_listed(self, item: Found, rejection: Rejection) -> None:
        """A folder below a PATH that cannot be listed is a row; PATH itself is the archive."""
        if rejection.code is ReasonCode.UNREADABLE and item.path in self.roots:
            raise NothingToScreenError(
                f"{os.fsdecode(item.path)!r} cannot be listed: {rejection.detail}",
                "an archive that went away must not replace a good report",
                "mend the mount or the permissions; the last report is untouched",
            )

    def _require_enough(self) -> None:
        for root in self.roots:
            if not self.settings.allow_empty and not self.paths.saw_any(self.number, root):
                raise NothingToScreenError(
                    f"nothing is in {os.fsdecode(root)!r}",
                    "an archive that is not mounted must not replace a good report",
                    "mount it, or give --allow-empty; the last report is untouched",
                )
        if self.found < self.settings.min_paths:
            raise NothingToScreenError(
                f"only {self.found} paths were found, fewer than min_paths = "
                f"{self.settings.min_paths}",
                "an archive that is half mounted must not replace a good report",
                "mount it, or lower min_paths; the last report is untouched",
            )


def _lstat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        # The worker opens it next and says what is wrong with it.
        return None
