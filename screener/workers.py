"""Disposable processes that read and decode: a crash, a hang or a bomb costs one row.

A thread of the pool's own hands out tasks, watches the clocks and replaces the dead, so that all
goes on while the scan's thread is busy with inference. See `screener.forkserver` for the other end.
"""

from __future__ import annotations

import queue
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from screener.domain import Examined, Rejection, Unchanged
from screener.errors import RunError
from screener.outcomes import ReasonCode
from screener.wire import BrokenFrame, pack, read_result, split
from screener.worker_server import WorkerServer, ending

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from screener.examine_settings import ExamineSettings

ENTRY = "screener.examine:examine"
TASKS_OF_A_LIFE = 2000
"""After so many files a worker is replaced: what its decoders leak goes with it."""
QUEUED_PER_WORKER = 48
"""Enough small films to bridge one batch of inference; results are a fifth of a megabyte each."""


@dataclass(frozen=True, slots=True)
class Task:
    """One path to examine; content with the hash `known_sha256` is not decoded."""

    key: int
    path: bytes
    known_sha256: str = ""


@dataclass(slots=True)
class _Worker:
    """One process as the pool sees it."""

    channel: socket.socket
    pid: int = 0
    task: Task | None = None
    deadline: float = 0.0
    header: Examined | None = None
    verdict: ReasonCode | None = None
    done: int = 0
    retired: bool = False
    buffer: bytearray = field(default_factory=bytearray)


