"""Whatever a file does to its worker, it costs one row, and the next file goes on."""

from __future__ import annotations

import os
import queue
import selectors
import signal
import subprocess
import sys
import textwrap
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from screener.domain import Examined, Limits, Rejection, Unchanged
from screener.errors import RunError
from screener.examine_settings import ExamineSettings
from screener.outcomes import ReasonCode
from screener.workers import Task, WorkerPool

ENTRY = "tests.worker_faults:act"
ROOT = Path(__file__).parent.parent
QUICK = ExamineSettings(limits=Limits(wall_s=1.5, cpu_s=1.0, memory_bytes=256 << 20))


def cpu_s(pool: WorkerPool) -> float:
    """Processor time of the server and of the workers that it has buried (proc_pid_stat(5))."""
    stat = Path(f"/proc/{pool._server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")


def run(pool: WorkerPool, *words: str) -> dict[str, Examined]:
    found = {}
    for task, result in pool.run(Task(i, word.encode()) for i, word in enumerate(words)):
        assert isinstance(result, Examined)
        assert task.path.decode() not in found, "one result for one task"
        found[task.path.decode()] = result
    assert set(found) == set(words)
    return found


def code(result: Examined) -> tuple[ReasonCode, str]:
    assert isinstance(result.result, Rejection)
    return result.result.code, result.result.detail


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2, QUICK, entry=ENTRY) as pool:
        yield pool


def test_two_requests_in_one_read_are_two(pool: WorkerPool) -> None:
    # As where a worker ends in the moment in which it is to be killed.
    run(pool, "ok:1")
    (worker,) = pool._workers
    os.kill(pool._server.process.pid, signal.SIGSTOP)
    pool._server.kill(0)
    with ThreadPoolExecutor(1) as caller:
        found = caller.submit(run, pool, "sleep:0.2", "ok:2")
        time.sleep(0.3)
        os.kill(pool._server.process.pid, signal.SIGCONT)
        assert set(found.result()) == {"sleep:0.2", "ok:2"}
    assert worker in pool._workers
    assert len(pool._workers) == 2


