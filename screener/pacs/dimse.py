"""The door DIMSE: associations with exactly the contexts that are needed, and C-STORE over one."""

from __future__ import annotations

import socket
import time
import warnings
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context

from screener.pacs.answer import Answer, Reply, of_network_error, of_status
from screener.pacs.doors import Dimse
from screener.pacs.tls import tls_context

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
# PS3.8 9.3.4, rejected by the service user: why, by number.
_REJECTED = {3: "CALLING_AE_TITLE", 7: "CALLED_AE_TITLE"}
_SERVICE_USER = 1
_VERIFICATION = "1.2.840.10008.1.1"


def contexts_for(
    sop_classes: Iterable[str], syntaxes: Sequence[str] = SYNTAXES
) -> list[PresentationContext]:
    """Presentation contexts for what will be sent or asked, each class once."""
    return [build_context(uid, list(syntaxes)) for uid in sorted(set(sop_classes))]


def associate(
    door: Dimse,
    contexts: list[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[EventHandlerType] = (),
) -> Association | Answer:
    """Open an association; where that fails, why.

    Args:
        door: Where; its timeout holds for connecting and for every answer.
        contexts: What is negotiated, as `contexts_for` or pynetdicom makes them.
        roles: Classes that the server is to send over this association (C-GET).
        handlers: What is called for them.

    Returns:
        The association, established: the caller releases it. Else what kept it from being so.

    Raises:
        UsageError: a certificate of the door cannot be used.
    """
    entity = AE(ae_title=door.calling_ae_title)
    entity.connection_timeout = door.timeout_s
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = door.timeout_s
    tls = None
    if door.tls:
        context = tls_context(door.ca_file, door.client_certificate, door.client_key)
        tls = (context, door.host)
    try:
        with warnings.catch_warnings():
            # pynetdicom leaves the socket of a connection that failed to the garbage collector.
            warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
            association = entity.associate(
                door.host,
                door.port,
                contexts=contexts,
                ae_title=door.ae_title,
                tls_args=tls,
                ext_neg=list(roles),
                evt_handlers=list(handlers),
            )
    except OSError as error:
        return of_network_error(error)
    if association.is_established:
        return association
    if association.is_rejected:
        return _rejected(association)
    if association.acceptor.primitive is not None:
        # It was accepted and then broken off, by us where not one context was taken.
        return Answer(Reply.REFUSED, "NO_CONTEXT")
    return _why_not(door)


def _rejected(association: Association) -> Answer:
    primitive = association.acceptor.primitive
    source = getattr(primitive, "result_source", None)
    reason = getattr(primitive, "diagnostic", None)
    code = _REJECTED.get(reason or 0, "") if source == _SERVICE_USER else ""
    return Answer(Reply.UNREACHABLE, code or "ASSOCIATION_REJECTED")


def _why_not(door: Dimse) -> Answer:
    """Connect once more by hand: pynetdicom keeps the reason to its log."""
    try:
        with socket.create_connection((door.host, door.port), door.timeout_s) as plain:
            if not door.tls:
                return Answer(Reply.UNREACHABLE, "ASSOCIATION_ABORTED")
            context = tls_context(door.ca_file, door.client_certificate, door.client_key)
            with context.wrap_socket(plain, server_hostname=door.host) as secure:
                # TLS 1.3 tells a client that its certificate is refused with the first read.
                secure.settimeout(1.0)
                secure.recv(1)
    except TimeoutError:
        return Answer(Reply.UNREACHABLE, "TIMEOUT")
    except OSError as error:
        return of_network_error(error)
    return Answer(Reply.UNREACHABLE, "ASSOCIATION_ABORTED")


def echo(door: Dimse) -> Answer:
    """C-ECHO (PS3.4 A): whether the server is there, knows us and answers.

    Raises:
        UsageError: a certificate of the door cannot be used.
    """
    opened = associate(door, contexts_for([_VERIFICATION]))
    if isinstance(opened, Answer):
        return opened
    try:
        told = opened.send_c_echo()
    except (RuntimeError, OSError, ValueError):
        return Answer(Reply.UNREACHABLE, "CONNECTION_LOST")
    finally:
        if opened.is_established:
            opened.release()
    return of_status(int(told.get("Status", 0x0110)))


class DimseStore:
    """C-STORE (PS3.4 B), one object after the other over one association. A context manager.

    The association is opened with the first object, and again when the server broke it off.
    """

    def __init__(self, door: Dimse, sop_classes: Iterable[str]) -> None:
        """Prepare for objects of these classes; nothing is opened yet.

        Raises:
            UsageError: a certificate of the door cannot be used.
        """
        if door.tls:
            tls_context(door.ca_file, door.client_certificate, door.client_key)
        self._door = door
        self._contexts = contexts_for(sop_classes)
        self._association: Association | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._association is not None and self._association.is_established:
            self._association.release()

    def store(self, dataset: Dataset) -> Answer:
        """Send one object with its file meta information; the answer says what became of it.

        Raises:
            UsageError: a certificate of the door cannot be used.
        """
        if self._association is None or not self._association.is_established:
            opened = associate(self._door, self._contexts)
            if isinstance(opened, Answer):
                return opened
            self._association = opened
        accepted = {each.abstract_syntax for each in self._association.accepted_contexts}
        if dataset.SOPClassUID not in accepted:
            return Answer(Reply.REFUSED, "NO_CONTEXT")
        began = time.monotonic()
        try:
            told = self._association.send_c_store(dataset)
        except (RuntimeError, OSError):
            # It broke between our look and the sending.
            return Answer(Reply.UNREACHABLE, "CONNECTION_LOST")
        if "Status" not in told:
            lost = time.monotonic() - began < self._door.timeout_s
            return Answer(Reply.UNREACHABLE, "CONNECTION_LOST" if lost else "TIMEOUT")
        return of_status(int(told.Status))
