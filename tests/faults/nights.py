"""Two nights over a few films: the undisturbed report, and what holds after every disturbance.

The first night is published; then films come, one is mended, one vanishes, one is overwritten. The
second night is the one that the proofs disturb. Whatever happened to it, `check_aftermath` reruns
it and compares with the undisturbed report byte for byte, run id, times and change columns aside.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from screener.examine_settings import ExamineSettings
from screener.publication import verify_published
from screener.screening import scan
from screener.settings import Settings
from screener.summary import RunSummary
from screener.workers import WorkerPool
from tests.films import TINY, dataset, draw, save, save_png

ROOT = Path(__file__).parent.parent.parent
OLD = 1_700_000_000
TABLES = ("triage.csv", "images.csv")
DIFFERENT = frozenset({"run_id", "screened_at", "decode_ms", "is_new", "change", "previous_triage"})


@dataclass(frozen=True, slots=True)
class Scene:
    """What the proofs start from.

    Attributes:
        studies: As they lie before the second night.
        before: The output folder after the first night, to be copied; None for no first night.
        first: The tables that the first night published.
        expected: The normal form of the tables that the second night must publish.
        changed: Keys of the studies that the second night must tell as new at least once.
        module: What is run: the program, or one of the tests' own that changes it.
    """

    studies: Path
    before: Path | None
    first: dict[str, bytes]
    expected: dict[str, bytes]
    changed: frozenset[str]
    module: str = "screener"

    def command(self, out: Path) -> list[str]:
        """The second night as a user starts it."""
        return command(self.studies, out, module=self.module)

    def start(self, out: Path) -> Path:
        """An output folder in which the second night may begin."""
        if self.before is None:
            out.mkdir(mode=0o700)
        else:
            shutil.copytree(self.before, out)
            (out / ".lock").unlink()
        return out


def populate(studies: Path) -> None:
    """The films of the first night."""
    for number in range(1, 5):
        film = dataset(draw(number, size=160, severity=4.0 * (number % 2)), number)
        save(film, studies / f"ward {number % 2}" / f"IM{number:04d}")
    save_png(draw(5, size=160), studies / "film.png")
    save(dataset(draw(6, size=160), 6, ViewPosition="LL"), studies / "lateral")
    whole = save(dataset(draw(7, size=160), 7), studies / "cut").read_bytes()
    (studies / "cut").write_bytes(whole[: len(whole) // 2])
    (studies / "wreck").write_bytes(whole[: len(whole) // 3])
    (studies / "notes.txt").write_text("nothing to see\n")
    _age(studies)


def go_on(studies: Path) -> None:
    """What happens between the nights."""
    save(dataset(draw(8, size=160, severity=5), 8), studies / "new" / "IM0008")
    save(dataset(draw(9, size=160), 9), studies / "new" / "IM0009")
    save(dataset(draw(7, size=160), 7), studies / "cut")
    (studies / "ward 1" / "IM0001").unlink()
    (studies / "ward 1" / "IM0003").write_text("overwritten")
    _age(studies)


def _age(studies: Path) -> None:
    for path in studies.rglob("*"):
        os.utime(path, (OLD, OLD))


def make_scene(folder: Path, *, first: bool = True, module: str = "screener") -> Scene:
    """Make the films, the first night where asked for, and the undisturbed second one."""
    studies, before = folder / "studies", folder / "before"
    populate(studies)
    if first:
        screen(studies, before)
    go_on(studies)
    undisturbed = folder / "undisturbed"
    if first:
        shutil.copytree(before, undisturbed)
    screen(studies, undisturbed)
    found = {name: (undisturbed / name).read_bytes() for name in TABLES}
    return Scene(
        studies,
        before if first else None,
        {name: (before / name).read_bytes() for name in TABLES} if first else {},
        {name: normal(content) for name, content in found.items()},
        frozenset(told_as_new(found["triage.csv"])),
        module,
    )


def screen(studies: Path, out: Path, **changes: Any) -> RunSummary:
    """One whole run in this process."""
    return scan([studies], out, Settings(**{"model": TINY, "workers": 1, **changes}))


def command(studies: Path, out: Path, *options: str, module: str = "screener") -> list[str]:
    """The same run as a user starts it."""
    return [
        *(sys.executable, "-m", module, "scan", str(studies), "--out", str(out)),
        *("--model", str(TINY), "--workers", "1", "--quiet", *options),
    ]


def environment() -> dict[str, str]:
    """Of a run in a process of its own."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run(studies: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run as a user does and wait."""
    return subprocess.run(
        command(studies, out, *options),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=120,
    )


@contextmanager
def one_pool() -> Iterator[None]:
    """Let all runs in this process share their decoding processes: a rerun takes a tenth of it."""
    with (
        WorkerPool(1, ExamineSettings()) as pool,
        pytest.MonkeyPatch.context() as patch,
    ):

        @contextmanager
        def shared(_workers: int, settings: ExamineSettings) -> Iterator[WorkerPool]:
            pool._settings = settings
            yield pool

        patch.setattr("screener.screening.WorkerPool", shared)
        yield


def normal(table: bytes) -> bytes:
    """A table without the columns that differ from run to run, as bytes again."""
    rows = list(csv.reader(io.StringIO(table.decode(), newline=""))) or [[]]
    kept = [index for index, name in enumerate(rows[0]) if name not in DIFFERENT]
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([row[i] for i in kept] for row in rows)
    return stream.getvalue().encode()


def told_as_new(table: bytes) -> set[str]:
    """Keys of the studies that a report calls new."""
    rows = csv.DictReader(io.StringIO(table.decode(), newline=""))
    return {row["study_key"] for row in rows if row["is_new"] == "true"}


def check_between(scene: Scene, out: Path) -> set[str]:
    """Right after a disturbance: no file is torn and no manifest lies.

    Returns:
        What an importer was told as new by a report that is whole.
    """
    manifest = out / "run.json"
    published = json.loads(manifest.read_bytes())["run_id"] if manifest.exists() else None
    for name in TABLES:
        if not (out / name).exists():
            assert scene.before is None, f"{name} is gone"
            continue
        content = (out / name).read_bytes()
        old = content == scene.first.get(name)
        assert old or normal(content) == scene.expected[name], f"{name} is torn"
    if published is None or verify_published(out):
        return set()
    content = (out / "triage.csv").read_bytes()
    return set() if content == scene.first.get("triage.csv") else told_as_new(content)


def check_unread(out: Path) -> set[str]:
    """After a run that could not read all: its report is whole and says what it could not read.

    Returns:
        What an importer was told as new.
    """
    assert verify_published(out) == ()
    outcomes = json.loads((out / "run.json").read_bytes())["outcomes"]
    assert outcomes["FAILED"]["UNREADABLE"] > 0
    return told_as_new((out / "triage.csv").read_bytes())


def check_aftermath(scene: Scene, out: Path, told: set[str]) -> None:
    """Rerun in this process; the report must be the undisturbed one and nothing left lying."""
    summary = screen(scene.studies, out)
    assert summary.exit_code in (0, 3)
    for name in TABLES:
        assert normal((out / name).read_bytes()) == scene.expected[name], f"{name} differs"
    assert verify_published(out) == ()
    told = told | told_as_new((out / "triage.csv").read_bytes())
    assert told >= scene.changed, "a study was never told as new"
    left = [path.name for path in out.iterdir() if path.name.startswith(".screener-")]
    left += [path.name for path in (out / "runs").iterdir() if path.name.startswith(".")]
    assert left == []
    with closing(sqlite3.connect(out / "state.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for path in [out, *out.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, f"{path.name} can be read by others"
