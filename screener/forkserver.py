"""The process that forks workers: `python -m screener.forkserver`, started by `screener.workers`.

It loads the decoders once and has one thread, so a fork is safe and takes milliseconds; the scan,
with its threads and ONNX Runtime, never forks. It holds no descriptor of the scan but its socket:
an orphan can never hold a lock. When the scan ends, however it ends, the socket closes and server
and workers die.

The scan sends one JSON line for each worker it wants, with the worker's socket beside it, or the
pid of one to kill; the server answers `{"started": pid}` and, when a child has ended,
`{"ended": pid, "status": exit code or minus the signal}`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from screener.children import die_with, live_with
from screener.domain import Examined, Limits
from screener.wire import pack_result, split

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_DUMPABLE = 4


def main() -> None:
    """Serve until the scan is gone."""
    control = socket.socket(fileno=int(sys.argv[1]))
    entry = _load(sys.argv[2])
    live_with(int(sys.argv[3]))
    # What is loaded stays: a collection in a worker would copy its pages, a fork after a crash all
    # of them again.
    gc.freeze()
    control.sendall(b'{"ready": true}\n')
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    children: dict[int, int] = {}
    requests = _Requests(control)
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                if not requests.receive():
                    for pid in children:
                        os.kill(pid, signal.SIGKILL)
                    os._exit(0)
                while (request := requests.pop()) is not None:
                    _answer(request, requests, entry, children, selector)
            else:
                selector.unregister(key.fd)
                os.close(key.fd)
                _, status = os.waitpid(key.data, 0)
                del children[key.data]
                _tell(control, {"ended": key.data, "status": os.waitstatus_to_exitcode(status)})


class _Requests:
    """What the scan asks for, a line each.

    A worker may end in the moment in which it is to be killed: the scan then hears of its end
    before the server has read what to do, and its next request comes in the same read.
    """

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.descriptors: list[int] = []
        self._lines = b""

    def receive(self) -> bool:
        """Read what is there; False when the scan is gone."""
        received, descriptors, _, _ = socket.recv_fds(self.control, 65536, 1)
        self._lines += received
        self.descriptors += descriptors
        return bool(received)

    def pop(self) -> dict[str, Any] | None:
        """The next request, once it is whole."""
        line, end, rest = self._lines.partition(b"\n")
        if not end:
            return None
        self._lines = rest
        request: dict[str, Any] = json.loads(line)
        return request


def _answer(
    request: dict[str, Any],
    requests: _Requests,
    entry: Callable[..., Any],
    children: dict[int, int],
    selector: selectors.BaseSelector,
) -> None:
    if "kill" in request:
        if request["kill"] in children:
            os.kill(request["kill"], signal.SIGKILL)
        return
    channel = requests.descriptors.pop(0)
    pid = os.fork()
    if pid == 0:
        selector.close()
        requests.control.close()
        _work(socket.socket(fileno=channel), entry, request)
    os.close(channel)
    watched = os.pidfd_open(pid)
    children[pid] = watched
    selector.register(watched, selectors.EVENT_READ, data=pid)
    _tell(requests.control, {"started": pid})


def _tell(control: socket.socket, message: dict[str, Any]) -> None:
    try:
        control.sendall(json.dumps(message).encode() + b"\n")
    except BrokenPipeError:
        # The scan is gone; the next read says so.
        return


def _load(entry: str) -> Callable[..., Any]:
    module, _, name = entry.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def _work(channel: socket.socket, entry: Callable[..., Any], request: dict[str, Any]) -> None:
    """The life of a worker: one task after another, each within its limits. Never returns."""
    die_with(request["parent"])
    from screener.examine_settings import ExamineSettings

    values = request["settings"]
    limits = Limits(**values.pop("limits"))
    age_range = values.pop("age_range")
    settings = ExamineSettings(
        limits=limits, age_range=tuple(age_range) if age_range else None, **values
    )
    os.umask(0o077)
    # A core dump holds a patient's film; systemd's handler does not ask RLIMIT_CORE.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)
    held = _held_bytes()
    _limit(resource.RLIMIT_AS, held + limits.memory_bytes)
    buffer = bytearray()
    while True:
        while (message := split(buffer)) is None:
            received = channel.recv(65536)
            if not received:
                os._exit(0)
            buffer += received
        content, path = message
        _limit_cpu(limits.cpu_s)
        result = entry(
            path,
            settings,
            content["known_sha256"],
            lambda header: channel.sendall(pack_result(header, final=False)),
        )
        channel.sendall(_packed(result))


def _packed(result: Any) -> bytes:
    try:
        return pack_result(result, final=True)
    except MemoryError:
        from screener.domain import Rejection
        from screener.outcomes import ReasonCode

        failed = Examined(None, "", None, Rejection(ReasonCode.OUT_OF_MEMORY))
        return pack_result(failed, final=True)


def _held_bytes() -> int:
    """The address space that the worker was born with: libraries, not the file's."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _limit_cpu(seconds: float) -> None:
    """SIGXCPU so many seconds of processor time from now; whole seconds, rounded up."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime + seconds + 1))


def _limit(kind: int, most: int) -> None:
    """Limit this process to `most`, or to what its account is limited to, if that is less."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main()
