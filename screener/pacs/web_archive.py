"""An archive behind DICOMweb: QIDO-RS by dicomweb-client, WADO-RS read as it comes.

The client would decode and write an object anew, and takes one that ends too early for whole; here
its bytes are kept as the archive sent them, and the end of the message must be there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.message import Message
from functools import partial
from types import TracebackType
from typing import Any, Self

import requests
from dicomweb_client.uri import URI
from urllib3.exceptions import HTTPError

from screener.pacs.answer import Answer, Reply, of_network_error
from screener.pacs.archive import Entry, Film, Page, Question, UnansweredError
from screener.pacs.dicomweb import of_request_error, open_client, open_session
from screener.pacs.doors import DicomWeb

_STUDY, _SERIES, _OBJECT = "0020000D", "0020000E", "00080018"
_STUDY_DATE, _MODALITY, _SOP_CLASS = "00080020", "00080060", "00080016"
_SERIES_OF_STUDY, _OBJECTS_OF_SERIES = "00201206", "00201209"
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_CHUNK = 1 << 18
# PS3.18 8.3.4.4: there are more results than these.
_MORE = "299"
# Of one object, not of the door: it went away, or is not for us, or not in any syntax.
_OF_THE_OBJECT = frozenset({400, 403, 404, 406, 409, 410, 413, 415})
_NO_LIST = Answer(Reply.UNREACHABLE, "NO_LIST")
_NO_OBJECT = Answer(Reply.REFUSED, "NO_OBJECT")


class WebArchive:
    """QIDO-RS (PS3.18 10.6) and WADO-RS (10.4). A context manager; connections are kept."""

    def __init__(self, door: DicomWeb, page: int, most_bytes: int, object_s: float) -> None:
        """Prepare the session; nothing is sent yet.

        Args:
            door: Where.
            page: Entries that are asked for at a time.
            most_bytes: An object may be so long.
            object_s: After so long one that still comes is given up.

        Raises:
            UsageError: a secret or certificate of the door cannot be used.
        """
        self._door, self._page = door, page
        self._most_bytes, self._object_s = most_bytes, object_s
        self._session = open_session(door)
        self._client = open_client(door, self._session)
        self._more = False
        self._session.hooks["response"].append(self._look)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    def studies(self, question: Question, offset: int) -> Page:
        """One page of studies; see `Archive`."""
        filters = {"StudyDate": question.study_date, "ModalitiesInStudy": question.modality}
        if question.study_time:
            filters["StudyTime"] = question.study_time
        search = partial(
            self._client.search_for_studies,
            limit=self._page,
            offset=offset,
            fields=[_SERIES_OF_STUDY],
            search_filters=filters,
        )
        return self._page_of(search, _STUDY, _SERIES_OF_STUDY)

    def series(self, study_uid: str, offset: int) -> Page:
        """One page of series; see `Archive`."""
        search = partial(
            self._client.search_for_series,
            study_uid,
            limit=self._page,
            offset=offset,
            fields=[_OBJECTS_OF_SERIES],
        )
        return self._page_of(search, _SERIES, _OBJECTS_OF_SERIES)

    def objects(self, study_uid: str, series_uid: str, offset: int) -> Page:
        """One page of objects; see `Archive`."""
        search = partial(
            self._client.search_for_instances,
            study_uid,
            series_uid,
            limit=self._page,
            offset=offset,
        )
        return self._page_of(search, _OBJECT, "")

    def fetch(self, film: Film) -> bytes:
        """A file's content; see `Archive`."""
        uri = URI(
            self._door.root,
            film.study_instance_uid,
            film.series_instance_uid,
            film.sop_instance_uid,
            permissive=True,
        )
        try:
            with self._session.get(
                str(uri), headers={"Accept": _ACCEPT}, stream=True, timeout=self._door.timeout_s
            ) as response:
                if response.status_code in _OF_THE_OBJECT:
                    raise UnansweredError(Answer(Reply.REFUSED, f"HTTP {response.status_code}"))
                response.raise_for_status()
                body = self._read(response)
                return _part(body, response.headers.get("Content-Type", ""))
        except requests.RequestException as error:
            raise UnansweredError(of_request_error(error)) from None
        except (HTTPError, OSError) as error:
            raise UnansweredError(of_network_error(error)) from None

    def _read(self, response: requests.Response) -> bytes:
        """The whole body, within its bounds of length and time."""
        ends = time.monotonic() + self._object_s
        body = bytearray()
        # As it comes: a server that sends a byte now and then is never late for the next one.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > self._most_bytes:
                raise UnansweredError(Answer(Reply.REFUSED, "TOO_LARGE"))
            if time.monotonic() > ends:
                raise UnansweredError(Answer(Reply.UNREACHABLE, "TIMEOUT"))
        return bytes(body)

    def _page_of(
        self, search: Callable[[], list[dict[str, dict[Any, Any]]]], uid: str, count: str
    ) -> Page:
        self._more = False
        try:
            found = search()
            entries = tuple(_entry(each, uid, count) for each in found)
        except requests.exceptions.InvalidJSONError:
            raise UnansweredError(_NO_LIST) from None
        except requests.RequestException as error:
            raise UnansweredError(of_request_error(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            # A body that is no DICOM JSON, or an entry without the UID that it is about.
            raise UnansweredError(_NO_LIST) from None
        return Page(entries, more=self._more)

    def _look(self, response: requests.Response, **_: object) -> None:
        self._more = response.headers.get("Warning", "").lstrip().startswith(_MORE)


def _entry(found: Mapping[str, Mapping[str, Any]], uid: str, count: str) -> Entry:
    counted = _first(found, count)
    return Entry(
        uid=str(found[uid]["Value"][0]),
        date=str(_first(found, _STUDY_DATE) or ""),
        modality=str(_first(found, _MODALITY) or ""),
        sop_class=str(_first(found, _SOP_CLASS) or ""),
        count=None if counted in {None, ""} else int(counted),
    )


def _first(found: Mapping[str, Mapping[str, Any]], tag: str) -> Any:
    values = found.get(tag, {}).get("Value") or [None]
    return values[0]


def _part(body: bytes, content_type: str) -> bytes:
    """The one object in a message of parts (RFC 2046 5.1), whose end must be there."""
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_type() == "application/dicom":
        # Without parts, as some servers answer; its length was checked by the transport alone.
        return body
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise UnansweredError(_NO_OBJECT)
    mark = b"--" + boundary.encode("latin-1", "replace")
    begin = body.find(mark)
    head_ends = body.find(b"\r\n\r\n", begin)
    end = body.find(b"\r\n" + mark, head_ends + 2)
    if begin < 0 or head_ends < 0:
        raise UnansweredError(_NO_OBJECT)
    if end < 0:
        raise UnansweredError(Answer(Reply.LATER, "CUT"))
    return body[head_ends + 4 : end]
