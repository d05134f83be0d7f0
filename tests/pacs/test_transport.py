"""Both network doors against servers that others wrote: one object through, and every refusal."""

from __future__ import annotations

import http.server
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComputedRadiographyImageStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, evt

from screener.errors import UsageError
from screener.pacs.answer import DONE, MENDS, Answer, Reply, of_http, of_retrieve, of_status
from screener.pacs.dicomweb import WebStore, open_client
from screener.pacs.dimse import DimseStore, associate, contexts_for
from screener.pacs.doors import DicomWeb, Dimse, Retry
from screener.pacs.sending import send
from tests.dicom_films import film
from tests.pacs.conftest import web_door
from tests.pacs.servers import Orthanc, certificates, free_port, https_before, orthanc, storescp

CR = ComputedRadiographyImageStorage


def some_film(**changes: Any) -> Dataset:
    return dcmread(io.BytesIO(film(PatientName="Transport^Test", **changes)))


def stored_uids(server: Orthanc) -> list[str]:
    return [tags["SOPInstanceUID"] for tags in server.instances()]


def test_stow_stores_an_object_once(archive: Orthanc, web: DicomWeb) -> None:
    dataset = some_film()
    with WebStore(web) as store:
        assert store.store(dataset) == DONE
        assert store.store(dataset).reply is Reply.DONE
    assert stored_uids(archive) == [dataset.SOPInstanceUID]
    found = open_client(web).search_for_instances(
        search_filters={"SOPInstanceUID": dataset.SOPInstanceUID}
    )
    assert [each["0020000D"]["Value"] for each in found] == [[dataset.StudyInstanceUID]]


def test_c_store_stores_an_object_once(archive: Orthanc, dimse: Dimse) -> None:
    dataset = some_film()
    with DimseStore(dimse, [CR]) as store:
        assert store.store(dataset) == DONE
        assert store.store(dataset).reply is Reply.DONE
    assert stored_uids(archive) == [dataset.SOPInstanceUID]


def test_an_object_of_a_class_that_was_not_negotiated_is_refused(dimse: Dimse) -> None:
    with DimseStore(dimse, [SecondaryCaptureImageStorage]) as store:
        assert store.store(some_film()) == Answer(Reply.REFUSED, "NO_CONTEXT")


def test_a_server_that_takes_no_such_class_refuses_it(tmp_path: Path) -> None:
    with scp({}, classes=[SecondaryCaptureImageStorage]) as port:
        door = Dimse(host="127.0.0.1", port=port)
        with DimseStore(door, [CR]) as store:
            assert store.store(some_film()) == Answer(Reply.REFUSED, "NO_CONTEXT")
        assert associate(door, contexts_for([CR])) == Answer(Reply.REFUSED, "NO_CONTEXT")


@pytest.mark.parametrize("kind", ["web", "dimse"])
def test_nobody_listens(kind: str, tmp_path: Path) -> None:
    port = free_port()
    if kind == "web":
        with WebStore(DicomWeb(url=f"http://127.0.0.1:{port}/x")) as store:
            answer = store.store(some_film())
    else:
        with DimseStore(Dimse(host="127.0.0.1", port=port), [CR]) as one:
            answer = one.store(some_film())
    assert answer == Answer(Reply.UNREACHABLE, "CONNECTION_REFUSED")


@pytest.mark.parametrize("kind", ["web", "dimse"])
def test_the_host_has_no_such_name(kind: str) -> None:
    if kind == "web":
        with WebStore(DicomWeb(url="http://no-such-host.invalid/x")) as store:
            answer = store.store(some_film())
    else:
        with DimseStore(Dimse(host="no-such-host.invalid"), [CR]) as one:
            answer = one.store(some_film())
    assert answer == Answer(Reply.UNREACHABLE, "NO_SUCH_HOST")


def test_a_wrong_password_is_told(archive: Orthanc, tmp_path: Path) -> None:
    door = web_door(archive, tmp_path)
    (tmp_path / "password").write_text("another\n")
    with WebStore(door) as store:
        assert store.store(some_film()) == Answer(Reply.UNREACHABLE, "LOGIN")
    assert stored_uids(archive) == []