def test_two_ends_in_one_read_are_two(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    select = pool._selector.select

    def late(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = select(timeout)
        # As where the scan's own thread is busy: meanwhile both have ended.
        time.sleep(0.1)
        return found

    monkeypatch.setattr(pool._selector, "select", late)
    found = run(pool, "abort", "exit")
    assert code(found["abort"]) == (ReasonCode.DECODER_CRASH, "SIGABRT")
    assert code(found["exit"]) == (ReasonCode.DECODER_CRASH, "exit code 3")


def test_every_fault_costs_one_row(pool: WorkerPool) -> None:
    words = ["ok:1", "segv", "ok:2", "abort", "exit", "killed", "hang", "ok:3", "garbage", "ok:4"]
    found = run(pool, *words)
    assert {word: code(result) for word, result in found.items()} == {
        "ok:1": (ReasonCode.EMPTY, ""),
        "ok:2": (ReasonCode.EMPTY, ""),
        "ok:3": (ReasonCode.EMPTY, ""),
        "ok:4": (ReasonCode.EMPTY, ""),
        "segv": (ReasonCode.DECODER_CRASH, "SIGSEGV"),
        "abort": (ReasonCode.DECODER_CRASH, "SIGABRT"),
        "exit": (ReasonCode.DECODER_CRASH, "exit code 3"),
        "killed": (ReasonCode.OUT_OF_MEMORY, "killed"),
        "hang": (ReasonCode.TIMEOUT, ""),
        "garbage": (ReasonCode.DECODER_CRASH, ""),
    }


def test_header_that_was_read_is_kept_when_the_decoder_dies(pool: WorkerPool) -> None:
    for result in run(pool, "segv", "hang").values():
        assert result.instance is not None
        assert result.instance.study_instance_uid == "2.25.7"
        assert result.sha256 == "f" * 64


def test_processor_time_is_limited() -> None:
    settings = ExamineSettings(limits=Limits(wall_s=20, cpu_s=0.5))
    with WorkerPool(1, settings, entry=ENTRY) as pool:
        assert code(run(pool, "spin")["spin"]) == (ReasonCode.TIMEOUT, "processor time")


def test_limits_of_the_account_that_are_lower_hold() -> None:
    """As `ulimit` or pam_limits set them: a worker that asked for more would die on every file."""
    code = textwrap.dedent(
        """
        import resource
        from screener.workers import Task, WorkerPool
        from tests.test_workers import ENTRY, QUICK
        gigabytes = 3 << 30
        resource.setrlimit(resource.RLIMIT_AS, (gigabytes, gigabytes))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        with WorkerPool(1, QUICK, entry=ENTRY) as pool:
            results = pool.run(Task(i, word) for i, word in enumerate((b"ok", b"bomb", b"spin")))
            print(*(result.result.code for _, result in results))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == ["EMPTY", "DECODER_CRASH", "TIMEOUT"]


def test_memory_is_limited(pool: WorkerPool) -> None:
    """Python says MemoryError; examine's boundary is not in this entry, so the worker ends."""
    reason, _ = code(run(pool, "bomb")["bomb"])
    assert reason is ReasonCode.DECODER_CRASH


def test_files_go_on_beside_a_slow_one(pool: WorkerPool) -> None:
    started = time.monotonic()
    order = [
        task.path
        for task, _ in pool.run(Task(i, p) for i, p in enumerate([b"sleep:1"] + [b"ok"] * 50))
    ]
    assert order[-1] == b"sleep:1"
    assert time.monotonic() - started < 10


def test_crash_and_respawn_are_cheap_and_leak_nothing() -> None:
    with WorkerPool(1, QUICK, entry=ENTRY) as pool:
        run(pool, "ok")
        before = len(os.listdir("/proc/self/fd"))
        started = time.monotonic()
        used = cpu_s(pool)
        # A film that takes a worker with it is tried in a second one.
        crashes = 100
        results = list(pool.run(Task(i, b"abort") for i in range(crashes // 2)))
        each_ms = (time.monotonic() - started) / crashes * 1000
        cpu_ms = (cpu_s(pool) - used) / crashes * 1000
        print(f"crash and respawn: {each_ms:.1f} ms, {cpu_ms:.1f} ms of a processor")
        assert len(results) == crashes // 2
        # The goal is 50 ms on an idle machine; a busy one must not fail the suite.
        assert each_ms < 250
        assert cpu_ms < 50
        run(pool, "ok")
        assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_worker_holds_no_descriptor_of_the_scan(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w"), WorkerPool(1, QUICK, entry=ENTRY) as pool:
        names = run(pool, "open")["open"].sha256
    assert "lock" not in names


def test_nothing_is_imported_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pydicom.py").write_text("raise SystemExit('imported from the studies')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with WorkerPool(1, QUICK, entry=ENTRY) as pool:
        assert code(run(pool, "ok")["ok"]) == (ReasonCode.EMPTY, "")


def test_worker_that_lived_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screener.workers.TASKS_OF_A_LIFE", 3)
    with WorkerPool(1, QUICK, entry=ENTRY) as pool:
        found = run(pool, *(f"ok:{n}" for n in range(8)))
    assert len({result.sha256.split()[1] for result in found.values()}) == 3


def test_file_is_not_blamed_for_what_an_earlier_one_did(tmp_path: Path) -> None:
    """A worker that dies once under a file: the file is tried again in a new one."""
    once = tmp_path / "once"
    with WorkerPool(1, QUICK, entry=ENTRY) as pool:
        result = run(pool, f"once:{once}")[f"once:{once}"]
    assert once.exists()
    assert code(result) == (ReasonCode.EMPTY, "")


def test_a_server_that_dies_beside_a_full_queue_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each result that is taken wakes a thread that has ended and reads no more."""

    class Waiting(queue.SimpleQueue[tuple[Task, Examined | Unchanged] | None]):
        def empty(self) -> bool:
            # As while the caller is busy: all tasks are handed out before a result is taken.
            return True

    monkeypatch.setattr("screener.workers.QUEUED_PER_WORKER", 2000)
    with WorkerPool(1, QUICK, entry=ENTRY) as pool:
        pool._results = Waiting()
        results = pool.run(Task(i, b"ok") for i in range(9000))
        next(results)
        while pool._results.qsize() < 1500:
            time.sleep(0.01)
        pool._server.process.kill()
        assert pool._thread is not None
        pool._thread.join(20)
        with pytest.raises(RunError, match="cannot be kept alive"):
            deque(results, maxlen=0)


def test_no_process_outlives_the_pool() -> None:
    with WorkerPool(2, QUICK, entry=ENTRY) as pool:
        pids = [int(result.sha256.split()[1]) for result in run(pool, "ok:1", "ok:2").values()]
        pids.append(pool._server.process.pid)
    _await_end(pids)


def test_no_process_outlives_a_killed_scan(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import sys
        from screener.examine_settings import ExamineSettings
        from screener.workers import Task, WorkerPool
        with WorkerPool(2, ExamineSettings(), entry={ENTRY!r}) as pool:
            for task, result in pool.run([Task(0, b"ok"), Task(1, b"sleep:60")]):
                print(pool._server.process.pid, result.sha256.split()[1], flush=True)
        """
    )
    scan = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert scan.stdout is not None
    pids = [int(word) for word in scan.stdout.readline().split()]
    children = Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()
    pids += [int(pid) for pid in children]
    scan.send_signal(signal.SIGKILL)
    scan.wait()
    scan.stdout.close()
    _await_end(pids)


def _await_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while alive := [pid for pid in pids if _lives(pid)]:
        assert time.monotonic() < deadline, f"still alive: {alive}"
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
