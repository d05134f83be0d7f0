"""What is asked of an archive, whichever door leads to it: pages of entries, and one object."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from screener.pacs.answer import Answer

# As long as VR UI allows (PS3.5 9.1). Letters and strokes are no UID's, but archives hold them;
# whatever could lead elsewhere in an address is refused.
_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
DAY_S = 86_400


class UnansweredError(Exception):
    """A question that got no answer: `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.code)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Entry:
    """What an archive says of a study, a series or an object; empty or None where it says nothing.

    `count`: series of a study, or objects of a series.
    """

    uid: str
    date: str = ""
    modality: str = ""
    sop_class: str = ""
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a query.

    `paged`: whether the next page may be asked for. `more`: the server said that there is more.
    """

    entries: tuple[Entry, ...]
    paged: bool = True
    more: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Studies of a day with a series of a modality, within seconds of the day where it is split."""

    day: date
    modality: str
    begin_s: int = 0
    end_s: int = DAY_S

    @property
    def study_date(self) -> str:
        """For matching (0008,0020)."""
        return f"{self.day:%Y%m%d}"

    @property
    def study_time(self) -> str:
        """For matching (0008,0030); empty for the whole day, which finds studies without a time."""
        if (self.begin_s, self.end_s) == (0, DAY_S):
            return ""
        return f"{_clock(self.begin_s)}-{_clock(self.end_s - 1)}.999999"


@dataclass(frozen=True, slots=True)
class Film:
    """An object that is to be fetched. Its UIDs are fit for an address: `is_uid`."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    study_date: str = ""
    sop_class_uid: str = ""


class Archive(Protocol):
    """What `WebArchive` and `DimseArchive` have in common. Every method raises UnansweredError."""

    def studies(self, question: Question, offset: int) -> Page:
        """One page of studies."""

    def series(self, study_uid: str, offset: int) -> Page:
        """One page of the series of a study, of every modality."""

    def objects(self, study_uid: str, series_uid: str, offset: int) -> Page:
        """One page of the objects of a series."""

    def fetch(self, film: Film) -> bytes:
        """A file's content, as it came."""


def is_uid(text: str) -> bool:
    """Whether it can stand in an address and in a query without meaning anything else."""
    return _UID.fullmatch(text) is not None and ".." not in text


def _clock(second: int) -> str:
    return f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}"
