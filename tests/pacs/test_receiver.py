"""The receiver of C-MOVE takes what was asked for from whom it was asked, and nothing else."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.association import Association

from screener.errors import UsageError
from screener.pacs.doors import DicomWeb, Dimse
from screener.pacs.pull import pull
from screener.pacs.receiver import Receiving, receiving
from screener.pacs.source import Receiver
from tests.dicom_films import film
from tests.pacs.servers import Orthanc, certificates, free_port, orthanc
from tests.pacs.test_pull import asking, fill, uids

CR = "1.2.840.10008.5.1.4.1.1.1"
DOOR = Dimse(host="127.0.0.1", ae_title="ARCHIVE", timeout_s=5)


@contextmanager
def open_receiver(**changes: Any) -> Iterator[tuple[Receiving, int]]:
    port = free_port()
    receiver = Receiver(address="127.0.0.1", port=port, **changes)
    with receiving(receiver, DOOR, (CR,)) as taking:
        yield taking, port


def some_film(uid: str = "2.25.5") -> Dataset:
    made = dcmread(io.BytesIO(film()))
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
    return made


def associated(port: int, *, title: str = "ARCHIVE", called: str = "SCREENER", **more: Any) -> Any:
    entity = AE(ae_title=title)
    entity.add_requested_context(CR)
    entity.acse_timeout = entity.network_timeout = 3
    return entity.associate("127.0.0.1", port, ae_title=called, **more)


def sent(association: Association, dataset: Dataset) -> int:
    status: int = association.send_c_store(dataset).Status
    return status


def test_what_was_asked_for_is_taken_and_nothing_else() -> None:
    with open_receiver() as (taking, port):
        archive = associated(port)
        assert archive.is_established
        # Nothing was asked for.
        assert sent(archive, some_film()) == 0x0124
        with taking.expecting("2.25.5") as arrived:
            assert sent(archive, some_film("2.25.6")) == 0x0124
            assert arrived() == b""
            assert sent(archive, some_film()) == 0x0000
            came = dcmread(io.BytesIO(arrived()))
            assert came == some_film()
        assert sent(archive, some_film()) == 0x0124
        archive.release()


def test_another_ae_title_is_rejected() -> None:
    with open_receiver() as (_, port):
        assert associated(port, title="SOMEBODY").is_rejected
        assert associated(port, called="ANOTHER").is_rejected
    with open_receiver(archive_ae_title="SENDS_AS") as (_, port):
        assert associated(port).is_rejected
        sender = associated(port, title="SENDS_AS")
        assert sender.is_established
        sender.release()


def test_another_address_is_closed_before_a_byte_is_read() -> None:
    with open_receiver(peers=("192.0.2.7",)) as (_, port):
        with socket.create_connection(("127.0.0.1", port), timeout=3) as stranger:
            assert stranger.recv(1) == b""
        assert not associated(port).is_established
        # It listens on for the others.
        with socket.create_connection(("127.0.0.1", port), timeout=3) as stranger:
            assert stranger.recv(1) == b""


def test_it_listens_at_its_address_alone() -> None:
    with open_receiver() as (_, port), socket.socket() as probe:
        probe.settimeout(1)
        # Another address of the loopback is another address of this machine.
        assert probe.connect_ex(("127.0.0.2", port)) != 0


def test_it_takes_tls_alone_where_it_is_told_to(tmp_path: Path) -> None:
    made, other = certificates(tmp_path / "right"), certificates(tmp_path / "wrong")
    tls = {"tls": True, "certificate": made.certificate, "key": made.key}
    trusting = ssl.create_default_context(cafile=made.ca)
    with open_receiver(**tls) as (_, port):
        assert not associated(port).is_established
        secure = associated(port, tls_args=(trusting, "127.0.0.1"))
        assert secure.is_established
        secure.release()
    with open_receiver(**tls, peers_ca_file=made.ca) as (_, port):
        assert not associated(port, tls_args=(trusting, "127.0.0.1")).is_established
        shown = ssl.create_default_context(cafile=made.ca)
        shown.load_cert_chain(made.certificate, made.key)
        secure = associated(port, tls_args=(shown, "127.0.0.1"))
        assert secure.is_established
        secure.release()
    with (
        pytest.raises(UsageError, match="cannot be used"),
        open_receiver(**tls | {"key": other.key}),
    ):
        pass


def test_a_port_that_is_taken_is_told() -> None:
    with (
        open_receiver() as (_, port),
        pytest.raises(UsageError, match="cannot be bound"),
        receiving(Receiver(address="127.0.0.1", port=port), DOOR, (CR,)),
    ):
        pass


def test_it_closes_with_its_block() -> None:
    with open_receiver() as (_, port):
        left_open = associated(port)
        assert left_open.is_established
    ends = time.monotonic() + 5
    while left_open.is_established and time.monotonic() < ends:
        time.sleep(0.02)
    assert not left_open.is_established
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"address": "pacs.example"}, "no address"),
        ({"peers": ("10.0.0.0/8",)}, "no address"),
        ({"port": 0}, "65535"),
        ({"ae_title": ""}, "AE title"),
        ({"tls": True}, "no certificate"),
        ({"certificate": Path("c"), "key": Path("k")}, "tls is not true"),
        ({"tls": True, "certificate": Path("c")}, "belong together"),
    ],
)
def test_a_wrong_receiver_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Receiver(**({"address": "127.0.0.1"} | values))


@pytest.mark.long
def test_a_destination_that_the_server_does_not_know_is_told(
    archive: Orthanc, web: DicomWeb, tmp_path: Path
) -> None:
    fill(archive, tmp_path, range(1, 3))
    settings = asking("c-move", archive, web)
    unknown = replace(settings, receiver=replace(settings.receiver, ae_title="NOBODY"))
    summary = pull(tmp_path / "in", unknown)
    assert summary.exit_code == 6
    assert summary.fetched.stored == 0
    assert pull(tmp_path / "in", settings).exit_code == 0


@pytest.mark.long
def test_a_server_that_sends_to_another_port_is_told(
    archive: Orthanc, web: DicomWeb, tmp_path: Path
) -> None:
    fill(archive, tmp_path, range(1, 2))
    settings = asking("c-move", archive, web)
    elsewhere = replace(settings, receiver=replace(settings.receiver, port=free_port()))
    summary = pull(tmp_path / "in", elsewhere)
    assert (summary.exit_code, summary.fetched.stored) == (6, 0)
    assert pull(tmp_path / "in", settings).exit_code == 0
    assert len(uids(tmp_path / "in")) == 1


@pytest.mark.long
def test_a_limit_of_the_server_is_told_or_listed_around(web: DicomWeb, tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc", LimitFindResults=20) as server:
        for number in range(1, 61):
            second = number * 1300
            clock = f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}"
            fill(server, tmp_path, range(number, number + 1), StudyTime=clock)
        summary = pull(tmp_path / "in", asking("c-get", server, web, modality=("CR",)))
        assert (summary.exit_code, summary.fetched.stored) == (0, 60)
