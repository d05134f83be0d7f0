"""A night on which little is new: what is kept from the last report, and that it says the same."""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from screener.ledger import Ledger
from screener.ledger_paths import KnownPaths, Seen
from screener.ledger_schema import LEDGER_VERSION, open_state
from screener.screening import scan
from screener.settings import Settings
from screener.summary import RunSummary
from tests.films import TINY, dataset, draw, night, save

OF_ONE_RUN = {"run_id", "decode_ms", "screened_at"}
VERSION_2 = (
    "CREATE TABLE told (study_key TEXT NOT NULL, patient_key TEXT NOT NULL, run INTEGER NOT NULL,"
    " row TEXT NOT NULL, PRIMARY KEY (study_key, patient_key)) WITHOUT ROWID"
)


def run(paths: list[Path], out: Path, **changes: Any) -> RunSummary:
    return scan(paths, out, Settings(**{"model": TINY, "workers": 1, "settle": 0, **changes}))


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    return [{k: v for k, v in row.items() if k not in OF_ONE_RUN} for row in found]


def ask(out: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(out / "state.sqlite")) as db, db:
        return db.execute(query).fetchall()


def require_equal_to_a_whole_report(paths: list[Path], out: Path) -> None:
    """Report once more with every verdict made anew: nothing but the run may differ."""
    run(paths, out)
    kept = [table(out, name) for name in ("triage.csv", "images.csv")]
    ask(out, "UPDATE told SET made_by = ''")
    ask(out, "DELETE FROM notes")
    run(paths, out)
    for name, rows in zip(("triage.csv", "images.csv"), kept, strict=True):
        for row, again in zip(rows, table(out, name), strict=True):
            assert again == row


def test_a_quiet_report_is_the_whole_report(tmp_path: Path) -> None:
    first, second = night(tmp_path / "first"), tmp_path / "second"
    save(dataset(draw(11), 11), second / "one")
    # Of the study of `one`: a copy of it, and its UID with other pixels.
    shutil.copy(second / "one", second / "copy")
    save(dataset(draw(12), 11), second / "conflict")
    # Two patients in one study.
    save(dataset(draw(13), 13, StudyInstanceUID="2.25.2011"), second / "other patient")
    roots, out = [first, second], tmp_path / "out"
    run(roots, out)
    require_equal_to_a_whole_report(roots, out)
    # A film comes, one goes, one changes, and one comes back.
    save(dataset(draw(14, severity=4), 14, StudyInstanceUID="2.25.2001"), first / "new")
    (second / "conflict").rename(tmp_path / "aside")
    save(dataset(draw(15, severity=4), 1), first / "ward a" / "IM0001")
    run(roots, out)
    gone = [row for row in table(out, "triage.csv") if row["images_gone"] == "1"]
    assert len(gone) == 2
    require_equal_to_a_whole_report(roots, out)
    (tmp_path / "aside").rename(second / "conflict")
    # Seen from one root alone, the other's studies stay as they were told.
    run([first], out)
    require_equal_to_a_whole_report(roots, out)
    assert {row["change"] for row in table(out, "triage.csv")} == {"SAME"}
    assert ask(out, "SELECT count(*) FROM stale") == [(0,)]


def test_unchanged_paths_cost_no_write(tmp_path: Path) -> None:
    folder, out = night(tmp_path / "studies"), tmp_path / "out"
    run([folder], out)
    run([folder], out)
    before = ask(out, "SELECT * FROM images WHERE outcome = 'SCORED' ORDER BY path")
    # So that none is read again.
    ask(out, "UPDATE images SET checked_run = 1000")
    run([folder], out)
    kept = ask(out, "SELECT * FROM images WHERE outcome = 'SCORED' ORDER BY path")
    checked = [item[1] for item in ask(out, "PRAGMA table_info(images)")].index("checked_run")
    assert [row[:checked] for row in kept] == [row[:checked] for row in before]
    assert {row[checked] for row in kept} == {1000}


def test_content_that_is_read_again_and_is_the_same_makes_no_verdict_anew(tmp_path: Path) -> None:
    folder, out = night(tmp_path / "studies"), tmp_path / "out"
    run([folder], out)
    with Ledger(out / "state.sqlite") as ledger:
        known = KnownPaths(ledger)
        path = os.fsencode(folder / "ward a" / "IM0001")
        stamp = known.known([path])[path].stamp
        assert stamp is not None
        known.confirm(9, "2026-01-02T03:04:05Z", path, stamp)
        assert not ledger.db.execute("SELECT * FROM stale").fetchall()
        ledger.db.execute("UPDATE images SET gone = 1 WHERE path = ?", (path,))
        ledger.db.execute("DELETE FROM stale")
        # It was gone and is there again: this its study tells.
        known.confirm(9, "2026-01-02T03:04:05Z", path, stamp)
        assert len(ledger.db.execute("SELECT * FROM stale").fetchall()) == 1
        assert not known.known([path])[path].gone


def test_a_file_that_went_away_long_ago_is_kept_from_the_day_it_was_missed(tmp_path: Path) -> None:
    folder, out = night(tmp_path / "studies"), tmp_path / "out"
    run([folder], out)
    ask(out, "UPDATE images SET seen_at = '2001-01-01T00:00:00Z'")
    os.unlink(folder / "ward a" / "IM0002")
    run([folder], out)
    (row,) = [row for row in table(out, "triage.csv") if row["path"].endswith("IM0002")]
    assert (row["images"], row["images_gone"]) == ("1", "1")


@pytest.mark.parametrize("numbers", [[1], [7, 8, 9, 100_000], list(range(1, 5000, 3))])
def test_seen_rows_are_those_that_were_added(numbers: list[int]) -> None:
    seen = Seen()
    for number in numbers:
        seen.add(number)
    top = max(numbers)
    assert [n for n in range(top + 5000) if n in seen] == numbers


def test_a_state_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    folder, out = night(tmp_path / "studies"), tmp_path / "out"
    run([folder], out)
    said = table(out, "triage.csv")
    with closing(sqlite3.connect(out / "state.sqlite", isolation_level=None)) as db:
        for kind, name in db.execute(
            "SELECT type, name FROM sqlite_master WHERE type = 'trigger' OR name IN"
            " ('stale', 'notes', 'images_study', 'images_gone', 'images_failed', 'images_checked')"
        ).fetchall():
            db.execute(f"DROP {kind} {name}")
        db.execute("ALTER TABLE images ADD COLUMN thumbnail BLOB")
        db.execute(
            "UPDATE images SET thumbnail ="
            " (SELECT jpeg FROM thumbnails t WHERE t.path = images.path)"
        )
        db.execute("DROP TABLE thumbnails")
        db.execute("ALTER TABLE told RENAME TO newer")
        db.execute(VERSION_2)
        db.execute("INSERT INTO told SELECT study_key, patient_key, run, row FROM newer")
        db.execute("DROP TABLE newer")
        db.execute(
            "CREATE TRIGGER study_forgotten AFTER DELETE ON studies BEGIN"
            " DELETE FROM told WHERE study_key = old.study_key; END"
        )
        db.execute("PRAGMA user_version = 2")
    with closing(open_state(out / "state.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == LEDGER_VERSION
        scored = db.execute("SELECT count(*) FROM images WHERE outcome = 'SCORED'").fetchone()
        assert tuple(db.execute("SELECT count(*) FROM thumbnails").fetchone()) == tuple(scored)
    run([folder], out)
    again = table(out, "triage.csv")
    assert {row["change"] for row in again} == {"SAME"}
    assert [row["score"] for row in again] == [row["score"] for row in said]
