"""Every kind of broken and hostile file in one night: one row each, by its code, no word out."""

from __future__ import annotations

import csv
import json
import os
import re
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

from screener.domain import Limits
from screener.outcomes import REASONS, Outcome, ReasonCode
from screener.screening import scan
from screener.settings import Settings
from screener.summary import RunSummary
from screener.workers import WorkerPool
from tests.faults.hostile_text import CASES, FORMULA, SCRIPT, TEXT_KEYWORDS, WORDS
from tests.films import TINY

LIMITS = Limits(wall_s=3.0, cpu_s=3.0, memory_bytes=256 << 20)
ELSEWHERE = {
    ReasonCode.UNREADABLE: "test_what_cannot_be_read_is_a_row",
    ReasonCode.PURGED: "a patient who was purged is no fault of a file",
}


@dataclass(frozen=True, slots=True)
class Night:
    """One scan of all cases."""

    out: Path
    summary: RunSummary
    images: dict[str, dict[str, str]]
    elapsed_s: float

    @property
    def studies(self) -> list[dict[str, str]]:
        with (self.out / "triage.csv").open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    for name, case in CASES.items():
        case.build(folder / name)
        if name != "cut-and-young":
            os.utime(folder / name, (1_700_000_000,) * 2, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def night(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    out = tmp_path_factory.mktemp("out")
    settings = Settings(model=TINY, workers=2, limits=LIMITS, spreadsheet=True, settle=3600)
    started = time.monotonic()
    before = os.umask(0o022)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "screener.screening.WorkerPool", partial(WorkerPool, entry="tests.faults.entry:examine")
        )
        summary = scan([folder], out, settings)
    os.umask(before)
    with (out / "images.csv").open(newline="", encoding="utf-8") as stream:
        images = {Path(row["path"]).name: row for row in csv.DictReader(stream)}
    return Night(out, summary, images, time.monotonic() - started)


@pytest.mark.parametrize("name", CASES)
def test_each_ends_as_it_must(name: str, night: Night) -> None:
    case, row = CASES[name], night.images[name]
    expected = case.code or ""
    outcome = REASONS[case.code][0] if case.code else Outcome.SCORED
    assert (row["outcome"], row["reason_code"]) == (outcome, expected), row["reason"]
    assert case.warnings <= set(row["warnings"].split(";"))
    assert bool(row["score"]) == (outcome is Outcome.SCORED)


def test_every_path_has_one_row(night: Night) -> None:
    assert set(night.images) == set(CASES)
    assert night.summary.paths == len(CASES)
    assert night.summary.exit_code == 3
    manifest = json.loads((night.out / "run.json").read_bytes())
    assert manifest["files"]["images.csv"]["rows"] == len(CASES)


def test_every_reason_code_has_a_case() -> None:
    covered = {case.code for case in CASES.values()} | set(ELSEWHERE)
    assert covered - {None} == set(ReasonCode)


def test_the_record_names_every_case() -> None:
    record = (Path(__file__).parent / "RECORD.md").read_text("utf-8")
    table = record.partition("## Kinds of fault")[2].partition("\n## ")[0]
    named = re.findall(r"`([^`]+)`", table)
    files = [name for name in named if name.endswith(".py")]
    for name in files:
        assert (Path(__file__).parents[2 if "/" in name else 0] / name).is_file(), name
    patterns = set(named) - set(files)
    assert not [case for case in CASES if not any(fnmatch(case, each) for each in patterns)]
    assert not [each for each in patterns if not any(fnmatch(case, each) for case in CASES)]


def test_a_failure_is_never_a_negative(night: Night) -> None:
    negative = {row["path"] for row in night.studies if row["triage"] == "NOT_FLAGGED"}
    failed = {row["path"] for row in night.images.values() if row["outcome"] == "FAILED"}
    assert not negative & failed
    by_study: dict[str, set[str]] = {}
    for row in night.images.values():
        by_study.setdefault(row["study_key"], set()).add(row["outcome"])
    for row in night.studies:
        if by_study[row["study_key"]] == {"FAILED"}:
            assert row["triage"] == "NOT_SCREENED", row["path"]


def test_what_the_pixels_are_stands_in_the_report(night: Night) -> None:
    """Flipped bits inside a codestream cannot be seen: the hash and the decoder are kept."""
    for row in night.images.values():
        if row["outcome"] == "SCORED":
            assert len(row["sha256"]) == 64
            assert row["decoder"]


def test_a_header_that_was_read_survives_its_decoder(night: Night) -> None:
    for name, row in night.images.items():
        if name.startswith("act-"):
            assert row["study_instance_uid"], name


@pytest.mark.parametrize("name", WORDS)
def test_words_are_verbatim_for_machines_or_left_empty(name: str, night: Night) -> None:
    row = night.images[f"words-{name}"]
    study = next(each for each in night.studies if each["study_key"] == row["study_key"])
    odd = {"CONTROL_CHARACTERS", "VALUE_TOO_LONG"} & set(row["warnings"].split(";"))
    for column in ("patient_name", "patient_id", "accession_number", "station_name"):
        text = study[column]
        assert text.isprintable()
        assert len(text) <= 3 * 64 + 2
        assert text == WORDS[name].strip() or odd, column
    assert len(TEXT_KEYWORDS) == 6


def test_the_spreadsheet_holds_no_formula(night: Night) -> None:
    path = night.out / "triage-spreadsheet.csv"
    with path.open(newline="", encoding="utf-8-sig") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert any(FORMULA in cell for cell in cells)
    assert not [cell for cell in cells if cell[:1] in {"=", "+", "@", "\t", "\r", "\0"}]
    assert not [cell for cell in cells if cell.startswith("-") and not _is_number(cell)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_nothing_is_obeyed_by_a_terminal_or_a_browser(night: Night) -> None:
    for path in night.out.glob("*"):
        if path.suffix in {".csv", ".json", ".html"}:
            content = path.read_bytes()
            assert not {*content} & ({*range(32)} - {9, 10, 13}), path.name
            if path.suffix == ".html":
                assert SCRIPT.encode() not in content


def test_nothing_holds_the_night_up(night: Night) -> None:
    """Two hang, one bomb, one beyond memory, the rest at once; a busy machine is no fault."""
    assert night.elapsed_s < 60


def test_what_cannot_be_read_is_a_row(tmp_path: Path) -> None:
    """A regular file whose first byte is an I/O error."""
    summary = scan([Path("/proc/self/mem")], tmp_path, Settings(model=TINY, workers=1))
    assert summary.outcomes == {"FAILED": {"UNREADABLE": 1}}


def test_names_that_are_no_utf8(folder: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/studies/\xff\n\x1b[31m=1\xe2\x80\xae"
    os.mkdir(tmp_path / "studies")
    with open(odd, "wb") as stream:
        stream.write((folder / "lateral").read_bytes())
    scan([tmp_path / "studies"], tmp_path / "out", Settings(model=TINY, workers=1))
    with (tmp_path / "out" / "images.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["path"].endswith(r"\xff\x0a\x1b[31m=1\xe2\x80\xae")
    assert row["reason_code"] == "VIEW"
