"""When something was screened, in the words of DICOM and in the time zone of the study."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from pydicom import Dataset

_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")


def local_moment(screened_at: str, header: Dataset) -> datetime:
    """Our own time (ISO 8601 UTC) in the zone that the header states, else in this machine's."""
    moment = datetime.fromisoformat(screened_at) if screened_at else datetime.now(UTC)
    return moment.astimezone(_zone(str(header.get("TimezoneOffsetFromUTC") or "")))


def _zone(offset: str) -> tzinfo | None:
    found = _OFFSET.fullmatch(offset.strip())
    if found is None:
        return None
    sign = -1 if found[1] == "-" else 1
    minutes = sign * (int(found[2]) * 60 + int(found[3]))
    # PS3.3 C.12.1.1: -1200 to +1400.
    return timezone(timedelta(minutes=minutes)) if -720 <= minutes <= 840 else None


def stamp_content(dataset: Dataset, moment: datetime) -> None:
    """Give an object the time of the screening, so that it is the same whenever it is made."""
    dataset.ContentDate = f"{moment:%Y%m%d}"
    dataset.ContentTime = f"{moment:%H%M%S}"
    dataset.InstanceCreationDate = dataset.ContentDate
    dataset.InstanceCreationTime = dataset.ContentTime
    dataset.SeriesDate, dataset.SeriesTime = dataset.ContentDate, dataset.ContentTime