class WorkerPool:
    """A number of workers behind one fork server; a context manager."""

    def __init__(self, workers: int, settings: ExamineSettings, *, entry: str = ENTRY) -> None:
        """Start the server; the workers follow with the first tasks.

        Args:
            workers: How many files are decoded at once.
            settings: The same for every file.
            entry: What a worker calls, as `module:function`.
        """
        self._settings = settings
        self._workers: list[_Worker] = []
        self._count = max(1, workers)
        self._tasks: deque[Task] = deque()
        self._second_try: set[int] = set()
        self._results: queue.SimpleQueue[tuple[Task, Examined | Unchanged] | None] = (
            queue.SimpleQueue()
        )
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._server = WorkerServer(entry)
        self._failure = ""
        self._closing = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        for worker in self._workers:
            worker.channel.close()
        self._server.close()
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Examined | Unchanged]]:
        """Examine every task; results come as they are ready.

        `tasks` is read in the caller's own thread, a bounded number ahead.

        Raises:
            RunError: the server cannot be started or has died.
        """
        if self._thread is None:
            self._server.wait()
            self._thread = threading.Thread(target=self._serve, name="workers", daemon=True)
            self._thread.start()
        waiting = iter(tasks)
        outstanding, more = 0, True
        while True:
            while more and outstanding < self._count * QUEUED_PER_WORKER:
                task = next(waiting, None)
                if task is None:
                    more = False
                    break
                self._tasks.append(task)
                self._wake()
                outstanding += 1
                if not self._results.empty():
                    break
            if not outstanding:
                return
            result = self._results.get()
            if result is None:
                raise RunError(
                    "the decoding processes cannot be kept alive",
                    self._failure,
                    "what was done is kept; see `screener doctor`",
                )
            outstanding -= 1
            yield result

    # -- the pool's own thread ------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            self._selector.register(self._wake_read, selectors.EVENT_READ, data="wake")
            self._selector.register(self._server.control, selectors.EVENT_READ, data="control")
            while not self._closing:
                self._hand_out()
                if self._server.has_more:
                    # Read with another, it makes nothing readable.
                    self._bury(self._server.message())
                    continue
                for key, _ in self._selector.select(self._patience()):
                    if key.data == "wake":
                        self._wake_read.recv(65536)
                    elif key.data == "control":
                        self._bury(self._server.message())
                    else:
                        self._read_worker(key.data)
                self._stop_overdue()
        except (OSError, RunError) as error:
            self._failure = type(error).__name__ if isinstance(error, OSError) else error.what
        finally:
            # Whatever ends this thread, the scan's must not wait for it for ever.
            self._results.put(None)

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            # Full: it has been told, or has ended, and nobody reads what it is told.
            self._wake_write.send(b".")

    def _patience(self) -> float | None:
        deadlines = [worker.deadline for worker in self._workers if worker.task is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _hand_out(self) -> None:
        idle = [w for w in self._workers if w.task is None and not w.retired]
        while self._tasks:
            if idle:
                worker = idle.pop()
            elif len(self._workers) < self._count:
                worker = self._spawn()
            else:
                return
            task = self._tasks.popleft()
            worker.task, worker.header, worker.verdict = task, None, None
            worker.deadline = time.monotonic() + self._settings.limits.wall_s
            try:
                worker.channel.sendall(pack({"known_sha256": task.known_sha256}, task.path))
            except (BrokenPipeError, ConnectionResetError):
                # It died idle; its end is told by the server and the task by `_bury`.
                continue

    def _spawn(self) -> _Worker:
        worker = _Worker(self._server.ask_for_worker(self._settings))
        while not worker.pid:
            message = self._server.message()
            if "started" in message:
                worker.pid = message["started"]
            else:
                self._bury(message)
        self._workers.append(worker)
        self._selector.register(worker.channel, selectors.EVENT_READ, data=worker)
        return worker

    def _read_worker(self, worker: _Worker) -> None:
        if worker not in self._workers or worker.verdict is not None:
            return
        try:
            received = worker.channel.recv(1 << 18)
        except ConnectionResetError:
            received = b""
        if not received:
            # Nothing more will come; what its end meant is told by the server.
            self._unwatch(worker)
            return
        worker.buffer += received
        try:
            while worker.task is not None and (message := split(worker.buffer)) is not None:
                content, blob = message
                result = read_result(content, blob)
                if content.get("final"):
                    self._finish(worker, worker.task, result)
                elif isinstance(result, Examined):
                    worker.header = result
        except BrokenFrame:
            self._kill(worker, ReasonCode.DECODER_CRASH)

    def _finish(self, worker: _Worker, task: Task, result: Examined | Unchanged) -> None:
        self._results.put((task, result))
        self._second_try.discard(task.key)
        worker.task = None
        worker.done += 1
        if worker.done >= TASKS_OF_A_LIFE and worker.channel.fileno() >= 0:
            # It ends when it reads the end of its channel.
            worker.retired = True
            worker.channel.shutdown(socket.SHUT_WR)

    def _stop_overdue(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.task is not None and worker.verdict is None and worker.deadline <= now:
                self._kill(worker, ReasonCode.TIMEOUT)

    def _kill(self, worker: _Worker, verdict: ReasonCode) -> None:
        worker.verdict = verdict
        worker.deadline = float("inf")
        self._server.kill(worker.pid)
        while worker in self._workers:
            self._bury(self._server.message())

    def _bury(self, message: dict[str, Any]) -> None:
        for worker in self._workers:
            if worker.pid == message.get("ended"):
                self._drain(worker)
                self._unwatch(worker)
                worker.channel.close()
                self._workers.remove(worker)
                self._mourn(worker, message["status"])
                return

    def _mourn(self, worker: _Worker, status: int) -> None:
        task = worker.task
        if task is None:
            return
        if worker.verdict is None and task.key not in self._second_try:
            # Damage that an earlier file did must not be told of this one: again, in a new worker.
            self._second_try.add(task.key)
            self._tasks.appendleft(task)
        else:
            self._finish(worker, task, _obituary(worker, status))

    def _drain(self, worker: _Worker) -> None:
        """Read what a worker had sent before it ended."""
        if worker.verdict is not None:
            return
        worker.channel.setblocking(False)
        try:
            while received := worker.channel.recv(1 << 18):
                worker.buffer += received
            while worker.task is not None and (found := split(worker.buffer)) is not None:
                result = read_result(*found)
                if found[0].get("final"):
                    self._finish(worker, worker.task, result)
                elif isinstance(result, Examined):
                    worker.header = result
        except (BlockingIOError, ConnectionResetError, BrokenFrame):
            return

    def _unwatch(self, worker: _Worker) -> None:
        if worker.channel in self._selector.get_map():
            self._selector.unregister(worker.channel)


def _obituary(worker: _Worker, status: int) -> Examined:
    """What is said of the file that a worker died on; its header is kept where it was read."""
    known = worker.header or Examined(None, "", None, Rejection(ReasonCode.DECODER_CRASH))
    return replace(known, result=Rejection(worker.verdict) if worker.verdict else ending(status))
