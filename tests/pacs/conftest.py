"""Servers that several test files of the PACS side share."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from screener.domain import Triage
from screener.pacs.doors import DicomWeb, Dimse
from screener.pacs.extra import require_extra
from tests.pacs import nights
from tests.pacs.servers import PASSWORD, USER, Orthanc, orthanc

require_extra()


@pytest.fixture(autouse=True)
def _sockets_of_pynetdicom() -> Iterator[None]:
    """pynetdicom leaves the socket of an association that broke to the garbage collector."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
        yield


@pytest.fixture(autouse=True, scope="module")
def _collect() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def archive(running_orthanc: Orthanc) -> Orthanc:
    """An empty Orthanc."""
    running_orthanc.clear()
    for each in running_orthanc.worklists.iterdir():
        each.unlink()
    return running_orthanc


@pytest.fixture
def web(archive: Orthanc, tmp_path: Path) -> DicomWeb:
    """The door DICOMweb to it."""
    return web_door(archive, tmp_path)


@pytest.fixture
def dimse(archive: Orthanc) -> Dimse:
    """The door DIMSE to it."""
    return Dimse(host="127.0.0.1", port=archive.dicom, ae_title=archive.ae_title)


def web_door(server: Orthanc, folder: Path, **changes: object) -> DicomWeb:
    """The door to an Orthanc, with its login."""
    password = folder / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    values = {"url": server.url, "user": USER, "password_file": password, "timeout_s": 10.0}
    return DicomWeb(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The films of a night; no test changes them."""
    return nights.films(tmp_path_factory.mktemp("night") / "studies")


@pytest.fixture(scope="session")
def scanned_night(studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scanned") / "out"
    return nights.scanned(studies, folder, priority={Triage.FLAGGED: "STAT"})


@pytest.fixture
def night(scanned_night: Path, tmp_path: Path) -> Path:
    """The output folder of a scan, for one test."""
    return nights.copied(scanned_night, tmp_path / "out")
