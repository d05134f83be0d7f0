"""An archive behind DIMSE: C-FIND for lists, C-GET or C-MOVE to our own receiver for objects."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context, build_role

from screener.pacs.answer import Answer, Reply, of_retrieve
from screener.pacs.archive import Entry, Film, Page, Question, UnansweredError
from screener.pacs.dimse import associate, contexts_for
from screener.pacs.doors import Dimse
from screener.pacs.receiver import NOT_ASKED_FOR, SYNTAXES, Receiving, stored_uid

FIND, MOVE, GET = (UID(f"1.2.840.10008.5.1.4.1.2.2.{number}") for number in (1, 2, 3))
"""Study root query and retrieval (PS3.4 C.6.2)."""
_PENDING = frozenset({0xFF00, 0xFF01})
# Nobody cancelled: the server has a limit and says so.
_CANCELLED = 0xFE00
_LOST = Answer(Reply.UNREACHABLE, "CONNECTION_LOST")


class DimseArchive:
    """C-FIND and C-GET or C-MOVE (PS3.4 C), study root. A context manager."""

    def __init__(self, door: Dimse, sop_classes: tuple[str, ...], receiver: Receiving | None):
        """Prepare; nothing is opened yet.

        Args:
            door: Where.
            sop_classes: Of what may come by C-GET, beside what lists name.
            receiver: Open, to fetch by C-MOVE; None to fetch by C-GET.
        """
        self._door, self._classes, self._receiver = door, set(sop_classes), receiver
        self._query: Association | None = None
        self._get: Association | None = None
        self._wanted, self._arrived = "", b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in (self._query, self._get):
            if each is not None and each.is_established:
                each.release()

    # -- lists --------------------------------------------------------------------------------

    def studies(self, question: Question, offset: int) -> Page:  # noqa: ARG002 - C-FIND has no pages
        """Every study that the server gives; see `Archive`."""
        return self._find(
            "STUDY",
            "StudyInstanceUID",
            StudyDate=question.study_date,
            StudyTime=question.study_time,
            ModalitiesInStudy=question.modality,
            StudyInstanceUID="",
            NumberOfStudyRelatedSeries=None,
        )

    def series(self, study_uid: str, offset: int) -> Page:  # noqa: ARG002
        """Every series of a study; see `Archive`."""
        return self._find(
            "SERIES",
            "SeriesInstanceUID",
            StudyInstanceUID=study_uid,
            SeriesInstanceUID="",
            Modality="",
            NumberOfSeriesRelatedInstances=None,
        )

    def objects(self, study_uid: str, series_uid: str, offset: int) -> Page:  # noqa: ARG002
        """Every object of a series; see `Archive`."""
        return self._find(
            "IMAGE",
            "SOPInstanceUID",
            StudyInstanceUID=study_uid,
            SeriesInstanceUID=series_uid,
            SOPInstanceUID="",
            SOPClassUID="",
        )

    def _find(self, level: str, key: str, **keys: object) -> Page:
        found: list[Entry] = []
        for status, identifier in self._ask(level, keys):
            if status not in _PENDING:
                cut_short = status == _CANCELLED and bool(found)
                if status != 0 and not cut_short:
                    raise UnansweredError(of_retrieve(status))
                return Page(tuple(found), paged=False, more=cut_short)
            if identifier is None:
                raise UnansweredError(Answer(Reply.LATER, "NO_LIST"))
            found.append(_entry(identifier, key))
        raise UnansweredError(_LOST)

    def _ask(self, level: str, keys: dict[str, object]) -> Iterator[tuple[int, Dataset | None]]:
        identifier = _identifier(level, keys)
        if self._query is None or not self._query.is_established:
            self._query = _opened(associate(self._door, contexts_for([FIND, MOVE])))
        yield from _answers(
            self._door, lambda one: one.send_c_find(identifier, FIND), self._query, FIND
        )

    # -- objects ------------------------------------------------------------------------------

    def fetch(self, film: Film) -> bytes:
        """A file's content; see `Archive`."""
        keys: dict[str, object] = {
            "StudyInstanceUID": film.study_instance_uid,
            "SeriesInstanceUID": film.series_instance_uid,
            "SOPInstanceUID": film.sop_instance_uid,
        }
        identifier = _identifier("IMAGE", keys)
        if self._receiver is None:
            return self._by_get(identifier, film)
        return self._by_move(identifier, film, self._receiver)

    def _by_get(self, identifier: Dataset, film: Film) -> bytes:
        if film.sop_class_uid and film.sop_class_uid not in self._classes:
            self._classes.add(film.sop_class_uid)
            if self._get is not None and self._get.is_established:
                self._get.release()
        if self._get is None or not self._get.is_established:
            self._get = _opened(self._associate_for_get())
        self._wanted, self._arrived = film.sop_instance_uid, b""
        status = _last(
            _answers(self._door, lambda one: one.send_c_get(identifier, GET), self._get, GET)
        )
        self._wanted = ""
        return _content(self._arrived, status)

    def _associate_for_get(self) -> Association | Answer:
        # One context a class and syntax, so that the server need not recode what it holds. 128 are
        # all that there may be (PS3.8 9.3.2.2).
        classes = sorted(self._classes)[: 127 // len(SYNTAXES)]
        contexts = [build_context(each, one) for each in classes for one in SYNTAXES]
        return associate(
            self._door,
            [build_context(GET), *contexts],
            roles=[build_role(each, scp_role=True) for each in classes],
            handlers=[(evt.EVT_C_STORE, self._on_store)],
        )

    def _on_store(self, event: evt.Event) -> int:
        if not self._wanted or stored_uid(event) != self._wanted:
            return NOT_ASKED_FOR
        self._arrived = event.encoded_dataset()
        return 0x0000

    def _by_move(self, identifier: Dataset, film: Film, receiver: Receiving) -> bytes:
        if self._query is None or not self._query.is_established:
            self._query = _opened(associate(self._door, contexts_for([FIND, MOVE])))
        with receiver.expecting(film.sop_instance_uid) as arrived:
            status = _last(
                _answers(
                    self._door,
                    lambda one: one.send_c_move(identifier, receiver.ae_title, MOVE),
                    self._query,
                    MOVE,
                )
            )
            return _content(arrived(), status)


def _content(arrived: bytes, status: int) -> bytes:
    if arrived:
        return arrived
    if status == 0x0000:
        raise UnansweredError(Answer(Reply.REFUSED, "NOT_SENT"))
    raise UnansweredError(of_retrieve(status))


def _opened(opened: Association | Answer) -> Association:
    if isinstance(opened, Answer):
        raise UnansweredError(opened)
    return opened


def _identifier(level: str, keys: dict[str, object]) -> Dataset:
    identifier = Dataset()
    with warnings.catch_warnings():
        # A UID of the archive's may break the standard; it is asked for as it came.
        warnings.simplefilter("ignore")
        identifier.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
    return identifier


def _answers(
    door: Dimse,
    send: Callable[[Association], Iterator[tuple[Dataset, Dataset | None]]],
    association: Association,
    model: str,
) -> Iterator[tuple[int, Dataset | None]]:
    """Statuses as numbers; what the library raises or leaves empty as what it means."""
    accepted = {each.abstract_syntax for each in association.accepted_contexts}
    if model not in accepted:
        raise UnansweredError(Answer(Reply.UNREACHABLE, "NO_QUERY"))
    began = time.monotonic()
    try:
        for status, identifier in send(association):
            if "Status" not in status:
                lost = time.monotonic() - began < door.timeout_s
                raise UnansweredError(_LOST if lost else Answer(Reply.UNREACHABLE, "TIMEOUT"))
            began = time.monotonic()
            yield int(status.Status), identifier
    except (RuntimeError, OSError):
        raise UnansweredError(_LOST) from None
    except ValueError:
        # A UID that cannot be written.
        raise UnansweredError(Answer(Reply.REFUSED, "BAD_UID")) from None


def _last(answers: Iterator[tuple[int, Dataset | None]]) -> int:
    status = 0xC000
    for status, _ in answers:  # noqa: B007 - the last one counts
        pass
    return status


def _entry(found: Dataset, key: str) -> Entry:
    count = None
    with suppress(ValueError, TypeError):
        told = found.get("NumberOfStudyRelatedSeries") or found.get(
            "NumberOfSeriesRelatedInstances"
        )
        count = None if told is None else int(told)
    uid = str(found.get(key) or "")
    if not uid:
        raise UnansweredError(Answer(Reply.LATER, "NO_LIST"))
    return Entry(
        uid=uid,
        date=str(found.get("StudyDate") or ""),
        modality=str(found.get("Modality") or ""),
        sop_class=str(found.get("SOPClassUID") or ""),
        count=count,
    )
