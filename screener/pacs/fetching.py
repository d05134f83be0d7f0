"""The work of a pull: lists of days, studies and series, and each object once, with patience."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import TypeVar

from screener.pacs.answer import Answer, Reply
from screener.pacs.archive import Archive, Entry, Film, Page, Question, UnansweredError, is_uid
from screener.pacs.arrival import Shelf, fault_of, file_name
from screener.pacs.doors import Retry
from screener.pacs.listing import IncompleteError, Lister
from screener.pacs.pull_state import OBJECT, PullState
from screener.summary import Stop

_LOST_IN_A_ROW = 3
_ONCE = Retry(attempts=1)
_LONGEST_KEPT = 200
Answered = TypeVar("Answered")


class ShutError(Exception):
    """Nothing more goes through the door now: `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Fetched:
    """What became of a pull.

    `unlisted` counts days that could not be listed, by code; `parted` those that were listed in
    parts, because the server takes no offset.
    """

    studies: int = 0
    known: int = 0
    stored: int = 0
    stored_bytes: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unlisted: Counter[str] = field(default_factory=Counter)
    parted: int = 0
    shut: str = ""


@dataclass(slots=True)
class Fetching:
    """One pull: what its steps share. `repair` fetches again what is known and has no file."""

    archive: Archive
    state: PullState
    shelf: Shelf
    lister: Lister
    retry: Retry
    ends: float
    stop: Stop
    progress: Callable[[int], None]
    repair: bool = False
    result: Fetched = field(default_factory=Fetched)
    _patience: Retry | None = None
    _lost: int = 0

    def day(self, day: date, modality: str) -> bool:
        """Fetch what a day holds of a modality; whether all of it is stored or recorded as missing.

        Raises:
            ShutError: the door is shut; the rest waits.
            NoRoomError: a bound of the disk is reached.
        """
        question = Question(day, modality)
        complete = True
        try:
            studies: Mapping[str, Entry] = self.lister.studies(self._studies, question)
        except IncompleteError as error:
            self.result.unlisted[error.code] += 1
            studies, complete = error.found, False
        except UnansweredError as error:
            self.result.unlisted[error.answer.code] += 1
            self._count(error.answer)
            return False
        for study in studies.values():
            self.study(study.uid, study.date or question.study_date, modality, study.count)
        return complete

    def study(self, uid: str, study_date: str, modality: str, count: int | None = None) -> None:
        """Fetch the objects of a study, or record that it could not be listed; raises as `day`."""
        self._may_go_on()
        self.result.studies += 1
        now = datetime.now(UTC)
        if not is_uid(uid):
            self.state.put_study(uid[:_LONGEST_KEPT], modality, study_date, "BAD_UID", now)
            self.result.failed["BAD_UID"] += 1
            return
        code = ""
        try:
            for film in self._films(uid, study_date, modality, count):
                if isinstance(film, str):
                    code = film
                else:
                    self.film(film)
        except UnansweredError as error:
            self._count(error.answer)
            code = error.answer.code
        if code:
            self.state.put_study(uid, modality, study_date, code, now)
            self.result.failed[code] += 1
        else:
            self.state.study_listed(uid, modality)

    def film(self, film: Film, *, again: bool = False) -> None:
        """Fetch an object where it is not known, or is to be tried again; raises as `day`."""
        if self.state.is_purged(film.sop_instance_uid):
            self.result.known += 1
            return
        kept = self.state.file_of(film.sop_instance_uid)
        if kept is not None and not (self.repair and not self.shelf.holds(kept)):
            self.result.known += 1
            return
        recorded = self.state.is_recorded(OBJECT, film.sop_instance_uid)
        if kept is None and recorded and not again and not self.repair:
            # Known to be missing: what is new comes first.
            return
        self._may_go_on()
        self.shelf.check(0)
        now, name, cut = datetime.now(UTC), file_name(film), [b""]
        try:
            content = self._patiently(partial(self._sound, film, cut))
        except UnansweredError as error:
            code = error.answer.code
            if code == "CUT":
                # Cut in the archive itself, perhaps: the scan then tells of it.
                self.shelf.keep(name, cut[0])
            file = name if code == "CUT" else ""
            self.state.put(film, "MISSING", now, code=code, file=file)
            self.result.failed[code] += 1
            self._count(error.answer)
            return
        self.shelf.keep(name, content)
        self.state.put(film, "STORED", now, file=name)
        self._lost, self._patience = 0, None
        self.result.stored += 1
        self.result.stored_bytes += len(content)
        self.progress(self.result.stored)

    # -- asking -------------------------------------------------------------------------------

    def _sound(self, film: Film, cut: list[bytes]) -> bytes:
        """An object that is what was asked for."""
        content = self.archive.fetch(film)
        fault = fault_of(content, film)
        if fault == "CUT":
            cut[0] = content
            raise UnansweredError(Answer(Reply.LATER, fault))
        if fault:
            raise UnansweredError(Answer(Reply.REFUSED, fault))
        return content

    def _studies(self, question: Question, offset: int) -> Page:
        page = self._patiently(partial(self.archive.studies, question, offset))
        for each in page.entries:
            if each.date and each.date.replace(".", "") != question.study_date:
                raise IncompleteError("DATE_IGNORED", {})
        return page

    def _films(
        self, study: str, study_date: str, modality: str, count: int | None
    ) -> Iterator[Film | str]:
        """The objects of a study; a code among them where there may be more."""

        def members(
            ask: Callable[[int], Page], expected: int | None
        ) -> tuple[Mapping[str, Entry], str]:
            try:
                return self.lister.members(
                    lambda offset: self._patiently(partial(ask, offset)), expected
                ), ""
            except IncompleteError as error:
                return error.found, error.code

        series, code = members(partial(self.archive.series, study), count)
        if code:
            yield code
        for one in series.values():
            if one.modality not in {"", modality}:
                continue
            if not is_uid(one.uid):
                yield "BAD_UID"
                continue
            objects, code = members(partial(self.archive.objects, study, one.uid), one.count)
            if code:
                yield code
            for each in objects.values():
                if is_uid(each.uid):
                    yield Film(each.uid, one.uid, study, study_date, each.sop_class)
                else:
                    yield "BAD_UID"

    def _patiently(self, ask: Callable[[], Answered]) -> Answered:
        """Ask, and again after growing waits where that may help."""
        waits = iter((self._patience or self.retry).waits_s())
        while True:
            self.stop.check()
            try:
                return ask()
            except UnansweredError as error:
                wait_s = next(waits, None) if error.answer.may_pass else None
                if wait_s is None:
                    raise
            self._pause(wait_s)

    def _pause(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.stop.check()
            time.sleep(min(left, 0.2))

    def _count(self, answer: Answer) -> None:
        """Shut the door where nothing more will go through it.

        One object may bring a server down each time: the next ones get their chance, but one that
        is down is not asked two thousand times.
        """
        if answer.reply is Reply.REFUSED:
            self._lost = 0
            return
        self._patience = _ONCE if answer.may_pass else self._patience
        self._lost += 1
        if self._lost >= _LOST_IN_A_ROW or not answer.may_pass:
            raise ShutError(answer.code)

    def _may_go_on(self) -> None:
        self.stop.check()
        if time.monotonic() > self.ends:
            raise ShutError("TIME_IS_UP")