def test_a_wrong_address_is_told(archive: Orthanc, tmp_path: Path) -> None:
    door = web_door(archive, tmp_path, url=archive.url + "/nowhere")
    with WebStore(door) as store:
        assert store.store(some_film()) == Answer(Reply.UNREACHABLE, "NOT_DICOMWEB")


def test_a_wrong_ae_title_is_told(archive: Orthanc) -> None:
    door = Dimse(host="127.0.0.1", port=archive.dicom, ae_title="SOMEBODY")
    with DimseStore(door, [CR]) as store:
        assert store.store(some_film()) == Answer(Reply.UNREACHABLE, "CALLED_AE_TITLE")


@contextmanager
def scp(
    statuses: dict[int, int],
    *,
    classes: list[str] | None = None,
    delay_s: float = 0,
) -> Iterator[int]:
    """A server that gives the n-th object a status of its own, or takes its time."""
    seen: list[str] = []

    def on_store(event: evt.Event) -> int:
        seen.append(event.request.AffectedSOPInstanceUID)
        if delay_s:
            threading.Event().wait(delay_s)
        return statuses.get(len(seen), 0)

    entity = AE()
    for each in classes or [CR]:
        entity.add_supported_context(each)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)]
    )
    try:
        yield port
    finally:
        server.shutdown()


def test_a_full_server_is_asked_again_with_growing_waits() -> None:
    waits: list[float] = []
    with (
        scp({1: 0xA700, 2: 0xA700}) as port,
        DimseStore(Dimse(host="127.0.0.1", port=port), [CR]) as store,
    ):
        assert store.store(some_film()) == Answer(Reply.LATER, "0xA700")
        assert send(store, some_film(), Retry(attempts=3, wait_s=0.5), waits.append) == DONE
    assert waits == [0.5]


def test_a_full_server_is_left_after_the_last_attempt() -> None:
    waits: list[float] = []
    with (
        scp(dict.fromkeys(range(9), 0xA700)) as port,
        DimseStore(Dimse(host="127.0.0.1", port=port), [CR]) as store,
    ):
        retry = Retry(attempts=4, wait_s=1, longest_wait_s=3)
        assert send(store, some_film(), retry, waits.append) == Answer(Reply.LATER, "0xA700")
    assert waits == [1, 2, 3]


def test_what_no_waiting_mends_is_not_asked_again() -> None:
    waits: list[float] = []
    with (
        scp({1: 0xC000}) as port,
        DimseStore(Dimse(host="127.0.0.1", port=port), [CR]) as store,
    ):
        assert send(store, some_film(), Retry(), waits.append) == Answer(Reply.REFUSED, "0xC000")
    assert waits == []


