"""A DICOMweb archive with the habits of servers that no Orthanc can be given, over HTTP."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydicom import Dataset

BOUNDARY = "odd-boundary"


@dataclass
class OddArchive:
    """What it holds and how it behaves; all may be changed while it runs.

    `cap`: entries that it gives at once, whatever `limit` says. `wado`: object -> what is answered
    in its place: a status, a body, or a function that gives the body.
    """

    films: list[Dataset] = field(default_factory=list)
    cap: int = 10**6
    takes_offset: bool = True
    takes_limit: bool = True
    takes_time: bool = True
    takes_date: bool = True
    warns: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    shuffles: bool = False
    wado: dict[str, int | bytes | Callable[[], bytes]] = field(default_factory=dict)
    qido_status: Callable[[str], int] = field(default=lambda _: 200)
    wait_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    url: str = ""

    def search(self, path: list[str], query: dict[str, str]) -> list[dict[str, Any]]:
        """The whole list that a query finds."""
        if path == ["studies"]:
            return self._studies(query)
        films = [each for each in self.films if each.StudyInstanceUID == path[1]]
        if path[2:] == ["series"]:
            uids = dict.fromkeys(str(each.SeriesInstanceUID) for each in films)
            return [
                _entry(
                    next(each for each in films if each.SeriesInstanceUID == uid),
                    ("SeriesInstanceUID", "Modality"),
                )
                | self._count(uid, "00201209")
                for uid in uids
            ]
        return [
            _entry(each, ("SOPInstanceUID", "SOPClassUID"))
            for each in films
            if each.SeriesInstanceUID == path[3]
        ]

    def _studies(self, query: dict[str, str]) -> list[dict[str, Any]]:
        found: dict[str, Dataset] = {}
        begin, _, end = query.get("StudyTime", "").partition("-")
        for each in self.films:
            moment = str(each.get("StudyTime") or "")
            if self.takes_date and each.StudyDate != query["StudyDate"]:
                continue
            if begin and self.takes_time and not (moment and begin <= moment <= end):
                continue
            if each.Modality == query["ModalitiesInStudy"]:
                found.setdefault(str(each.StudyInstanceUID), each)
        keys = ("StudyInstanceUID", "StudyDate")
        return [_entry(each, keys) | self._count(uid, "00201206") for uid, each in found.items()]

    def _count(self, uid: str, tag: str) -> dict[str, Any]:
        return {tag: {"vr": "IS", "Value": [self.counts[uid]]}} if uid in self.counts else {}


def _entry(film: Dataset, keywords: tuple[str, ...]) -> dict[str, Any]:
    """By hand: pydicom would warn of UIDs that are none."""
    elements = [film[keyword] for keyword in keywords]
    return {
        f"{int(each.tag):08X}": {"vr": each.VR, "Value": [str(each.value)]} for each in elements
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: else each answer waits for an acknowledgement of the first.
    wbufsize = -1
    disable_nagle_algorithm = True
    archive: OddArchive

    def do_GET(self) -> None:
        archive = self.archive
        time.sleep(archive.wait_s)
        parts = urlsplit(self.path)
        path = parts.path.strip("/").split("/")[1:]
        if path[-2:-1] == ["instances"]:
            self._object(path[-1])
            return
        query = dict(parse_qsl(parts.query))
        archive.asked.append(parts.path)
        status = archive.qido_status(parts.path)
        if status != 200:
            self._answer(status, b"", "text/plain")
            return
        found = archive.search(path, query)
        if archive.shuffles:
            turn = len(archive.asked) % max(len(found), 1)
            found = found[turn:] + found[:turn]
        offset = int(query["offset"]) if archive.takes_offset else 0
        most = min(int(query["limit"]) if archive.takes_limit else 10**6, archive.cap)
        headers = {}
        if archive.warns and offset + most < len(found):
            headers["Warning"] = '299 odd: "There are additional results"'
        body = json.dumps(found[offset : offset + most]).encode()
        self._answer(200, body, "application/dicom+json", headers)

    def _object(self, uid: str) -> None:
        self.archive.fetched.append(uid)
        instead = self.archive.wado.get(uid)
        if isinstance(instead, int):
            self._answer(instead, b"", "text/plain")
            return
        if callable(instead):
            instead = instead()
        body = message(content_of(self.archive, uid)) if instead is None else instead
        kind = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
        self._answer(200, body, kind)

    def _answer(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def odd_archive(**habits: Any) -> Iterator[OddArchive]:
    """The archive on a free port of the loopback."""
    archive = OddArchive(**habits)
    handler = type("Handler", (_Handler,), {"archive": archive})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    archive.url = f"http://127.0.0.1:{server.server_port}/odd"
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def content_of(archive: OddArchive, uid: str) -> bytes:
    """The file of an object."""
    film = next(each for each in archive.films if each.SOPInstanceUID == uid)
    stream = io.BytesIO()
    film.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def message(content: bytes, *, whole: bool = True) -> bytes:
    """An object as a message of parts; without its end where it is not whole."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return head + content + (f"\r\n--{BOUNDARY}--\r\n".encode() if whole else b"")
