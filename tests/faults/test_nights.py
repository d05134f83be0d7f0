"""Random nights in a row against a model of the contract: no verdict, count or change is wrong.

Files come, go, move, are copied, cut, touched and overwritten with another study's; the clock jumps
both ways; models, thresholds and priorities change; nights fail before and after the switch, or are
stopped. After each night every row of the report and the exit code must be what
`tests.faults.model` says. A failure prints the nights that led to it.
"""

from __future__ import annotations

import csv
import errno
import os
import random
import shutil
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, ClassVar

import pytest

from screener.bundle import load_bundle, with_card
from screener.domain import Triage
from screener.errors import InterruptedRunError, RunError
from screener.screening import scan
from screener.settings import Settings
from screener.summary import RunSummary, Stop
from screener.workers import WorkerPool
from tests.faults.contents import learn
from tests.faults.model import KEEP, URGENCY, WINDOW, Content, Model, Row, Threshold, study_of
from tests.faults.nights import OLD, normal, one_pool
from tests.films import TINY
from tests.test_quiet_night import ask

TABLES = ("triage.csv", "images.csv")
THRESHOLDS = (0.38, 0.42, 0.5, 0.575, 0.9)
WORDS: tuple[dict[str, str], ...] = ({}, {"NOT_SCREENED": "LOOK"}, {"FLAGGED": "STAT"})
HOURS = (20, 20, 20, 20, 24, 72, 72, 35 * 24, 110 * 24, -48)

NEEDED_BY_IMAGES = (
    ("studies", "study_key"),
    ("reported", "study_key"),
    ("told", "study_key"),
    ("thumbnails", "path"),
    ("notes", "path"),
    ("scores", "pixels_sha256"),
)


