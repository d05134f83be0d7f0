"""What a server made of one request, as a value: done, not now, or never like this.

The library's words are kept out: they may hold a patient's name. What stands here is a code of the
standard's or of our own, and a mend from a closed list.
"""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum


class Reply(StrEnum):
    """How a request ended."""

    DONE = "DONE"
    LATER = "LATER"
    """The server could not do it now: it is asked again."""
    REFUSED = "REFUSED"
    """The server will not do this as it is: somebody must change something first."""
    UNREACHABLE = "UNREACHABLE"
    """There was no talk at all: nothing else will go through this door now."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, its code and what mends it. No patient data, no address, no library's words.

    `code`: `0xA700`, `HTTP 503`, or one of `MENDS`.
    """

    reply: Reply
    code: str = ""

    @property
    def mend(self) -> str:
        """What to do about it; empty where it is done."""
        if self.reply is Reply.DONE:
            return ""
        known = MENDS.get(self.code) or _STATUS.get(self.code)
        return known or "look into the server's own log at this time"

    @property
    def may_pass(self) -> bool:
        """Whether a moment later the same request may go through."""
        return self.reply is Reply.LATER or (
            self.reply is Reply.UNREACHABLE and self.code in _PASSING
        )


DONE = Answer(Reply.DONE)
_PASSING = frozenset(
    {
        "ASSOCIATION_ABORTED",
        "ASSOCIATION_REJECTED",
        "CONNECTION_LOST",
        "CONNECTION_REFUSED",
        "NO_ROUTE",
        "NO_SUCH_HOST",
        "NO_LIST",
        "TIMEOUT",
    }
)
"""The rest is somebody's mistake, which no waiting mends."""

MENDS = {
    "CONNECTION_REFUSED": "nothing listens there: check host and port, or start the server",
    "NO_SUCH_HOST": "the name of the host is unknown: check it, and this machine's DNS",
    "NO_ROUTE": "the network does not lead there: check cable, VLAN and firewall",
    "TIMEOUT": "the server is slow or a firewall drops packets; raise timeout_s if it is slow",
    "CONNECTION_LOST": "the server went away in the middle; it is tried again",
    "CERTIFICATE": "the server's certificate is not trusted, expired or for another name: give its"
    " issuer with ca_file",
    "TLS": "the server does not speak TLS here, or wants another version: check tls and the port",
    "OWN_CERTIFICATE": "the server does not take this machine's certificate: check"
    " client_certificate",
    "CALLED_AE_TITLE": "the server has another AE title: check ae_title",
    "CALLING_AE_TITLE": "the server does not know this machine: enter calling_ae_title there",
    "ASSOCIATION_REJECTED": "the server rejects the association: ask its administrator",
    "ASSOCIATION_ABORTED": "the server broke the association off: see its own log",
    "NO_CONTEXT": "the server does not take this kind of object: set sr_class = 'comprehensive',"
    " or leave it out under [publish]",
    "LOGIN": "the server does not take the login: check the token, or user and password",
    "REDIRECT": "the server sends us elsewhere: give the address that it names as url",
    "NO_PROOF": "the server's answer does not say that it stored the object: check url",
    "NOT_DICOMWEB": "there is no DICOMweb server at that address: check url",
    "NOT_FOUND": "it was stored and cannot be found again: the archive holds it back or routes it"
    " elsewhere; ask its administrator",
    "NOT_LISTED": "the worklist server does not give the entry: check that it reads [worklist]"
    " folder and answers to server_ae_title",
    "OTHER_PRIORITY": "the entry comes with another priority: the worklist server changes it; ask"
    " its administrator",
    "BAD_UID": "a UID of the archive's cannot stand in a query: ask its administrator",
    "COUNT": "the archive lists fewer than it counts: it is asked again by the next pull",
    "CUT": "it ends too early: it is fetched again by the next pull",
    "CUT_SHORT": "the server cuts its answers off at a limit: have that raised, or pull more often",
    "DATE_IGNORED": "the server gives studies of other days than were asked for: ask its"
    " administrator for matching by Study Date",
    "DISK_FULL": "less than [pull] free_gb would stay free: free space, or set keep_days",
    "FOLDER_FULL": "the folder holds [pull] most_gb: raise it, remove studies, or set keep_days",
    "MOVE_DESTINATION": "the server does not know where to send: enter [receiver] ae_title there"
    " with this machine's address and port",
    "NOT_DICOM": "what came is no DICOM file: look at the object in the archive",
    "NOT_SENT": "the server says that it sent the object, and nothing came: check the address and"
    " port that it has for [receiver] ae_title, and the firewall",
    "NO_LIST": "the server's answer is no list: check url, and the server's own log",
    "NO_OBJECT": "the server's answer holds no object: look into its own log",
    "NO_QUERY": "the server offers no query and retrieval, study root, to this machine: ask its"
    " administrator",
    "NO_STUDY_TIME": "the server takes no offset, and holds studies without a time, so that a day"
    " cannot be listed in parts: pull by c-get or c-move",
    "OTHER_OBJECT": "another object came than was asked for: ask the archive's administrator",
    "OTHER_STUDY": "the object says another study than the archive's list: ask its administrator",
    "PAGES_REPEAT": "the server gives the same page again and again: pull by c-get or c-move",
    "SUB_OPERATIONS": "the archive could not send the object: look into its own log; it may not"
    " know the object's transfer syntax, or not get through to [receiver]",
    "TIME_IGNORED": "the server takes no offset and does not match Study Time: pull by c-get or"
    " c-move",
    "TOO_LARGE": "the object is longer than [limits] file_bytes",
}
# PS3.4 B.2.3 and PS3.18 I.2.2: statuses that a server gives to one object.
_STATUS = {
    "0x0122": "the server does not take this kind of object: set sr_class = 'comprehensive', or"
    " leave it out under [publish]",
    "0x0124": "the server does not let this machine store: ask its administrator",
    "0xA700": "the server is out of space; it is sent again",
    "0xA701": "the server is out of space; it is sent again",
    "0xA702": "the server is out of space; it is sent again",
    "HTTP 400": "the server does not understand the request: check url; else look into its own log",
}
DUPLICATE = 0x0111
"""Duplicate SOP Instance: it is there already. Our UIDs are made from the content (PS3.7 C.5.6)."""
_WARNINGS = range(0xB000, 0xC000)
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
# Processing failure and resource limitation (PS3.7 C.5.13, C.5.22): a full disk, a busy database.
_LATER = frozenset({0x0110, 0x0213})


