"""The door DICOMweb: a client for QIDO-RS and WADO-RS, and STOW-RS of one object at a time."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Any, Self

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from screener.pacs.answer import DONE, Answer, Reply, of_http, of_network_error, of_status
from screener.pacs.doors import DicomWeb
from screener.pacs.tls import read_secret, tls_context

# Larger bodies would be sent in chunks, which not every server takes.
_ONE_PIECE = 2**31
_NO_PROOF = Answer(Reply.LATER, "NO_PROOF")


class _Bearer(AuthBase):
    """A token in the header Authorization (RFC 6750)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Adapter(HTTPAdapter):
    """Speaks TLS by our own context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Leave the context as it is: requests would load its own list of authorities over it."""


def open_session(door: DicomWeb) -> requests.Session:
    """A session that is logged in, follows no redirect and asks the environment for nothing.

    A redirected POST becomes a GET whose success would pass for a stored object; a proxy or a
    `.netrc` of the account would get what belongs to the PACS.

    Raises:
        UsageError: a secret or certificate of the door cannot be used.
    """
    session = requests.Session()
    session.trust_env = False
    session.max_redirects = 0
    if door.token_file is not None:
        session.auth = _Bearer(read_secret(door.token_file, "token"))
    elif door.password_file is not None:
        password = read_secret(door.password_file, "password")
        session.auth = HTTPBasicAuth(door.user.encode(), password.encode())
    context = tls_context(door.ca_file, door.client_certificate, door.client_key)
    session.mount("https://", _Adapter(context))
    return session


def open_client(door: DicomWeb, session: requests.Session | None = None) -> DICOMwebClient:
    """A client of dicomweb-client's over `open_session`; it retries nothing by itself.

    Raises:
        UsageError: a secret or certificate of the door cannot be used.
    """
    client = DICOMwebClient(
        door.root,
        session=session or open_session(door),
        chunk_size=_ONE_PIECE,
        # What may stand in an address is checked where UIDs come from a server.
        permissive_uid=True,
        timeout=door.timeout_s,
    )
    client.set_http_retry_params(retry=False)
    return client


def of_request_error(error: requests.RequestException) -> Answer:
    """What an exception of `requests` means, also of those that the client lets through."""
    if isinstance(error, requests.TooManyRedirects):
        return Answer(Reply.UNREACHABLE, "REDIRECT")
    if isinstance(error, requests.Timeout):
        return Answer(Reply.UNREACHABLE, "TIMEOUT")
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return of_http(error.response.status_code)
    return of_network_error(error)


class WebStore:
    """STOW-RS (PS3.18 10.5), one object a request. A context manager; connections are kept."""

    def __init__(self, door: DicomWeb) -> None:
        """Prepare the session; `UsageError` as `open_session` raises it. Nothing is sent yet."""
        self._session = open_session(door)
        self._client = open_client(door, self._session)
        self._status = 0
        self._session.hooks["response"].append(self._remember)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    def store(self, dataset: Dataset) -> Answer:
        """Send one object with its file meta information; the answer says what became of it."""
        self._status = 0
        try:
            told = self._client.store_instances([dataset])
        except requests.HTTPError as error:
            return self._partly(_failure_of(error.response), dataset)
        except requests.exceptions.InvalidJSONError:
            return _NO_PROOF
        except requests.RequestException as error:
            return of_request_error(error)
        except (ValueError, KeyError, TypeError, AttributeError, SyntaxError):
            # A body that is no DICOM JSON or XML (ParseError is a SyntaxError): not a proof.
            return _NO_PROOF
        return self._partly(told, dataset)

    def _partly(self, told: Dataset, dataset: Dataset) -> Answer:
        """Believe what is said of this very object, then the status."""
        uid = dataset.SOPInstanceUID
        for item in told.get("FailedSOPSequence") or ():
            if item.get("ReferencedSOPInstanceUID") in {uid, None, ""}:
                return of_status(int(item.get("FailureReason") or 0x0110))
        for item in told.get("ReferencedSOPSequence") or ():
            if item.get("ReferencedSOPInstanceUID") == uid:
                return DONE
        if self._status in {200, 202}:
            return _NO_PROOF
        if self._status == 409:
            return Answer(Reply.REFUSED, "HTTP 409")
        return of_http(self._status)

    def _remember(self, response: requests.Response, **_: object) -> None:
        self._status = response.status_code


def _failure_of(response: requests.Response | None) -> Dataset:
    """The data set in the body of a response that failed; empty where there is none in JSON."""
    if response is None or "json" not in response.headers.get("Content-Type", ""):
        return Dataset()
    try:
        content = response.json()
        return Dataset.from_json(content) if isinstance(content, dict) else Dataset()
    except (ValueError, KeyError, TypeError, AttributeError):
        return Dataset()
