"""What a run writes of each path into the ledger: a rejection, a score, or a verdict on a score."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from screener import __version__
from screener.discovery import display_path
from screener.domain import Examined, FileStamp, Radiograph, Rejection
from screener.keys import is_below, patient_key, study_key
from screener.ledger import ImageRecord
from screener.outcomes import Outcome, ReasonCode
from screener.preprocess import PREPROCESSING

if TYPE_CHECKING:
    from screener.judge import Judge
    from screener.ledger import Ledger
    from screener.ledger_paths import KnownPaths
    from screener.scoring import Scored
    from screener.tombstones import Tombstones

PREPROCESSING_VERSION = int(PREPROCESSING["version"])


@dataclass(slots=True)
class RunRecord:
    """The rows of one run.

    Attributes:
        ledger: Takes them; commits are the caller's.
        paths: What is known of every path.
        purged: The patients who are to leave no row.
        judge: What decides in this run.
        roots: Where the run walks.
        number: Of the run.
        now: Its time, one for all rows.
        bundle_sha256: The model.
        points_id: Its operating points.
        provider: What computes the scores.
        settle_s: A cut file younger than this is still being written.
        renewed_since: Studies first seen before it keep the verdict of their time; empty for none.
        stamps: What `lstat` said of paths that are out to be examined, for those whose examination
            says nothing.
        examined: How many rows were written.
    """

    ledger: Ledger
    paths: KnownPaths
    purged: Tombstones
    judge: Judge
    roots: list[bytes]
    number: int
    now: str
    bundle_sha256: str
    points_id: int
    provider: str
    settle_s: float
    renewed_since: str = ""
    stamps: dict[bytes, FileStamp] = field(default_factory=dict)
    examined: int = 0

    def confirm(self, path: bytes, stamp: FileStamp) -> None:
        """The content is what it was: so is the row."""
        self.paths.confirm(self.number, self.now, path, stamp)
        self.stamps.pop(path, None)

    def reject(self, path: bytes, examined: Examined, rejection: Rejection) -> None:
        """A path that is not scored."""
        self._put(path, examined, None, self._settled(examined, rejection))

    def reject_purged(self, path: bytes) -> None:
        """A row that says there is a file, and nothing of it: its path may hold a name."""
        root = next((root for root in self.roots if is_below(path, root)), b"")
        named = root.rstrip(b"/") + b"/" + self.purged.name_of(path)
        self.stamps.pop(path, None)
        # Found when a known path was read again, there would be two rows of one path.
        self.ledger.vacate(path, self.now)
        rejection = Rejection(ReasonCode.PURGED)
        self._put(named, Examined(None, "", None, rejection), None, rejection)

    def rejudge(self, path: bytes, pixels_sha256: str) -> bool:
        """Take a path's verdict from a score that is already there; False where it is not."""
        novelty = self.novelty(pixels_sha256)
        if novelty is None:
            return False
        code = code_of_novelty(novelty)
        outcome = Rejection(code).outcome if code else Outcome.SCORED
        self.paths.rejudge(path, self.points_id, outcome.value, code.value if code else "")
        return True

    def keep(self, scored: Scored) -> None:
        """The scores of a batch, and a row for each film that waited for them."""
        for key, score in scored.scores.items():
            self.ledger.put_score(
                key,
                self.bundle_sha256,
                PREPROCESSING_VERSION,
                score,
                self.provider,
                __version__,
                self.now,
            )
        for film in scored.films:
            novelty = self.novelty(film.radiograph.pixels_sha256)
            if novelty is None:
                raise ValueError("a film of a batch without a score")
            code = code_of_novelty(novelty)
            rejection = Rejection(code) if code else None
            path = film.task.path
            former = self.paths.former_verdict(
                study_key(path, film.examined, Outcome.SCORED),
                film.radiograph.pixels_sha256,
                self.points_id,
                self.renewed_since,
            )
            self._put(path, film.examined, film.radiograph, rejection)
            if former is not None:
                # An older study's film that was moved, or its header touched.
                self.paths.rejudge(path, *former)

    def novelty(self, pixels_sha256: str) -> float | None:
        """The novelty of a model input; None where this model has not scored it."""
        return self.ledger.novelty(pixels_sha256, self.bundle_sha256, PREPROCESSING_VERSION)

    def _settled(self, examined: Examined, rejection: Rejection) -> Rejection:
        """A cut file that is young is still being written."""
        if rejection.code is not ReasonCode.TRUNCATED or examined.stamp is None:
            return rejection
        age_s = time.time() - examined.stamp.mtime_ns / 1e9
        young = -self.settle_s < age_s < self.settle_s
        return replace(rejection, code=ReasonCode.UNSTABLE) if young else rejection

    def _put(
        self,
        path: bytes,
        examined: Examined,
        radiograph: Radiograph | None,
        rejection: Rejection | None,
    ) -> None:
        instance = examined.instance
        warnings = set(instance.warnings) if instance else set()
        if radiograph is not None:
            warnings |= radiograph.warnings
        outcome = (rejection.outcome if rejection else Outcome.SCORED).value
        self.ledger.put(
            self.number,
            ImageRecord(
                path=path,
                source=self._source(path),
                stamp=examined.stamp or self.stamps.get(path),
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
        self.stamps.pop(path, None)
        self.examined += 1

    def _source(self, path: bytes) -> str:
        for root in self.roots:
            if is_below(path, root):
                return display_path(root)
        return ""


def code_of_novelty(novelty: float) -> ReasonCode | None:
    """Why a scored image is turned away, None where it is not; a novelty that is no number is."""
    return None if novelty <= 1.0 else ReasonCode.NOVEL
