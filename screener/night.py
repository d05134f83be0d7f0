"""One run over the roots: walk, examine, score, and bring the ledger up to date.

One path is one step; memory does not grow with their number.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from screener import __version__
from screener.discovery import Found, display_path, walk
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
from screener.judge import Judge, judge_of
from screener.keys import is_below, patient_key, study_key
from screener.ledger import ImageRecord, Ledger
from screener.ledger_paths import KnownPaths
from screener.ledger_schema import files_of_state
from screener.outcomes import Outcome, ReasonCode
from screener.preprocess import PREPROCESSING
from screener.publication import last_number
from screener.rescan import Need, Run, need_of
from screener.scoring import Batches, Pending, Scored, Scorer
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
PREPROCESSING_VERSION = int(PREPROCESSING["version"])


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
    judge: Judge = field(init=False)
    purged: Tombstones = field(init=False)
    found: int = 0
    done: int = 0
    examined: int = 0
    walked: bool = False
    committed: float = field(default_factory=time.monotonic)
    pending: list[Pending] = field(default_factory=list)
    batches: Batches = field(init=False)
    failing: dict[bytes, FileStamp] = field(default_factory=dict)
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
        self.purged = Tombstones(ledger, self.state)
        since = self.settings.since
        base_run = ledger.run_number(since) if since else None
        self.begin(last_number(out))
        self.base_run = self.number - 1 if base_run is None else base_run
        self.judge = judge_of(self.examine_settings)
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
            self._rejudge(path, pixels_sha256)
        self.paths.forget_gone(self.before(self.settings.keep_days))
        ledger.commit()

    def _tasks(self, out: Path) -> Iterator[Task]:
        run = Run(
            self.points_id,
            self.judge,
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
                    self._reject(item, item.rejection)
                    continue
                made_up = status is not None and systems.makes_up(status.st_dev)
                need = need_of(before, stamp, run, made_up=made_up)
                if (
                    need is Need.REJUDGE
                    and before is not None
                    and not self._rejudge(item.path, before.pixels_sha256)
                ):
                    need = Need.EXAMINE
                if need in (Need.NOTHING, Need.REJUDGE) and before is not None:
                    self.paths.seen.add(before.number)
                    unchanged += 1
                    if before.gone:
                        returned.append(item.path)
                    continue
                if stamp is not None:
                    self.failing[item.path] = stamp
                sha256 = before.sha256 if need is Need.HASH and before is not None else ""
                yield Task(next(self.keys), item.path, sha256)
            self.paths.returned(returned)
            self.done += unchanged
            self._tick()
        self.walked = True

    def _recheck(self) -> Iterator[Task]:
        for path, sha256 in self.paths.oldest_checked(self.number, REHASH_SHARE, self.roots):
            yield Task(next(self.keys), path, sha256)

    def _rejudge(self, path: bytes, pixels_sha256: str) -> bool:
        """Take a path's verdict from a score that is already there; False where it is not."""
        novelty = self._novelty(pixels_sha256)
        if novelty is None:
            return False
        outcome, code = _by_novelty(novelty)
        self.paths.rejudge(path, self.points_id, outcome, code)
        return True

    def _reject(self, item: Found, rejection: Rejection) -> None:
        self._put(item.path, Examined(None, "", None, rejection), None, rejection)

    def _receive(self, task: Task, result: Examined | Unchanged) -> None:
        self.stop.check()
        if isinstance(result, Unchanged):
            self.paths.confirm(self.number, self.now, task.path, result.stamp)
            self.failing.pop(task.path, None)
            self.done += 1
        elif self.purged.hold(result.instance):
            self._put_purged(task.path)
        elif isinstance(result.result, Radiograph):
            self.pending.append(Pending(task, result, result.result))
            if len(self.pending) >= self.classifier.batch:
                self._begin_batch(len(self.pending))
        else:
            self._put(task.path, result, None, self._settled(result, result.result))
        self._tick()

    def _put_purged(self, path: bytes) -> None:
        """A row that says there is a file, and nothing of it: its path may hold a name."""
        root = next((root for root in self.roots if is_below(path, root)), b"")
        named = root.rstrip(b"/") + b"/" + self.purged.name_of(path)
        self.failing.pop(path, None)
        # Found when a known path was read again, there would be two rows of one path.
        self.ledger.vacate(path, self.now)
        rejection = Rejection(ReasonCode.PURGED)
        self._put(named, Examined(None, "", None, rejection), None, rejection)

    def _settled(self, examined: Examined, rejection: Rejection) -> Rejection:
        """A cut file that is young is still being written."""
        if rejection.code is not ReasonCode.TRUNCATED or examined.stamp is None:
            return rejection
        age_s = time.time() - examined.stamp.mtime_ns / 1e9
        young = -self.settings.settle < age_s < self.settings.settle
        return replace(rejection, code=ReasonCode.UNSTABLE) if young else rejection

    def _is_scored(self, key: str) -> bool:
        return self._novelty(key) is not None

    def _novelty(self, key: str) -> float | None:
        return self.ledger.novelty(key, self.bundle.sha256, PREPROCESSING_VERSION)

    def _begin_batch(self, size: int) -> None:
        """Begin to score the first films that wait; write the rows of the batches before."""
        self.batches.begin(self.pending[:size])
        del self.pending[:size]
        while self.batches.is_full:
            self._keep(self.batches.take())

    def _score_the_rest(self) -> None:
        """Score what waits, in as many parts as are computed at once, and write all rows."""
        share = -(-len(self.pending) // self.classifier.at_once)
        while self.pending:
            self._begin_batch(share)
        while not self.batches.is_empty:
            self._keep(self.batches.take())

    def _keep(self, scored: Scored) -> None:
        for key, score in scored.scores.items():
            self.ledger.put_score(
                key,
                self.bundle.sha256,
                PREPROCESSING_VERSION,
                score,
                self.classifier.provider,
                __version__,
                self.now,
            )
        for film in scored.films:
            novelty = self._novelty(film.radiograph.pixels_sha256)
            if novelty is None:
                raise ValueError("a film of a batch without a score")
            outcome, code = _by_novelty(novelty)
            rejection = Rejection(ReasonCode(code)) if code else None
            self._put(film.task.path, film.examined, film.radiograph, rejection, outcome)

    def _put(
        self,
        path: bytes,
        examined: Examined,
        radiograph: Radiograph | None,
        rejection: Rejection | None,
        outcome: str = "",
    ) -> None:
        instance = examined.instance
        warnings = set(instance.warnings) if instance else set()
        if radiograph is not None:
            warnings |= radiograph.warnings
        outcome = outcome or (rejection.outcome.value if rejection else Outcome.SCORED.value)
        stamp = examined.stamp or self.failing.get(path)
        self.failing.pop(path, None)
        self.ledger.put(
            self.number,
            ImageRecord(
                path=path,
                source=self._source(path),
                stamp=stamp,
                sha256=examined.sha256,
                study_key=study_key(path, examined, outcome),
                patient_key=patient_key(instance),
                outcome=outcome,
                reason_code=rejection.code.value if rejection else "",
                detail=rejection.detail if rejection else "",
                judged_by=self.judge.judged_by(outcome, instance),
                examined_at=self.now,
                warnings=";".join(sorted(warning.value for warning in warnings)),
                instance=instance,
                radiograph=radiograph,
                decode_ms=examined.decode_ms,
                points_id=self.points_id if radiograph is not None else None,
            ),
        )
        self.done += 1
        self.examined += 1

    def _source(self, path: bytes) -> str:
        for root in self.roots:
            if is_below(path, root):
                return display_path(root)
        return ""

    def _tick(self) -> None:
        self.progress(Progress(self.found, self.done, self.walked))
        if time.monotonic() - self.committed > COMMIT_EVERY_S:
            self.ledger.commit()
            self.committed = time.monotonic()

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


def _by_novelty(novelty: float) -> tuple[str, str]:
    """The outcome of a scored image; a novelty that is no number turns it away."""
    if novelty <= 1.0:
        return Outcome.SCORED.value, ""
    return Outcome.INELIGIBLE.value, ReasonCode.NOVEL.value