@pytest.mark.parametrize("when", ["--abort-during", "--abort-after"])
def test_a_server_that_breaks_off_in_the_middle(when: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with storescp(tmp_path, when) as (port, _):
        with DimseStore(Dimse(host="127.0.0.1", port=port, timeout_s=20), [CR]) as store:
            answer = store.store(some_film())
        assert answer == Answer(Reply.UNREACHABLE, "CONNECTION_LOST")
        assert answer.may_pass
    assert time.monotonic() - began < 10


def test_a_slow_server_is_not_waited_for_without_end() -> None:
    with scp({}, delay_s=2) as port:
        door = Dimse(host="127.0.0.1", port=port, timeout_s=0.5)
        with DimseStore(door, [CR]) as store:
            answer = store.store(some_film())
    assert answer.reply is Reply.UNREACHABLE
    assert answer.code in {"TIMEOUT", "CONNECTION_LOST"}


Respond = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def web_server(respond: Respond, get: Respond | None = None) -> Iterator[str]:
    """An HTTP server that answers as no Orthanc does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            respond(self)

        def do_GET(self) -> None:
            (get or respond)(self)

        def do_DELETE(self) -> None:
            respond(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answering(status: int, body: bytes = b"", kind: str = "application/dicom+json") -> Respond:
    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def failed(uid: str, reason: int) -> bytes:
    item = (
        f'{{"00081155": {{"vr": "UI", "Value": ["{uid}"]}},'
        f' "00081197": {{"vr": "US", "Value": [{reason}]}}}}'
    )
    return f'{{"00081198": {{"vr": "SQ", "Value": [{item}]}}}}'.encode()


UID = str(some_film().SOPInstanceUID)


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, b"", Answer(Reply.LATER, "NO_PROOF")),
        (200, b"<html>", Answer(Reply.LATER, "NO_PROOF")),
        (200, b"[]", Answer(Reply.LATER, "NO_PROOF")),
        (202, failed(UID, 0xA700), Answer(Reply.LATER, "0xA700")),
        (409, failed(UID, 0x0122), Answer(Reply.REFUSED, "0x0122")),
        (409, failed(UID, 0x0111), Answer(Reply.DONE, "0x0111")),
        (409, failed(UID, 0xA900), Answer(Reply.REFUSED, "0xA900")),
        (409, b"", Answer(Reply.REFUSED, "HTTP 409")),
        (302, b"", Answer(Reply.UNREACHABLE, "REDIRECT")),
        (307, b"", Answer(Reply.UNREACHABLE, "REDIRECT")),
        (400, b"", Answer(Reply.REFUSED, "HTTP 400")),
        (413, b"", Answer(Reply.REFUSED, "HTTP 413")),
        (429, b"", Answer(Reply.LATER, "HTTP 429")),
        (503, b"", Answer(Reply.LATER, "HTTP 503")),
        (404, b"", Answer(Reply.UNREACHABLE, "NOT_DICOMWEB")),
    ],
)
def test_only_what_a_server_says_of_this_object_counts(
    status: int, body: bytes, answer: Answer
) -> None:
    with web_server(answering(status, body)) as url, WebStore(DicomWeb(url=url)) as store:
        assert store.store(some_film()) == answer


def test_a_web_server_that_does_not_answer_is_not_waited_for() -> None:
    release = threading.Event()
    with (
        web_server(lambda _: release.wait(20) and None) as url,
        WebStore(DicomWeb(url=url, timeout_s=0.5)) as store,
    ):
        assert store.store(some_film()) == Answer(Reply.UNREACHABLE, "TIMEOUT")
        release.set()


def test_a_web_server_that_dies_in_the_middle() -> None:
    def die(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    with web_server(die) as url, WebStore(DicomWeb(url=url)) as store:
        assert store.store(some_film()) == Answer(Reply.UNREACHABLE, "CONNECTION_LOST")


def test_a_token_is_sent_and_kept_from_a_plain_line(tmp_path: Path) -> None:
    seen: list[str] = []

    def keep(handler: http.server.BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        answering(503)(handler)

    token = tmp_path / "token"
    token.write_text("abc.def\n")
    token.chmod(0o600)
    with web_server(keep) as url, WebStore(DicomWeb(url=url, token_file=token)) as store:
        store.store(some_film())
    assert seen == ["Bearer abc.def"]
    with pytest.raises(ValueError, match="unencrypted"):
        DicomWeb(url="http://pacs.example/x", token_file=token)
    token.chmod(0o644)
    with pytest.raises(UsageError, match="open to others"):
        WebStore(DicomWeb(url="https://pacs.example/x", token_file=token))


def test_the_environment_names_no_proxy_and_no_login(
    archive: Orthanc, web: DicomWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with WebStore(web) as store:
        assert store.store(some_film()) == DONE


def test_https_with_the_right_and_a_wrong_authority(archive: Orthanc, tmp_path: Path) -> None:
    made = certificates(tmp_path / "right")
    other = certificates(tmp_path / "wrong")
    wrong = Answer(Reply.UNREACHABLE, "CERTIFICATE")
    dataset = some_film()
    with https_before(archive.http, made) as port:
        url = f"https://127.0.0.1:{port}/dicom-web"
        for ca, answer in ((made.ca, DONE), (other.ca, wrong), (None, wrong)):
            with WebStore(web_door(archive, tmp_path, url=url, ca_file=ca)) as store:
                assert store.store(dataset) == answer
    assert stored_uids(archive) == [dataset.SOPInstanceUID]


def test_dicom_tls_with_the_right_and_a_wrong_authority(tmp_path: Path) -> None:
    made = certificates(tmp_path / "right")
    other = certificates(tmp_path / "wrong")
    with orthanc(
        tmp_path / "orthanc",
        DicomTlsEnabled=True,
        DicomTlsCertificate=str(made.certificate),
        DicomTlsPrivateKey=str(made.key),
        DicomTlsTrustedCertificates=str(made.ca),
        DicomTlsRemoteCertificateRequired=True,
    ) as server:
        dataset = some_film()
        own = {"client_certificate": made.certificate, "client_key": made.key}
        door = {"host": "127.0.0.1", "port": server.dicom, "ae_title": "ORTHANC", "tls": True}
        for changes, answer in (
            ({"ca_file": made.ca, **own}, DONE),
            ({"ca_file": other.ca, **own}, Answer(Reply.UNREACHABLE, "CERTIFICATE")),
            ({"ca_file": made.ca}, Answer(Reply.UNREACHABLE, "OWN_CERTIFICATE")),
        ):
            with DimseStore(Dimse(**door, **changes, timeout_s=5), [CR]) as secure:
                assert secure.store(dataset) == answer
        assert stored_uids(server) == [dataset.SOPInstanceUID]


def test_tls_where_the_server_has_none(tmp_path: Path) -> None:
    made = certificates(tmp_path / "tls")
    with storescp(tmp_path) as (port, _):
        door = Dimse(host="127.0.0.1", port=port, tls=True, ca_file=made.ca, timeout_s=3)
        with DimseStore(door, [CR]) as store:
            answer = store.store(some_film())
    assert answer.reply is Reply.UNREACHABLE
    assert answer.code in {"TLS", "CONNECTION_LOST"}


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    made = certificates(tmp_path / "tls", name="pacs.example")
    options = ("+tls", str(made.key), str(made.certificate), "-ic")
    with storescp(tmp_path, *options) as (port, _):
        door = Dimse(host="127.0.0.1", port=port, tls=True, ca_file=made.ca, timeout_s=3)
        with DimseStore(door, [CR]) as store:
            assert store.store(some_film()) == Answer(Reply.UNREACHABLE, "CERTIFICATE")


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (0x0000, Reply.DONE),
        (0x0111, Reply.DONE),
        (0xB000, Reply.DONE),
        (0xB007, Reply.DONE),
        (0xA700, Reply.LATER),
        (0xA7FF, Reply.LATER),
        (0x0110, Reply.LATER),
        (0x0122, Reply.REFUSED),
        (0x0124, Reply.REFUSED),
        (0xA900, Reply.REFUSED),
        (0xC123, Reply.REFUSED),
        (0xFE00, Reply.REFUSED),
    ],
)
def test_every_status_has_a_meaning(status: int, reply: Reply) -> None:
    answer = of_status(status)
    assert answer.reply is reply
    assert bool(answer.mend) == (reply is not Reply.DONE)


def test_a_retrieval_that_could_not_be_done_is_no_full_disk() -> None:
    assert "space" in of_status(0xA702).mend
    answer = of_retrieve(0xA702)
    assert answer.may_pass
    assert answer.mend == MENDS["SUB_OPERATIONS"]


def test_every_code_has_a_mend_in_words() -> None:
    assert all(len(words) > 20 for words in MENDS.values())
    assert of_http(401).mend == MENDS["LOGIN"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"url": "pacs.example/dicom-web"}, "https://"),
        ({"url": "ftp://pacs.example"}, "https://"),
        ({"url": "https://user:secret@pacs.example"}, "password_file"),
        ({"url": "https://pacs.example/x?y=1"}, "after"),
        ({"url": "https://pacs.example:99999/x"}, "no address"),
        ({"url": "https://pacs.example", "user": "a"}, "belong together"),
        ({"url": "https://pacs.example", "timeout_s": 0.0}, "timeout_s"),
        ({"url": "https://pacs.example", "client_key": Path("k")}, "belong together"),
    ],
)
def test_a_wrong_web_door_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DicomWeb(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"port": 0}, "65535"),
        ({"ae_title": "SEVENTEEN LETTERS"}, "16 characters"),
        ({"calling_ae_title": ""}, "16 characters"),
        ({"calling_ae_title": "A\\B"}, "16 characters"),
        ({"ca_file": Path("ca.pem")}, "tls is not true"),
    ],
)
def test_a_wrong_dimse_door_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Dimse(host="pacs.example", **values)


def test_what_is_not_known_is_negotiated_by_its_own_class() -> None:
    contexts = contexts_for([CR, Comprehensive3DSRStorage, CR])
    assert [each.abstract_syntax for each in contexts] == [CR, Comprehensive3DSRStorage]