def of_status(status: int) -> Answer:
    """What a C-STORE status or a STOW-RS failure reason means for one object."""
    code = f"0x{status:04X}"
    if status in {0x0000, DUPLICATE} or status in _WARNINGS:
        # 0xB000: stored, with some element changed. It is there, and once more changes nothing.
        return Answer(Reply.DONE, "" if status == 0 else code)
    if status in _OUT_OF_RESOURCES or status in _LATER:
        return Answer(Reply.LATER, code)
    return Answer(Reply.REFUSED, code)


def of_retrieve(status: int) -> Answer:
    """What a final C-FIND, C-GET or C-MOVE status means that is not success (PS3.4 C.4)."""
    if status == 0xA801:
        return Answer(Reply.UNREACHABLE, "MOVE_DESTINATION")
    if status == 0xFE00:
        # Nobody cancelled: the server has a limit.
        return Answer(Reply.REFUSED, "CUT_SHORT")
    if status == 0xA702:
        # Out of resources to a store, and to a retrieval whatever kept its sub-operations from
        # being done (PS3.4 C.4.2.1.5, C.4.3.1.4).
        return Answer(Reply.LATER, "SUB_OPERATIONS")
    answer = of_status(status)
    if answer.reply is Reply.DONE:
        return Answer(Reply.REFUSED, f"0x{status:04X}")
    return answer


def of_http(status: int) -> Answer:
    """What an HTTP status means for a request that was not done (PS3.18 10.5.3, RFC 9110)."""
    code = f"HTTP {status}"
    if status in {401, 403}:
        return Answer(Reply.UNREACHABLE, "LOGIN")
    if status in {404, 405, 501}:
        return Answer(Reply.UNREACHABLE, "NOT_DICOMWEB")
    if 300 <= status < 400:
        return Answer(Reply.UNREACHABLE, "REDIRECT")
    if status in {408, 425, 429} or status >= 500:
        return Answer(Reply.LATER, code)
    return Answer(Reply.REFUSED, code)


def of_network_error(error: BaseException) -> Answer:
    """What an error of the network means, looked for along its causes."""
    for each in _causes(error):
        code = _network_code(each)
        if code:
            return Answer(Reply.UNREACHABLE, code)
    return Answer(Reply.UNREACHABLE, "CONNECTION_LOST")


def _network_code(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "CERTIFICATE"
    if isinstance(error, ssl.SSLError):
        return "OWN_CERTIFICATE" if "CERTIFICATE" in (error.reason or "") else "TLS"
    if isinstance(error, socket.gaierror):
        return "NO_SUCH_HOST"
    if isinstance(error, ConnectionRefusedError):
        return "CONNECTION_REFUSED"
    if isinstance(error, TimeoutError):
        return "TIMEOUT"
    if isinstance(error, OSError) and error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
        return "NO_ROUTE"
    if isinstance(error, ConnectionError):
        return "CONNECTION_LOST"
    return ""


def _causes(error: BaseException) -> list[BaseException]:
    """The error, what it wraps (urllib3 keeps it in `reason` or `args`) and what it came from."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 20:
        each = waiting.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            waiting += [each.__context__, each.__cause__, getattr(each, "reason", None), *each.args]
    # The innermost says most: a refused connection, not that retries were used up.
    return found[::-1]
