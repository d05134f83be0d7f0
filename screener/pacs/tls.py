"""Certificates, keys and secrets of the doors, read so that a mistake is told before the talk."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

from screener.errors import UsageError

_LONGEST = 65_536


def tls_context(
    ca_file: Path | None, client_certificate: Path | None, client_key: Path | None
) -> ssl.SSLContext:
    """A client's context: TLS 1.2 or newer, the server's certificate and name are checked.

    Raises:
        UsageError: a file is missing, is no PEM, or a key is open to others.
    """
    for path in (ca_file, client_certificate, client_key):
        if path is not None and not os.path.isfile(path):
            raise UsageError(f"there is no file {str(path)!r}", "the site file names it")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (ssl.SSLError, OSError):
        raise UsageError(
            f"ca_file {str(ca_file)!r} holds no certificate", mend="give a file in PEM"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_certificate is not None and client_key is not None:
        _refuse_open(client_key)
        try:
            # A key with a password would ask for it on a terminal that cron does not have.
            context.load_cert_chain(client_certificate, client_key, password=lambda: "")
        except (ssl.SSLError, OSError, ValueError):
            raise UsageError(
                f"client_certificate {str(client_certificate)!r} and client_key do not fit",
                "both must be PEM, and the key without a password",
            ) from None
    return context


def server_context(certificate: Path, key: Path, peers_ca_file: Path | None) -> ssl.SSLContext:
    """A server's context: TLS 1.2 or newer; a client must show a certificate where they are named.

    Raises:
        UsageError: a file is missing, is no PEM, or a key is open to others.
    """
    for path in (certificate, key, peers_ca_file):
        if path is not None and not os.path.isfile(path):
            raise UsageError(f"there is no file {str(path)!r}", "the site file names it")
    _refuse_open(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
        if peers_ca_file is not None:
            context.load_verify_locations(cafile=peers_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError, ValueError):
        raise UsageError(
            "certificate, key or peers_ca_file of [receiver] cannot be used",
            "they must be PEM, and the key without a password",
        ) from None
    return context


def read_secret(path: Path, what: str) -> str:
    """A token or password: the one line of a file that only its owner may read.

    Raises:
        UsageError: it is missing, open to others or not one line.
    """
    try:
        _refuse_open(path)
        with path.open("rb") as stream:
            content = stream.read(_LONGEST)
        secret = content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise UsageError(
            f"the file {str(path)!r} of the {what} cannot be read", error.strerror or ""
        ) from None
    except UnicodeDecodeError:
        secret = ""
    if not secret.strip() or not secret.isprintable():
        raise UsageError(f"the file {str(path)!r} of the {what} is not one line of text")
    return secret


def _refuse_open(path: Path) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UsageError(
            f"{str(path)!r} is open to others",
            "whoever reads it can log in to the PACS",
            f"chmod 600 {str(path)!r}",
        )