@pytest.fixture(scope="module")
def palette(tmp_path_factory: pytest.TempPathFactory) -> list[Content]:
    """What may lie at a path."""
    return learn(tmp_path_factory.mktemp("palette"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of the same scores."""
    tiny = load_bundle(TINY)
    other = tmp_path_factory.mktemp("model") / "other.onnx"
    other.write_bytes(with_card(tiny, replace(tiny.card, name="other")))
    return TINY, other


@dataclass(slots=True)
class Play:
    """One sequence of nights."""

    folder: Path
    palette: list[Content]
    models: tuple[Path, Path]
    letters: str
    rng: random.Random
    model: Model = field(default_factory=Model)
    world: dict[str, Content] = field(default_factory=dict)
    now: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    by: Threshold = (TINY, 0.5)
    words: dict[str, str] = field(default_factory=dict)
    published: list[tuple[int, str]] = field(default_factory=list)
    unmarked: set[str] = field(default_factory=set)
    """Roots of a night whose report was not marked, until one is."""
    told: list[tuple[object, ...]] = field(default_factory=list)
    FAULTS: ClassVar = {
        "write": "screener.report.page_guard.PageGuard.write",
        "mark": "screener.report.store.ReportStore.mark_published",
    }

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def roots(self) -> list[str]:
        return [str(self.folder / name) for name in ("r0", "r1")]

    # -- between the nights -----------------------------------------------------------------------

    def go_on(self) -> None:
        rng = self.rng
        for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 5])):
            place = f"{rng.choice(self.roots)}/{rng.choice(self.letters)}"
            path = rng.choice(sorted(self.world)) if self.world else place
            kind = rng.choice(["new", "new", "new", "over", "remove", "move", "copy", "touch"])
            if kind in ("new", "over") or not self.world:
                self.put(place if kind == "new" else path, rng.choice(self.palette))
            elif kind == "remove":
                os.unlink(path)
                del self.world[path]
            elif kind == "move" and path != place:
                os.replace(path, place)
                self.world[place] = self.world.pop(path)
            elif kind == "copy" and path != place:
                self.put(place, self.world[path])
            else:
                os.utime(path, (OLD + rng.randrange(1000),) * 2)
            content = self.world.get(place if kind in ("new", "move", "copy") else path)
            self.told.append((kind, path[-4:], place[-4:], content and content.name))

    def put(self, path: str, content: Content) -> None:
        if self.rng.random() < 0.5 and os.path.exists(path):
            os.unlink(path)
        Path(path).write_bytes(content.data)
        os.utime(path, (OLD, OLD))
        self.world[path] = content

    def step(self) -> timedelta:
        """To the next night; never so that a second more or less would decide."""
        for _ in range(20):
            step = timedelta(hours=self.rng.choice(HOURS))
            then = self.now + step
            forgotten = [abs(then - each.seen - KEEP) for each in self.model.known.values()]
            old = [abs(then - each - WINDOW) for each in self.model.first_seen.values()]
            if min(forgotten, default=KEEP) > timedelta(days=12) and min(old, default=KEEP) > (
                timedelta(minutes=1)
            ):
                return step
        return timedelta()

    # -- the nights -------------------------------------------------------------------------------

    def night(self) -> None:
        rng = self.rng
        self.go_on()
        self.now += self.step()
        if rng.random() < 0.2:
            self.by = (self.by[0], rng.choice(THRESHOLDS))
        if rng.random() < 0.1:
            self.by = (rng.choice(self.models), self.by[1])
        if rng.random() < 0.1:
            self.words = rng.choice(WORDS)
        roots = rng.choice([self.roots] * 3 + [self.roots[:1], self.roots[1:]])
        fault = rng.choice([""] * 8 + ["write", "mark"])
        options: dict[str, Any] = {
            name: rng.random() < share
            for name, share in (("rescan", 0.15), ("baseline", 0.08), ("only_new", 0.2))
        }
        base = None
        if self.published and rng.random() < 0.15:
            base, options["since"] = rng.choice(self.published[-6:])
        stop_after = rng.randrange(1, 12) if rng.random() < 0.01 else 0
        self.told.append(("night", self.now, roots, self.by, self.words, fault, options))
        summary = None
        if stop_after:
            with suppress(InterruptedRunError):
                summary = self.scan(roots, stop_after=stop_after, **options)
        if fault and summary is None:
            with pytest.raises(RunError, match="No space left"):
                self.scan(roots, fault, **options)
        elif summary is None:
            summary = self.scan(roots, **options)
        self.model.walk(self.world, roots, self.now, self.by, rescan=options["rescan"])
        rows = self.model.rows(roots, self.words, baseline=options["baseline"])
        if summary is not None or fault == "mark":
            self.check_triage(rows, base, only_new=options["only_new"])
            self.check_images(roots)
        if summary is None:
            self.unmarked |= set(roots)
            return
        self.check_summary(roots, rows, base, summary)
        number = int(summary.run_id.rpartition("-")[2])
        self.published.append((number, summary.run_id))
        self.model.published(number, rows, self.world, roots, baseline=options["baseline"])
        self.unmarked -= set(roots)

    def scan(
        self, roots: list[str], fault: str = "", *, stop_after: int = 0, **changes: Any
    ) -> RunSummary:
        now, stop, left = self.now, Stop(), [stop_after]

        class Then(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Then:
                return cls.fromtimestamp(now.timestamp(), tz)

        def broken(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def progress(_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                stop.signal_number = 15

        settings = {
            "model": self.by[0],
            "threshold": self.by[1],
            "workers": 1,
            "settle": 0,
            "allow_empty": True,
            "priority": {Triage(name): word for name, word in self.words.items()},
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("screener.night.datetime", Then)
            if fault:
                patch.setattr(self.FAULTS[fault], broken)
            if stop_after:
                # What was asked of the pool that the nights share would be told to the next one.
                patch.setattr("screener.screening.WorkerPool", WorkerPool)
            folders = [Path(root) for root in roots]
            return scan(
                folders, self.out, Settings(**settings | changes), progress=progress, stop=stop
            )

    # -- what must be so --------------------------------------------------------------------------

    def rows_of(self, name: str) -> list[dict[str, str]]:
        with (self.out / name).open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    def check_triage(
        self, rows: dict[tuple[str, str], Row], base: int | None, *, only_new: bool
    ) -> None:
        expected = {}
        for key, row in rows.items():
            change, before = self.model.change(key, row, base)
            if only_new and change == "SAME":
                continue
            triage, priority, (accession, patient, view), _ = row.told
            expected[key] = {
                "triage": triage,
                "priority": priority,
                "accession_number": accession,
                "patient_id": patient,
                "view_position": view,
                "images": str(row.images),
                "images_scored": str(row.images_scored),
                "images_gone": str(row.images_gone),
                "is_new": "true" if change != "SAME" else "false",
                "change": change,
                "previous_triage": before,
            }
        table = self.rows_of("triage.csv")
        assert [row["rank"] for row in table] == [str(rank + 1) for rank in range(len(table))]
        places = [URGENCY.index(row["triage"]) for row in table]
        assert places == sorted(places)
        found = {}
        for row in table:
            patient = row["patient_id"] if "IDENTITY_CONFLICT" in row["warnings"] else ""
            names = next(iter(expected.values())) if expected else {}
            found[row["study_key"], patient] = {name: row[name] for name in names}
        assert len(found) == len(table)
        assert found == expected

    def check_images(self, roots: list[str]) -> None:
        expected = {
            path: (
                *(content.outcome, content.reason, content.sha, study_of(path, content)),
                *self.model.copy_of(path),
            )
            for path, content in self.world.items()
            if os.path.dirname(path) in roots
        }
        table = self.rows_of("images.csv")
        names = ("outcome", "reason_code", "sha256", "study_key", "duplicate_of")
        found = {
            row["path"]: (*(row[name] for name in names), "UID_CONFLICT" in row["warnings"])
            for row in table
        }
        assert [row["path"] for row in table] == sorted(found)
        assert found == expected

    def check_summary(
        self,
        roots: list[str],
        rows: dict[tuple[str, str], Row],
        base: int | None,
        summary: RunSummary,
    ) -> None:
        fails = {
            path: (content.reason, content.sha)
            for path, content in self.world.items()
            if os.path.dirname(path) in roots and content.outcome == "FAILED"
        }
        new = sum(self.model.failed.get(path) != why for path, why in fails.items())
        # After a night whose report was not marked a failure may be told twice, never not at all.
        assert summary.new_failures >= new
        assert summary.new_failures == new or self.unmarked & set(roots)
        assert summary.exit_code == (3 if summary.new_failures else 0)
        changes = [self.model.change(key, row, base)[0] for key, row in rows.items()]
        assert summary.new_studies == sum(change != "SAME" for change in changes)

    def check_state(self) -> None:
        """The report is what it would be anew, and nothing is kept that nothing needs."""
        for _ in range(2):
            self.scan(self.roots)
        kept = [normal((self.out / name).read_bytes()) for name in TABLES]
        ask(self.out, "UPDATE told SET made_by = ''")
        ask(self.out, "DELETE FROM notes")
        self.scan(self.roots)
        assert [normal((self.out / name).read_bytes()) for name in TABLES] == kept
        for table, column in NEEDED_BY_IMAGES:
            needed = f"{column} NOT IN (SELECT {column} FROM images)"
            assert ask(self.out, f"SELECT * FROM {table} WHERE {needed}") == [], table
        scores = "pixels_sha256 NOT IN (SELECT pixels_sha256 FROM scores)"
        assert ask(self.out, f"SELECT * FROM images WHERE outcome = 'SCORED' AND {scores}") == []
        assert ask(self.out, "SELECT * FROM stale") == []


def play(
    folder: Path, seed: int, nights: int, palette: list[Content], models: tuple[Path, Path]
) -> None:
    """Play one sequence. Many contents at many paths, few at many, or few at few."""
    rng = random.Random(seed)
    some = rng.sample(palette, rng.randint(3, 8)) if seed % 3 else palette
    game = Play(folder, some, models, "uvw" if seed % 3 == 1 else "uvwxyz", rng)
    for root in game.roots:
        Path(root).mkdir(parents=True)
    try:
        for _ in range(nights):
            game.night()
        game.check_state()
    except BaseException:
        print(f"seed {seed}")
        for line in game.told:
            print(*line)
        raise


# Each found a fault that is mended.
@pytest.mark.parametrize("seed", [33, 129, 145])
def test_nights_in_a_row(
    seed: int, tmp_path: Path, palette: list[Content], models: tuple[Path, Path]
) -> None:
    with one_pool():
        play(tmp_path / "game", seed, 12, palette, models)


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_thousands_of_nights(
    part: int, tmp_path: Path, palette: list[Content], models: tuple[Path, Path]
) -> None:
    with one_pool():
        for seed in range(1000 + 30 * part, 1000 + 30 * (part + 1)):
            play(tmp_path / str(seed), seed, 25, palette, models)
            shutil.rmtree(tmp_path / str(seed))
