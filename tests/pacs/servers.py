"""Servers that others wrote, on free ports of the loopback, ended with the test."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
USER, PASSWORD = "screener", "a pass word"


def need(*programs: str) -> None:
    """Skip the test by name where a program is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def plugin(name: str) -> str:
    """The path of an Orthanc plugin; the test is skipped where it is not installed."""
    found = [
        *glob.glob(f"/usr/share/orthanc/plugins/lib{name}.so"),
        *glob.glob(f"/usr/lib/orthanc/lib{name}.so*"),
    ]
    if not found:
        pytest.skip(f"Orthanc's plugin {name} is not installed")
    return found[0]


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes], timeout_s: float = 30) -> None:
    """Wait until somebody listens; fail where the process ended first."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port} after {timeout_s} s")


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server process from when it listens to the end of the block."""
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, cwd=log.parent, start_new_session=True
        )
        try:
            wait_for(port, process)
            yield process
        finally:
            # Its whole group: a tracer leaves what it traced behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Orthanc:
    """A running Orthanc with DICOMweb and worklists, and its own REST interface for looking in."""

    folder: Path
    http: int
    dicom: int
    receiver: int
    """Where it sends to by C-MOVE, under the AE title SCREENER."""
    ae_title: str = "ORTHANC"
    _opener: Any = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    @property
    def worklists(self) -> Path:
        return self.folder / "worklists"

    def get(self, path: str) -> Any:
        with self._open(path) as answer:
            return json.load(answer)

    def raw(self, path: str) -> bytes:
        with self._open(path) as answer:
            content: bytes = answer.read()
            return content

    def clear(self) -> None:
        for identifier in self.get("/patients"):
            with self._open(f"/patients/{identifier}", method="DELETE"):
                pass
        with self._open("/changes", method="DELETE"):
            pass

    def changes(self) -> list[dict[str, Any]]:
        """What the archive noted since it was cleared, in its own words."""
        found: list[dict[str, Any]] = []
        since, done = 0, False
        while not done:
            answer = self.get(f"/changes?since={since}&limit=100")
            found += answer["Changes"]
            since, done = answer["Last"], answer["Done"]
        return found

    def upload(self, content: bytes) -> None:
        with self._open("/instances", content, "POST"):
            pass

    def instances(self, modality: str | None = None) -> list[dict[str, Any]]:
        """The simplified tags of every instance, of one modality where it is given."""
        found = [self.get(f"/instances/{each}/simplified-tags") for each in self.get("/instances")]
        return [tags for tags in found if modality in (None, tags["Modality"])]

    def _open(self, path: str, data: bytes | None = None, method: str = "GET") -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http}{path}", data=data, method=method
        )
        return self._opener.open(request, timeout=30)


@contextlib.contextmanager
def orthanc(
    folder: Path, *, http: int = 0, dicom: int = 0, receiver: int = 0, **more: Any
) -> Iterator[Orthanc]:
    """Orthanc with a login, DICOMweb and worklists; `more` goes into its configuration."""
    need(ORTHANC)
    plugins = [plugin("OrthancDicomWeb"), plugin("ModalityWorklists")]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "worklists").mkdir(exist_ok=True)
    server = Orthanc(folder, http or free_port(), dicom or free_port(), receiver or free_port())
    configuration = {
        "Name": "test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": server.http,
        "DicomPort": server.dicom,
        "DicomAet": server.ae_title,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowFindWorklist": True,
        "DicomAlwaysAllowGet": True,
        "DicomModalities": {"screener": ["SCREENER", "127.0.0.1", server.receiver]},
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": plugins,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "Worklists": {"Enable": True, "Database": str(folder / "worklists")},
        "DefaultEncoding": "Utf8",
        "StableAge": 1,
        **more,
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration), encoding="utf-8")
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, f"http://127.0.0.1:{server.http}/", USER, PASSWORD)
    server._opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPBasicAuthHandler(passwords),
    )
    with running([ORTHANC, str(path)], server.dicom, folder / "log") as process:
        wait_for(server.http, process)
        yield server


@contextlib.contextmanager
def storescp(folder: Path, *options: str, port: int = 0) -> Iterator[tuple[int, Path]]:
    """DCMTK's storescp: its port and the folder that it stores in."""
    need("storescp")
    port = port or free_port()
    stored = folder / "stored"
    stored.mkdir(parents=True, exist_ok=True)
    command = ["storescp", "-od", str(stored), *options, str(port)]
    with running(command, port, folder / "storescp.log"):
        yield port, stored


@contextlib.contextmanager
def wlmscpfs(folder: Path, tracer: tuple[str, ...] = ()) -> Iterator[int]:
    """DCMTK's worklist server over the folders in `folder`, one an AE title."""
    need("wlmscpfs")
    port = free_port()
    command = [*tracer, "wlmscpfs", "-csk", "-dfp", str(folder), str(port)]
    with running(command, port, folder.parent / "wlmscpfs.log"):
        yield port


@contextlib.contextmanager
def https_before(port: int, made: Certificates) -> Iterator[int]:
    """A port that speaks TLS and passes on to a plain one, as a reverse proxy does.

    Debian's Orthanc 1.10.1 ends with the first HTTPS request.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def serve(plain: socket.socket) -> None:
        try:
            with (
                context.wrap_socket(plain, server_side=True) as secure,
                socket.create_connection(("127.0.0.1", port)) as inner,
            ):
                back = threading.Thread(target=copy, args=(inner, secure), daemon=True)
                back.start()
                copy(secure, inner)
                back.join()
        except OSError:
            # A client that does not trust the certificate.
            plain.close()

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@dataclass(frozen=True)
class Certificates:
    """A small authority of the test's own and what it signed for 127.0.0.1."""

    ca: Path
    certificate: Path
    key: Path


def certificates(folder: Path, name: str = "127.0.0.1") -> Certificates:
    """Make an authority and a server's certificate with openssl."""
    need("openssl")
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(*(folder / each for each in ("ca.pem", "server.pem", "server.key")))

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=folder)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        "req",
        "-x509",
        *new,
        "-days",
        "2",
        "-subj",
        "/CN=test authority",
        "-keyout",
        "ca.key",
        "-out",
        made.ca,
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )
    openssl("req", *new, "-subj", f"/CN={name}", "-keyout", made.key, "-out", "server.csr")
    kind = "IP" if name[0].isdigit() else "DNS"
    (folder / "extensions").write_text(
        f"subjectAltName={kind}:{name}\nauthorityKeyIdentifier=keyid\nbasicConstraints=CA:FALSE\n"
    )
    openssl(
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        made.ca,
        "-CAkey",
        "ca.key",
        "-days",
        "2",
        "-out",
        made.certificate,
        "-extfile",
        "extensions",
        "-CAcreateserial",
    )
    made.key.chmod(0o600)
    return made


__all__ = [
    "PASSWORD",
    "USER",
    "Certificates",
    "Orthanc",
    "certificates",
    "free_port",
    "https_before",
    "need",
    "orthanc",
    "running",
    "storescp",
    "wlmscpfs",
]
