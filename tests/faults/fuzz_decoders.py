"""Mutants of every transfer syntax through the real worker path; anyone can run it again.

    python -m tests.faults.fuzz_decoders --minutes 5

Every mutant must end as one row of the closed list, the scan's process must live, and the limits
must hold. A mutant is made again by its name and number: `--show jpeg-ls 1234 FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from screener.domain import Examined, Limits, Radiograph, Rejection, Unchanged
from screener.examine import examine
from screener.examine_settings import ExamineSettings
from screener.outcomes import REASONS, Outcome
from screener.workers import Task, WorkerPool
from tests.faults.mutation import mutant
from tests.faults.seeds import CANARY, NAMES, seed

SLACK_S = 3.0
"""How much longer than the limit a worker may be seen alive on a machine with other work."""


class BrokenPromiseError(AssertionError):
    """What a mutant broke; the message names the mutant."""


@dataclass(slots=True)
class Tally:
    """What became of the mutants of one run."""

    mutants: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    scored_alike: int = 0
    scored_otherwise: Counter[str] = field(default_factory=Counter)
    longest_pause_s: float = 0.0
    largest_worker_mib: int = 0
    elapsed_s: float = 0.0

    @property
    def total(self) -> int:
        """Mutants that have their row."""
        return sum(self.mutants.values())

    def as_json(self) -> str:
        """One line for a record."""
        return json.dumps(
            {
                "mutants": self.total,
                "each": dict(sorted(self.mutants.items())),
                "outcomes": dict(self.outcomes.most_common()),
                "crashes": dict(self.crashes.most_common()),
                "scored_alike": self.scored_alike,
                "scored_otherwise": dict(self.scored_otherwise.most_common()),
                "longest_pause_s": round(self.longest_pause_s, 2),
                "largest_worker_mib": self.largest_worker_mib,
                "elapsed_s": round(self.elapsed_s),
            }
        )


@dataclass(slots=True)
class _Mutants:
    """The tasks of a run: a file for every mutant, there until it has its row."""

    names: Sequence[str]
    numbers: Iterator[int]
    folder: Path
    ends: float
    waiting: dict[int, tuple[str, int]] = field(default_factory=dict)

    def tasks(self) -> Iterator[Task]:
        keys = count()
        for number in self.numbers:
            for name in self.names:
                if time.monotonic() > self.ends:
                    return
                path = self.folder / f"{name}-{number}"
                path.write_bytes(mutant(name, number))
                key = next(keys)
                self.waiting[key] = name, number
                yield Task(key, os.fsencode(path))

    def close(self, task: Task) -> tuple[str, int]:
        """The mutant that a row belongs to; one row each."""
        if task.key not in self.waiting:
            raise BrokenPromiseError(f"a second row for {task.path!r}")
        os.unlink(task.path)
        return self.waiting.pop(task.key)


def fuzz(
    names: Sequence[str],
    numbers: Iterator[int],
    *,
    seconds: float,
    workers: int = 2,
    limits: Limits | None = None,
) -> Tally:
    """Send mutants through a pool, number after number for every name, until one of both ends.

    Raises:
        BrokenPromiseError: A mutant has no row or two, a code of no list, or held everything up.
        RunError: The decoding processes could not be kept alive.
    """
    limits = limits or Limits()
    tally, started = Tally(), time.monotonic()
    whole = {name: _pixels_of(name) for name in names}
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        mutants = _Mutants(names, numbers, Path(folder), started + seconds)
        with WorkerPool(workers, ExamineSettings(limits=limits)) as pool:
            last = time.monotonic()
            for task, result in pool.run(mutants.tasks()):
                name, number = mutants.close(task)
                # Nothing comes out of the pool while all workers hang: the limit bounds that time.
                pause_s, last = time.monotonic() - last, time.monotonic()
                tally.longest_pause_s = max(tally.longest_pause_s, pause_s)
                if pause_s > limits.wall_s + SLACK_S:
                    raise BrokenPromiseError(f"{name} {number}: nothing for {pause_s:.1f} s")
                _count(tally, name, number, result, whole[name])
        if mutants.waiting:
            raise BrokenPromiseError(f"no row: {list(mutants.waiting.values())[:3]}")
    # Of the server's children too: it has waited for them.
    tally.largest_worker_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    tally.elapsed_s = time.monotonic() - started
    return tally


def _count(tally: Tally, name: str, number: int, result: Examined | Unchanged, whole: str) -> None:
    if not isinstance(result, Examined):
        raise BrokenPromiseError(f"{name} {number}: unchanged")
    tally.mutants[name] += 1
    found = result.result
    if isinstance(found, Radiograph):
        tally.outcomes[Outcome.SCORED] += 1
        if found.pixels_sha256 == whole:
            tally.scored_alike += 1
        else:
            tally.scored_otherwise[name] += 1
        return
    if not isinstance(found, Rejection) or found.code not in REASONS:
        raise BrokenPromiseError(f"{name} {number}: {found!r}")
    if CANARY.split("^", maxsplit=1)[0] in found.detail or "/" in found.detail:
        raise BrokenPromiseError(f"{name} {number}: the detail holds what the file said")
    tally.outcomes[found.code] += 1
    if found.detail.startswith(("SIG", "exit")) or found.detail == "PanicException":
        tally.crashes[f"{name} {found.detail}"] += 1


def _pixels_of(name: str) -> str:
    with tempfile.NamedTemporaryFile() as stream:
        stream.write(seed(name))
        stream.flush()
        found = examine(os.fsencode(stream.name))
    if not isinstance(found, Examined) or not isinstance(found.result, Radiograph):
        raise BrokenPromiseError(f"the seed {name} is not read here: {found}")
    return found.result.pixels_sha256


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run for some minutes or mutants and print one line of figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz_decoders")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--each", type=int, default=0, help="mutants of each syntax")
    parser.add_argument("--start", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--show", nargs=3, metavar=("NAME", "NUMBER", "FILE"))
    given = parser.parse_args(arguments)
    if given.show:
        name, number, target = given.show
        Path(target).write_bytes(mutant(name, int(number)))
        return 0
    numbers = range(given.start, given.start + given.each) if given.each else count(given.start)
    tally = fuzz(NAMES, iter(numbers), seconds=given.minutes * 60, workers=given.workers)
    print(tally.as_json(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
