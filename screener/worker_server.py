"""The scan's end of the fork server: one process that is started, asked for workers, and ended.

See `screener.forkserver` for the other end and for what is said between them.
"""

from __future__ import annotations

import json
import signal
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from screener import children
from screener.domain import Rejection
from screener.errors import RunError
from screener.outcomes import ReasonCode

if TYPE_CHECKING:
    from screener.examine_settings import ExamineSettings

_START_S = 60.0
_ENVIRONMENT = {
    # A library that starts threads when it is imported could not be forked.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc: give what a film took to the next one instead of to the kernel, which has to clear it
    # anew: 2,700 page faults and 4 ms a film of 5 megapixels in JPEG 2000. What a larger one took
    # beyond these goes back.
    "MALLOC_MMAP_THRESHOLD_": f"{32 << 20}",
    "MALLOC_TRIM_THRESHOLD_": f"{128 << 20}",
}


class WorkerServer:
    """One fork server. Messages are read in order by whoever asks for the next."""

    def __init__(self, entry: str) -> None:
        """Start it; `wait` until it is ready.

        Args:
            entry: What a worker calls, as `module:function`.
        """
        self.control, theirs = socket.socketpair()
        """Readable when the server has something to say, but for what `has_more` tells."""
        self.process = children.start(
            "screener.forkserver",
            str(theirs.fileno()),
            entry,
            environment=_ENVIRONMENT,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._lines = b""

    def wait(self) -> None:
        """Wait until workers can be had.

        Raises:
            RunError: the server does not start.
        """
        self.control.settimeout(_START_S)
        try:
            self.message()
        except TimeoutError:
            raise RunError(
                "the decoding processes did not start",
                f"within {_START_S:.0f} s",
                "see `screener doctor`",
            ) from None
        self.control.settimeout(None)

    def ask_for_worker(self, settings: ExamineSettings) -> socket.socket:
        """Ask for a worker and return its socket; `{"started": pid}` comes among the messages."""
        ours, theirs = socket.socketpair()
        request = {"settings": asdict(settings), "parent": self.process.pid}
        line = json.dumps(request).encode() + b"\n"
        socket.send_fds(self.control, [line], [theirs.fileno()])
        theirs.close()
        return ours

    def kill(self, pid: int) -> None:
        """Only its parent may kill it: no other process can have its pid before it is reaped."""
        self.control.sendall(json.dumps({"kill": pid}).encode() + b"\n")

    @property
    def has_more(self) -> bool:
        """Whether a message was read already, together with one before it."""
        return b"\n" in self._lines

    def message(self) -> dict[str, Any]:
        """The next thing that the server says.

        Raises:
            RunError: the server has ended.
        """
        while b"\n" not in self._lines:
            received = self.control.recv(65536)
            if not received:
                raise RunError(
                    "the decoding processes ended",
                    "their server did not start or was killed",
                    "what was done is kept; see `screener doctor`",
                )
            self._lines += received
        line, _, self._lines = self._lines.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """End the server; it kills its workers when its socket closes."""
        self.control.close()
        self.process.wait()


def ending(status: int) -> Rejection:
    """What the end of a worker says of the file that it had.

    Args:
        status: Its exit code, or minus the signal that ended it.
    """
    if status == -signal.SIGXCPU:
        return Rejection(ReasonCode.TIMEOUT, "processor time")
    if status == -signal.SIGKILL:
        # Not by us: the kernel's out-of-memory killer.
        return Rejection(ReasonCode.OUT_OF_MEMORY, "killed")
    if status < 0:
        return Rejection(ReasonCode.DECODER_CRASH, signal.Signals(-status).name)
    return Rejection(ReasonCode.DECODER_CRASH, f"exit code {status}")
