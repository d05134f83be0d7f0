"""Where an archive sends to when it was asked by C-MOVE: open during a pull, and to it alone.

A connection from another address is closed before a byte is read; another AE title is rejected; an
object that was not asked for is refused.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import BaseServer
from typing import cast

from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context
from pynetdicom.transport import ThreadedAssociationServer

from screener.errors import UsageError
from screener.pacs.doors import Dimse
from screener.pacs.source import Receiver
from screener.pacs.tls import server_context

# All that a film may be stored in. It is kept in the syntax in which it comes.
SYNTAXES = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5",
)
NOT_ASKED_FOR = 0x0124
"""Refused: not authorized (PS3.7 C.5.9)."""
_HANDSHAKE_S = 10.0


class Receiving:
    """An open receiver, as `DimseArchive` uses it."""

    def __init__(self, ae_title: str) -> None:
        self.ae_title = ae_title
        self._lock = threading.Lock()
        self._wanted, self._arrived = "", b""

    @contextmanager
    def expecting(self, sop_instance_uid: str) -> Iterator[Callable[[], bytes]]:
        """Take this one object; inside the block the value gives what arrived, b"" for nothing."""
        with self._lock:
            self._wanted, self._arrived = sop_instance_uid, b""
        try:
            yield self._content
        finally:
            with self._lock:
                self._wanted, self._arrived = "", b""

    def _content(self) -> bytes:
        with self._lock:
            return self._arrived

    def on_store(self, event: evt.Event) -> int:
        """Take what was asked for, refuse the rest. In a thread of the library's."""
        content = event.encoded_dataset()
        with self._lock:
            if not self._wanted or stored_uid(event) != self._wanted:
                return NOT_ASKED_FOR
            self._arrived = content
        return 0x0000


def stored_uid(event: evt.Event) -> str:
    """The SOP Instance UID that a C-STORE is about."""
    return str(cast("C_STORE", event.request).AffectedSOPInstanceUID or "")


def _guarded(peers: frozenset[str]) -> type[ThreadedAssociationServer]:
    """A server that closes the connection of anybody else before a byte of it is read."""

    class Guarded(ThreadedAssociationServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
            client, address = cast("socket.socket", self.socket).accept()
            if str(address[0]).removeprefix("::ffff:") not in peers:
                client.close()
                # The loop above passes over an OSError.
                raise ConnectionRefusedError
            if self.ssl_context:
                client.settimeout(_HANDSHAKE_S)
                try:
                    client = self.ssl_context.wrap_socket(client, server_side=True)
                    client.settimeout(None)
                except OSError:
                    client.close()
                    raise
            return client, address

        def handle_error(self, *_: object) -> None:
            """Say nothing of a connection that broke: its words may hold who and what."""

    return Guarded


@contextmanager
def receiving(receiver: Receiver, door: Dimse, sop_classes: tuple[str, ...]) -> Iterator[Receiving]:
    """Listen from here to the end of the block.

    Raises:
        UsageError: the port cannot be bound, the host of [dimse] has no address, or a certificate
            cannot be used.
    """
    peers = frozenset(receiver.peers) or _addresses(door)
    context = None
    if receiver.tls and receiver.certificate is not None and receiver.key is not None:
        context = server_context(receiver.certificate, receiver.key, receiver.peers_ca_file)
    entity = AE(ae_title=receiver.ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = [receiver.archive_ae_title or door.ae_title]
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = door.timeout_s
    taking = Receiving(receiver.ae_title)
    try:
        server = entity.make_server(
            (receiver.address, receiver.port),
            ssl_context=context,
            contexts=[build_context(each, list(SYNTAXES)) for each in sop_classes],
            evt_handlers=[(evt.EVT_C_STORE, taking.on_store)],
            server_class=_guarded(peers),
        )
    except OSError as error:
        raise UsageError(
            f"[receiver] {receiver.address}:{receiver.port} cannot be bound",
            error.strerror or "",
            "give an address of this machine and a free port",
        ) from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield taking
    finally:
        for association in server.active_associations:
            association.abort()
        # Not its own shutdown, which looks for itself in a list of the entity's.
        BaseServer.shutdown(server)
        server.server_close()
        thread.join()


def _addresses(door: Dimse) -> frozenset[str]:
    try:
        found = socket.getaddrinfo(door.host, None)
    except OSError:
        raise UsageError(
            f"[dimse] host {door.host!r} has no address",
            "it is the only one that may send to [receiver]",
            "check the name, or give [receiver] peers",
        ) from None
    return frozenset(str(each[4][0]) for each in found)
