"""The sections of the site file that name a PACS: where it is, how it is spoken to, how patiently.

Pure: `scan` reads the same site file and opens none of these doors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_DAY_S = 86_400.0
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def check_ae_title(name: str, title: str) -> None:
    """Refuse what is no AE title (PS3.5 6.2, VR AE): 1 to 16 printable characters.

    Raises:
        ValueError: With the bad value.
    """
    if not re.fullmatch(r"[\x20-\x5b\x5d-\x7e]{1,16}", title) or not title.strip():
        raise ValueError(f"{name} {title!r} is no AE title: 1 to 16 characters of plain ASCII")


def check_pair(certificate: Path | None, key: Path | None) -> None:
    """Refuse a certificate without its key and a key without its certificate.

    Raises:
        ValueError: One of them is missing.
    """
    if (certificate is None) != (key is None):
        raise ValueError("client_certificate and client_key belong together")


def check_patience(timeout_s: float) -> None:
    """Refuse a timeout that no network operation can have.

    Raises:
        ValueError: With the bad value.
    """
    if not 0 < timeout_s <= _DAY_S:
        raise ValueError(f"timeout_s = {timeout_s!r} is not between 0 and {_DAY_S:.0f}")


@dataclass(frozen=True, slots=True)
class DicomWeb:
    """`[dicomweb]`: a server for STOW-RS, QIDO-RS and WADO-RS (PS3.18).

    Attributes:
        url: Its root, to which /studies is added; empty for none. https://pacs.example/dicom-web
        token_file: Holds a bearer token in one line; mode 0600. It is read anew at every start.
        user: For basic authentication, with password_file.
        password_file: Holds the password in one line; mode 0600.
        ca_file: Certificates to trust (PEM), where the server's is the hospital's own.
        client_certificate: Of this machine (PEM), where the server asks for one.
        client_key: Its key (PEM, mode 0600).
        timeout_s: How long to wait for a connection and then for each answer.
    """

    url: str = ""
    token_file: Path | None = None
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check what no type says."""
        if not self.url:
            return
        check_patience(self.timeout_s)
        check_pair(self.client_certificate, self.client_key)
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("user and password_file belong together")
        if self.token_file is not None and self.user:
            raise ValueError("token_file and user are two ways to log in; leave one out")
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError:
            raise ValueError(f"url {self.url!r} is no address") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url {self.url!r} does not begin with https:// or http:// and a host")
        if parts.username or parts.password:
            raise ValueError("url holds a user or password; give user and password_file instead")
        if parts.query or parts.fragment:
            raise ValueError(f"url {self.url!r} has a part after ? or #")
        secret = self.token_file is not None or bool(self.user)
        if secret and parts.scheme == "http" and parts.hostname not in _LOCAL:
            raise ValueError(f"url {self.url!r} would send the login unencrypted; use https://")

    @property
    def root(self) -> str:
        """The address without a stroke at its end."""
        return self.url.rstrip("/")

    @property
    def open(self) -> bool:
        """Whether the site file names this door."""
        return bool(self.url)


@dataclass(frozen=True, slots=True)
class Dimse:
    """`[dimse]`: a server for C-STORE, C-FIND and C-MOVE or C-GET (PS3.7).

    Attributes:
        host: Its name or address; empty for none.
        port: 104 and 11112 are usual.
        ae_title: The server's own, as its administrator gave it.
        calling_ae_title: Ours; most servers must be told of it.
        tls: Encrypt (PS3.15 B.12). The server's certificate must then name `host`.
        ca_file: Certificates to trust (PEM); without it those of the system.
        client_certificate: Of this machine (PEM), where the server asks for one.
        client_key: Its key (PEM, mode 0600).
        timeout_s: How long to wait for a connection and then for each answer.
    """

    host: str = ""
    port: int = 11112
    ae_title: str = "ANY-SCP"
    calling_ae_title: str = "SCREENER"
    tls: bool = False
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check what no type says."""
        if not self.host:
            return
        check_patience(self.timeout_s)
        check_pair(self.client_certificate, self.client_key)
        check_ae_title("ae_title", self.ae_title)
        check_ae_title("calling_ae_title", self.calling_ae_title)
        if not 0 < self.port < 2**16:
            raise ValueError(f"port = {self.port!r} is not between 1 and 65535")
        if not self.tls and (self.ca_file or self.client_certificate):
            raise ValueError("certificates are named but tls is not true")

    @property
    def open(self) -> bool:
        """Whether the site file names this door."""
        return bool(self.host)


@dataclass(frozen=True, slots=True)
class Retry:
    """`[retry]`: how often a server that cannot answer now is asked again.

    Attributes:
        attempts: How often in one run, the first time counted.
        wait_s: Before the second attempt; it doubles with each further one.
        longest_wait_s: No wait is longer.
    """

    attempts: int = 4
    wait_s: float = 2.0
    longest_wait_s: float = 60.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.attempts <= 100:
            raise ValueError(f"attempts = {self.attempts!r} is not between 1 and 100")
        for name in ("wait_s", "longest_wait_s"):
            if not 0 <= getattr(self, name) <= _DAY_S:
                raise ValueError(f"{name} = {getattr(self, name)!r} is not between 0 and a day")

    def waits_s(self) -> tuple[float, ...]:
        """The wait before each further attempt, in seconds."""
        return tuple(
            min(self.wait_s * 2**number, self.longest_wait_s) for number in range(self.attempts - 1)
        )
