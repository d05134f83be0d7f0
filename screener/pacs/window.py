"""Which days a pull asks for. Pure: the mark, the clock and the site's time zone decide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from screener.errors import UsageError

LAST = "last"
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """Study dates from the first to the last, both asked for."""

    first: date
    last: date

    def days(self) -> Iterator[date]:
        """Each day, oldest first."""
        for number in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=number)

    def holds(self, study_date: str) -> bool:
        """Whether a date as DICOM writes it lies inside; an empty one may."""
        return not study_date or f"{self.first:%Y%m%d}" <= study_date <= f"{self.last:%Y%m%d}"


def zone_of(name: str) -> tzinfo | None:
    """A time zone by its name; None, this machine's own, for an empty one.

    Raises:
        UsageError: there is none of that name.
    """
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"[pull] time_zone = {name!r} is not known",
            mend="write it as Europe/Berlin, and install the package tzdata where it is missing",
        ) from None


def since_mark(
    mark: datetime | None, now: datetime, overlap_hours: float, zone: tzinfo | None
) -> Window:
    """From so long before the mark to tomorrow: a modality's clock may be ahead.

    A mark that lies in the future, because a clock was set back, counts as now.
    """
    reached = now if mark is None else min(mark, now)
    first = (reached - timedelta(hours=overlap_hours)).astimezone(zone).date()
    return Window(first, _tomorrow(now, zone))


def since_date(text: str, now: datetime, zone: tzinfo | None) -> Window:
    """From a day that the user gave to tomorrow.

    Raises:
        UsageError: it is no day, or lies in the future.
    """
    first, last = parse_date(text), _tomorrow(now, zone)
    if first > last:
        raise UsageError(f"{text!r} lies in the future")
    return Window(first, last)


def study_dates(text: str) -> Window:
    """The days of `--study-date`: one, or two with a stroke between.

    Raises:
        UsageError: they are none.
    """
    parts = re.fullmatch(r"(\d{8})(?:-(\d{8}))?|(\d{4}-\d\d-\d\d)", text)
    if parts is None:
        raise UsageError(
            f"{text!r} is no study date", mend="write 20260131, or 20260131-20260203 for four days"
        )
    first = parse_date(parts[1] or parts[3])
    last = parse_date(parts[2]) if parts[2] else first
    if first > last:
        raise UsageError(f"{text!r} ends before it begins")
    return Window(first, last)


def parse_date(text: str) -> date:
    """A day as DICOM or ISO 8601 writes it.

    Raises:
        UsageError: it is none.
    """
    found = _DATE.fullmatch(text)
    try:
        if found is not None:
            return date(*(int(each) for each in found.groups()))
    except ValueError:
        pass
    raise UsageError(f"{text!r} is no day", mend="write 20260131")


def _tomorrow(now: datetime, zone: tzinfo | None) -> date:
    return now.astimezone(zone).date() + timedelta(days=1)


def stamp(moment: datetime) -> str:
    """As the state keeps it: ISO 8601 UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
