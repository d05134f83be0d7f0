"""The whole way on small drawn films with the tiny bundle: what a night, and the next, report."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from screener import discovery
from screener.bundle import load_bundle, with_card
from screener.discovery import Found
from screener.domain import Rejection
from screener.errors import (
    InterruptedRunError,
    LockedError,
    NothingToScreenError,
    RunError,
    UsageError,
)
from screener.ledger import Ledger
from screener.lock import run_lock
from screener.outcomes import ReasonCode
from screener.report.layout import TableLayout
from screener.screening import scan
from screener.settings import Settings
from screener.summary import RunSummary, Stop
from tests.films import TINY, dataset, draw, night, save, save_png

OLD = 1_700_000_000
UNEQUAL = {
    "run_id", "screened_at", "decode_ms", "is_new", "change", "previous_triage",
}  # fmt: skip


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = night(tmp_path / "studies")
    age(folder)
    return folder


def age(folder: Path) -> None:
    """Make every file older than `--settle`."""
    for path in folder.rglob("*"):
        os.utime(path, (OLD, OLD))


def run(paths: Path | list[Path], out: Path, **changes: Any) -> RunSummary:
    listed = paths if isinstance(paths, list) else [paths]
    return scan(listed, out, Settings(**{"model": TINY, "workers": 1, **changes}))


def rows(out: Path, name: str = "triage.csv") -> list[dict[str, str]]:
    with (out / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def by_name(out: Path) -> dict[str, dict[str, str]]:
    return {Path(row["path"]).name: row for row in rows(out, "images.csv")}


def without(table: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in UNEQUAL} for row in table]


def test_every_path_has_one_row_and_its_outcome(studies: Path, tmp_path: Path) -> None:
    summary = run(studies, tmp_path / "out")
    found = {
        name: (row["outcome"], row["reason_code"])
        for name, row in by_name(tmp_path / "out").items()
    }
    assert found == {
        "IM0001": ("SCORED", ""),
        "IM0002": ("SCORED", ""),
        "film.png": ("SCORED", ""),
        "lateral.dcm": ("INELIGIBLE", "VIEW"),
        "cut.dcm": ("FAILED", "TRUNCATED"),
        "notes.txt": ("NOT_AN_IMAGE", "OTHER_KIND"),
        "empty": ("NOT_AN_IMAGE", "EMPTY"),
    }
    assert summary.exit_code == 3
    assert summary.paths == 7


def test_order_of_the_worklist(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out")
    table = rows(tmp_path / "out")
    order = ["FLAGGED", "NOT_SCREENED", "NOT_FLAGGED", "NOT_APPLICABLE"]
    places = [order.index(row["triage"]) for row in table]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2, 3}
    assert [row["rank"] for row in table] == [str(n) for n in range(1, len(table) + 1)]
    for triage in ("FLAGGED", "NOT_FLAGGED"):
        scores = [float(row["score"]) for row in table if row["triage"] == triage]
        assert scores == sorted(scores, reverse=True)
    assert {row["triage"]: row["priority"] for row in table} == {
        "FLAGGED": "HIGH",
        "NOT_SCREENED": "",
        "NOT_FLAGGED": "",
        "NOT_APPLICABLE": "",
    }
    cut = next(row for row in table if row["triage"] == "NOT_SCREENED")
    assert (cut["patient_id"], cut["accession_number"], cut["score"]) == ("T00005", "A5", "")


def test_second_night_examines_only_what_may_have_mended(studies: Path, tmp_path: Path) -> None:
    first = run(studies, tmp_path / "out")
    before = rows(tmp_path / "out")
    second = run(studies, tmp_path / "out")
    assert first.examined == 7
    assert second.examined == 1
    assert second.exit_code == 0
    assert {row["change"] for row in before} == {"NEW"}
    assert {(row["change"], row["is_new"]) for row in rows(tmp_path / "out")} == {("SAME", "false")}
    assert without(before) == without(rows(tmp_path / "out"))
    assert run(studies, tmp_path / "out", fail_on="any").exit_code == 3
    assert run(studies, tmp_path / "out").examined == 0, "a wreck is tried for three nights"


def test_same_bytes_whatever_the_worker_count(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "one")
    run(studies, tmp_path / "three", workers=3)
    for name in ("triage.csv", "images.csv"):
        assert without(rows(tmp_path / "one", name)) == without(rows(tmp_path / "three", name))


def test_whole_file_that_mends_is_scored(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out")
    save(dataset(draw(5), 5), studies / "b" / "cut.dcm")
    summary = run(studies, tmp_path / "out")
    assert by_name(tmp_path / "out")["cut.dcm"]["outcome"] == "SCORED"
    changed = [row for row in rows(tmp_path / "out") if row["change"] == "CHANGED"]
    assert [(row["patient_id"], row["previous_triage"]) for row in changed] == [
        ("T00005", "NOT_SCREENED")
    ]
    assert summary.new_studies == 1


def test_young_cut_file_is_unstable_and_tried_again(studies: Path, tmp_path: Path) -> None:
    now = time.time()
    os.utime(studies / "b" / "cut.dcm", (now, now))
    run(studies, tmp_path / "out")
    row = by_name(tmp_path / "out")["cut.dcm"]
    assert (row["outcome"], row["reason_code"]) == ("FAILED", "UNSTABLE")


def test_flag_stays_when_its_file_is_gone(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out")
    flagged = [row for row in rows(tmp_path / "out") if row["triage"] == "FLAGGED"]
    for row in flagged:
        Path(row["path"]).unlink()
    run(studies, tmp_path / "out")
    still = [row for row in rows(tmp_path / "out") if row["triage"] == "FLAGGED"]
    assert [row["study_key"] for row in still] == [row["study_key"] for row in flagged]
    assert {row["images_gone"] for row in still} == {"1"}
    assert {row["change"] for row in still} == {"SAME"}


@pytest.mark.parametrize("how", ["cut", "emptied", "link", "another study", "not a film"])
def test_flag_stays_when_its_path_is_overwritten(studies: Path, tmp_path: Path, how: str) -> None:
    run(studies, tmp_path / "out")
    flagged = next(row for row in rows(tmp_path / "out") if row["triage"] == "FLAGGED")
    path = Path(flagged["path"])
    whole = path.read_bytes()
    if how == "cut":
        path.write_bytes(whole[:300])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "link":
        path.unlink()
        path.symlink_to(studies / "notes.txt")
    elif how == "another study":
        save(dataset(draw(77), 77), path)
    else:
        path.write_text("a note of the same name")
    age(studies)
    run(studies, tmp_path / "out")
    still = [r for r in rows(tmp_path / "out") if r["study_key"] == flagged["study_key"]]
    assert [(r["triage"], r["score"], r["images_gone"]) for r in still] == [
        ("FLAGGED", flagged["score"], "1")
    ]
    assert still[0]["path"] == flagged["path"]
    path.unlink()
    path.write_bytes(whole)
    age(studies)
    run(studies, tmp_path / "out")
    back = next(r for r in rows(tmp_path / "out") if r["study_key"] == flagged["study_key"])
    assert (back["triage"], back["images_gone"], back["change"]) == ("FLAGGED", "0", "SAME")


@pytest.mark.parametrize("how", ["overwritten", "gone", "gone while the clock is wrong"])
def test_score_stays_though_nothing_was_written_of_it_for_long(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unchanged film's row is as old as its score: what is lost is lost from tonight on."""
    path = save(dataset(draw(1, severity=5), 1), tmp_path / "studies" / "a")
    save(dataset(draw(2), 2), tmp_path / "studies" / "b")
    out = tmp_path / "out"
    run(tmp_path / "studies", out)
    with closing(sqlite3.connect(out / "state.sqlite")) as db:
        db.execute("UPDATE images SET seen_at = '2020-01-01T00:00:00Z'")
        db.commit()
    if how == "overwritten":
        path.write_text("nothing")
    else:
        path.unlink()
    with monkeypatch.context() as patch:
        if how == "gone while the clock is wrong":
            patch.setattr("screener.night.Night.now", "2030-01-01T00:00:00Z")
        run(tmp_path / "studies", out)
    for _ in range(2):
        run(tmp_path / "studies", out)
        (row,) = (row for row in rows(out, "triage.csv") if row["images_gone"] == "1")
        assert (row["images"], row["images_scored"]) == ("1", "1")


def test_failed_copy_that_is_renamed_leaves_no_ghost(studies: Path, tmp_path: Path) -> None:
    whole = (studies / "ward a" / "IM0001").read_bytes()
    (studies / "copy.part").write_bytes(whole[:300])
    age(studies)
    run(studies, tmp_path / "out")
    (studies / "copy.part").unlink()
    run(studies, tmp_path / "out")
    assert not any(row["path"].endswith("copy.part") for row in rows(tmp_path / "out"))


def test_new_operating_point_reaches_images_whose_files_are_gone(
    studies: Path, tmp_path: Path
) -> None:
    run(studies, tmp_path / "out", threshold=0.9)
    (studies / "ward a" / "IM0001").unlink()
    run(studies, tmp_path / "out", threshold=0.1)
    row = next(r for r in rows(tmp_path / "out") if r["patient_id"] == "T00001")
    assert (row["triage"], row["threshold"]) == ("FLAGGED", "0.1000")


def test_since_in_a_first_scan_writes_nothing(studies: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no published run"):
        run(studies, tmp_path / "out", since="20000101T000000Z-000001")
    assert not (tmp_path / "out").exists()


def test_since_never_swallows_a_change(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(studies, out, threshold=0.9)
    run(studies, out, threshold=0.1)
    run(studies, out, threshold=0.9, since=first.run_id)
    run(studies, out, threshold=0.1, only_new=True)
    assert {row["triage"] for row in rows(out)} == {"FLAGGED"}


def test_baseline_holds_for_each_patient_of_a_conflict(tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    save(dataset(draw(1), 1), folder / "a")
    save(dataset(draw(3), 3, StudyInstanceUID="2.25.2001"), folder / "b")
    run(folder, tmp_path / "out", baseline=True, threshold=0.0)
    run(folder, tmp_path / "out", threshold=0.0)
    table = rows(tmp_path / "out")
    assert len(table) == 2
    assert {(row["priority"], row["change"]) for row in table} == {("", "SAME")}


@pytest.mark.parametrize("only_new", [False, True])
def test_a_conflict_that_ends_is_told(only_new: bool, tmp_path: Path) -> None:
    """Meanwhile the report had a row for each patient, held back from publishing."""
    studies, out = tmp_path / "studies", tmp_path / "out"
    save(dataset(draw(1), 1), studies / "a")
    run(studies, out)
    first = run(studies, out)
    save(dataset(draw(2), 2, StudyInstanceUID="2.25.2001"), studies / "b")
    run(studies, out)
    assert [row["change"] for row in rows(out)] == ["NEW", "NEW"]
    (studies / "b").unlink()
    run(studies, out)
    with Ledger(out / "state.sqlite") as ledger:
        ledger.db.execute("UPDATE images SET seen_at = '2001-01-01T00:00:00Z' WHERE gone = 1")
        ledger.commit()
    run(studies, out, only_new=only_new)
    (row,) = rows(out)
    assert (row["images"], row["warnings"], row["change"]) == ("1", "", "NEW")
    run(studies, out, since=first.run_id)
    # In that run the study was told just so.
    assert [row["change"] for row in rows(out)] == ["SAME"]


@pytest.mark.parametrize(
    "place", ["page_guard.PageGuard.write", "store.ReportStore.mark_published"]
)
def test_baseline_of_a_night_that_failed_takes_nothing_in(
    place: str, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out"
    run(studies, out, threshold=0.0)
    told = without(rows(out))
    with monkeypatch.context() as patch:
        patch.setattr(f"screener.report.{place}", broken)
        with pytest.raises(RunError):
            run(studies, out, threshold=0.0, baseline=True)
    for rescan in (False, True):
        run(studies, out, threshold=0.0, rescan=rescan)
        assert without(rows(out)) == told
        assert {row["change"] for row in rows(out)} == {"SAME"}


@pytest.mark.parametrize("year", [2300, 1960])
def test_clock_of_a_file_stops_nothing(studies: Path, tmp_path: Path, year: int) -> None:
    seconds = (year - 1970) * 31_556_952
    os.utime(studies / "ward a" / "IM0001", (seconds, seconds))
    run(studies, tmp_path / "out")
    assert by_name(tmp_path / "out")["IM0001"]["outcome"] == "SCORED"
    assert run(studies, tmp_path / "out").examined == 1


def test_output_folder_around_the_studies_is_refused(studies: Path) -> None:
    for out in (studies, studies.parent):
        with pytest.raises(UsageError, match="holds the path"):
            run(studies, out)


def test_dangling_link_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "mount").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NothingToScreenError):
        run(tmp_path / "mount", tmp_path / "out")


def test_doubled_slash_is_one(studies: Path, tmp_path: Path) -> None:
    assert scan([f"/{studies}"], tmp_path / "out", Settings(model=TINY, workers=1)).paths == 7


def test_state_of_another_program_is_left_alone(studies: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE theirs (x)")
        db.commit()
    with pytest.raises(RunError, match="another program"):
        run(studies, tmp_path / "out", state=other)
    with pytest.raises(UsageError, match="no regular file"):
        run(studies, tmp_path / "out", state=Path("/dev/null"))


def test_moved_file_is_nothing_new(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out")
    (studies / "ward a" / "IM0001").rename(studies / "moved")
    run(studies, tmp_path / "out")
    row = next(r for r in rows(tmp_path / "out") if r["patient_id"] == "T00001")
    assert (row["change"], row["images"], row["images_gone"]) == ("SAME", "1", "1")


def test_touched_file_is_hashed_and_nothing_new(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out")
    os.utime(studies / "ward a" / "IM0001", (OLD + 9, OLD + 9))
    os.utime(studies / "b" / "lateral.dcm", (OLD + 9, OLD + 9))
    assert run(studies, tmp_path / "out").examined == 1, "only the cut file is examined again"


def test_copies_and_conflicts(tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    film = dataset(draw(1), 1)
    save(film, folder / "a")
    shutil.copy(folder / "a", folder / "b")
    save(dataset(draw(2), 2), folder / "c")
    save(
        dataset(draw(3), 3, SOPInstanceUID="2.25.1002", StudyInstanceUID="2.25.2002"), folder / "d"
    )
    for name in "cd":
        assert (folder / name).exists()
    save(dataset(draw(6), 6), folder / "e")
    save(dataset(draw(7), 7, StudyInstanceUID="2.25.2006"), folder / "f")
    run(folder, tmp_path / "out")
    images = by_name(tmp_path / "out")
    assert images["b"]["duplicate_of"] == str(folder / "a")
    assert images["a"]["duplicate_of"] == ""
    assert "UID_CONFLICT" in images["c"]["warnings"]
    assert "UID_CONFLICT" in images["d"]["warnings"]
    studies_of = [row for row in rows(tmp_path / "out") if row["study_key"] == "2.25.2006"]
    assert {row["patient_id"] for row in studies_of} == {"T00006", "T00007"}
    assert all("IDENTITY_CONFLICT" in row["warnings"] for row in studies_of)
    one = next(row for row in rows(tmp_path / "out") if row["study_key"] == "2.25.2001")
    assert (one["images"], one["images_scored"]) == ("1", "1")


def test_a_path_that_holds_no_image_any_more_is_no_copy(tmp_path: Path) -> None:
    studies, out = tmp_path / "studies", tmp_path / "out"
    save(dataset(draw(1), 1), studies / "first")
    shutil.copy(studies / "first", studies / "copy")
    save(dataset(draw(2), 1), studies / "other pixels")
    run(studies, out)
    noted = [(row["duplicate_of"] != "", row["warnings"]) for row in rows(out, "images.csv")]
    # In the order of the paths: copy, first, other pixels.
    assert noted == [(False, "UID_CONFLICT"), (True, "UID_CONFLICT"), (False, "UID_CONFLICT")]
    (studies / "first").write_text("overwritten")
    (studies / "other pixels").write_text("overwritten too")
    run(studies, out)
    found = {Path(row["path"]).name: row for row in rows(out, "images.csv")}
    for name in ("first", "other pixels"):
        row = found[name]
        assert (row["outcome"], row["duplicate_of"], row["warnings"]) == ("NOT_AN_IMAGE", "", "")
    # Two films had its UID, though the file of one is overwritten.
    assert found["copy"]["warnings"] == "UID_CONFLICT"


def test_failed_copy_does_not_count_where_another_was_scored(tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    whole = save(dataset(draw(1), 1), folder / "whole").read_bytes()
    (folder / "cut").write_bytes(whole[:-100])
    age(folder)
    run(folder, tmp_path / "out")
    assert by_name(tmp_path / "out")["cut"]["outcome"] == "FAILED"
    assert rows(tmp_path / "out")[0]["triage"] in ("FLAGGED", "NOT_FLAGGED")


@pytest.mark.parametrize(("delimiter", "found"), [(";", b";"), ("\t", b"\t"), ("|", b",")])
def test_a_spreadsheet_has_the_delimiter_of_its_country(
    delimiter: str, found: bytes, studies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(studies, out, spreadsheet=True, report=TableLayout(delimiter=delimiter))
    head = b'\xef\xbb\xbf"schema_version"%b"run_id"' % found
    assert (out / "triage-spreadsheet.csv").read_bytes().startswith(head)


def test_a_link_to_no_folder_is_told_as_one(studies: Path, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "not mounted")
    with pytest.raises(UsageError, match="cannot be made") as raised:
        run(studies, tmp_path / "out")
    assert raised.value.why.startswith("it is a link to no folder")
    assert not (tmp_path / "not mounted").exists()


def test_other_identifiers_are_another_statement(studies: Path, tmp_path: Path) -> None:
    """A worklist that was told of nobody must be told when the trial is over."""
    out = tmp_path / "out"
    run(studies, out, identifiers="none")
    for mode in ("full", "pseudonym", "none", "full"):
        run(studies, out, identifiers=mode, only_new=True)
        told = rows(out)
        assert len(told) > 1, mode
        assert {(row["change"], row["is_new"]) for row in told} == {("CHANGED", "true")}
        assert [row["previous_triage"] for row in told] == [row["triage"] for row in told]
        run(studies, out, identifiers=mode, only_new=True)
        assert rows(out) == []


def test_only_new_filters_the_worklist_alone(studies: Path, tmp_path: Path) -> None:
    first = run(studies, tmp_path / "out")
    save_png(draw(9), studies / "new.png")
    run(studies, tmp_path / "out", only_new=True)
    assert [Path(row["path"]).name for row in rows(tmp_path / "out")] == ["new.png"]
    assert len(rows(tmp_path / "out", "images.csv")) == 8
    run(studies, tmp_path / "out", only_new=True, since=first.run_id)
    assert [Path(row["path"]).name for row in rows(tmp_path / "out")] == ["new.png"]
    with pytest.raises(UsageError, match="no published run"):
        run(studies, tmp_path / "out", since="20000101T000000Z-000001")


def test_baseline_raises_nothing_until_something_changes(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out", baseline=True)
    assert {row["priority"] for row in rows(tmp_path / "out")} == {""}
    run(studies, tmp_path / "out")
    table = rows(tmp_path / "out")
    assert any(row["triage"] == "FLAGGED" for row in table)
    assert {(row["priority"], row["change"]) for row in table} == {("", "SAME")}


def test_baseline_holds_under_another_operating_point(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(studies, out, baseline=True, threshold=0.9999)
    run(studies, out, threshold=0.0)
    table = [row for row in rows(out) if row["triage"] == "FLAGGED"]
    assert {(row["priority"], row["previous_triage"]) for row in table} == {("", "NOT_FLAGGED")}
    with Ledger(out / "state.sqlite") as ledger:
        kept = ledger.db.execute("SELECT study_key, baseline FROM studies").fetchall()
        said = ledger.db.execute(
            "SELECT study_key, triage, digest FROM reported WHERE triage = 'FLAGGED'"
        ).fetchall()
        # A state of before names verdict and images as they were told.
        for study_key, triage, digest in said:
            ledger.db.execute(
                "UPDATE studies SET baseline = ? WHERE study_key = ?",
                (json.dumps({"": f"{triage} {digest}"}), study_key),
            )
            ledger.db.execute("INSERT INTO stale VALUES (?)", (study_key,))
        ledger.commit()
    assert len(kept) > len(said) > 0
    assert run(studies, out, threshold=0.0).new_studies == 0
    assert {row["priority"] for row in rows(out)} == {""}
    # A film that came later is no part of what was taken in.
    study = next(row["study_instance_uid"] for row in table if row["patient_id"] == "T00001")
    save(dataset(draw(21), 21, StudyInstanceUID=study, PatientID="T00001"), studies / "later")
    run(studies, out, threshold=0.0)
    raised = [row["patient_id"] for row in rows(out) if row["priority"]]
    assert raised == ["T00001"]


def test_new_operating_point_reaches_recent_studies_without_decoding(
    studies: Path, tmp_path: Path
) -> None:
    run(studies, tmp_path / "out")
    summary = run(studies, tmp_path / "out", threshold=0.0)
    assert summary.examined == 1, "the cut file alone"
    scored = [row for row in rows(tmp_path / "out") if row["score"]]
    assert {(row["triage"], row["threshold"], row["operating_point"]) for row in scored} == {
        ("FLAGGED", "0.0000", "custom")
    }


def test_older_study_keeps_the_verdict_of_its_time(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out")
    with Ledger(tmp_path / "out" / "state.sqlite") as ledger:
        ledger.db.execute("UPDATE studies SET first_seen_at = '2020-01-01T00:00:00Z'")
        ledger.commit()
    save(dataset(draw(11), 11), studies / "new")
    run(studies, tmp_path / "out", threshold=0.9999)
    names = {
        row["patient_id"]: row["operating_point"] for row in rows(tmp_path / "out") if row["score"]
    }
    assert names.pop("T00011") == "custom"
    assert set(names.values()) == {"default"}


@pytest.mark.parametrize(("recent", "rescan"), [(False, False), (False, True), (True, False)])
def test_moved_file_of_an_older_study_keeps_the_verdict_of_its_time(
    recent: bool, rescan: bool, tmp_path: Path
) -> None:
    studies, out = tmp_path / "studies", tmp_path / "out"
    save(dataset(draw(1), 1), studies / "incoming" / "film")
    run(studies, out, threshold=0.9999)
    if not recent:
        with Ledger(out / "state.sqlite") as ledger:
            ledger.db.execute("UPDATE studies SET first_seen_at = '2020-01-01T00:00:00Z'")
            ledger.commit()
    (studies / "incoming").rename(studies / "2020")
    run(studies, out, threshold=0.0, rescan=rescan)
    (row,) = rows(out)
    assert row["triage"] == ("FLAGGED" if recent or rescan else "NOT_FLAGGED")
    assert row["change"] == ("CHANGED" if recent or rescan else "SAME")


@pytest.mark.parametrize("recent", [True, False])
def test_age_range_of_a_new_model_reaches_recent_studies_alone(
    recent: bool, tmp_path: Path
) -> None:
    tiny, out = load_bundle(TINY), tmp_path / "out"
    other = tmp_path / "other.onnx"
    other.write_bytes(with_card(tiny, replace(tiny.card, age_range_years=(4.0, 120.0))))
    save(dataset(draw(1), 1, PatientAge="010Y"), tmp_path / "studies" / "child")
    run(tmp_path / "studies", out)
    assert [row["reason_code"] for row in rows(out)] == ["FRONTAL_TURNED_AWAY"]
    if not recent:
        with Ledger(out / "state.sqlite") as ledger:
            ledger.db.execute("UPDATE studies SET first_seen_at = '2020-01-01T00:00:00Z'")
            ledger.commit()
    assert run(tmp_path / "studies", out, model=other).examined == recent
    assert rows(out)[0]["images_scored"] == ("1" if recent else "0")


def test_rescan_examines_everything(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out")
    assert run(studies, tmp_path / "out", rescan=True).examined == 7


@pytest.mark.parametrize("kind", ["missing", "empty", "too few", "sentinel"])
def test_unmounted_archive_leaves_the_last_report(studies: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    run(studies, out)
    before = {name: (out / name).read_bytes() for name in ("triage.csv", "images.csv", "run.json")}
    changes: dict[str, Any] = {}
    paths = [studies]
    if kind == "missing":
        paths = [tmp_path / "not there"]
    elif kind == "empty":
        (tmp_path / "bare").mkdir()
        paths = [studies, tmp_path / "bare"]
    elif kind == "too few":
        changes["min_paths"] = 100
    else:
        changes["sentinel"] = "MOUNTED"
    with pytest.raises(NothingToScreenError):
        run(paths, out, **changes)
    assert before == {name: (out / name).read_bytes() for name in before}
    assert run(studies, out).outcomes == json.loads(before["run.json"])["outcomes"]


@pytest.mark.parametrize("allow_empty", [False, True])
def test_path_that_cannot_be_listed_leaves_the_last_report(
    allow_empty: bool, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(studies, out)
    before = (out / "run.json").read_bytes()

    def stale(folder: bytes, *_: object) -> Iterator[Found]:
        yield Found(folder, Rejection(ReasonCode.UNREADABLE, "OSError"))

    monkeypatch.setattr(discovery, "_list_folder", stale)
    with pytest.raises(NothingToScreenError, match="cannot be listed: OSError"):
        run(studies, out, allow_empty=allow_empty)
    assert (out / "run.json").read_bytes() == before
    monkeypatch.undo()
    assert run(studies, out).new_studies == 0


def test_key_that_cannot_be_used_is_told_before_the_night(studies: Path, tmp_path: Path) -> None:
    (tmp_path / "out.key").write_text("no key")
    (tmp_path / "out.key").chmod(0o600)
    with pytest.raises(UsageError, match="is no key"):
        run(studies, tmp_path / "out", identifiers="pseudonym")
    assert not (tmp_path / "out" / "state.sqlite").exists()


def test_empty_folder_where_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    assert run(tmp_path / "bare", tmp_path / "out", allow_empty=True).exit_code == 0
    assert rows(tmp_path / "out") == []
    with pytest.raises(NothingToScreenError, match="fewer than min_paths = 1"):
        run(tmp_path / "bare", tmp_path / "out", allow_empty=True, min_paths=1)


def test_another_failure_under_the_same_name_is_new(studies: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", studies / "b" / "cut.dcm"
    before = path.read_bytes()
    assert [run(studies, out).exit_code, run(studies, out).exit_code] == [3, 0]
    whole = save(dataset(draw(6), 6), path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    age(studies)
    assert [run(studies, out).new_failures, run(studies, out).new_failures] == [1, 0]
    # The same in other words: first still being written, then cut for good.
    path.write_bytes(before)
    codes = [run(studies, out).outcomes["FAILED"]]
    age(studies)
    summary = run(studies, out)
    codes.append(summary.outcomes["FAILED"])
    assert codes == [{"UNSTABLE": 1}, {"TRUNCATED": 1}]
    assert summary.exit_code == 3


def test_failure_that_was_away_for_a_report_is_new_again(studies: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", studies / "b" / "cut.dcm"
    run(studies, out)
    path.rename(tmp_path / "away")
    assert run(studies, out).exit_code == 0
    (tmp_path / "away").rename(path)
    assert [run(studies, out).exit_code, run(studies, out).exit_code] == [3, 0]


def test_second_run_at_once_is_refused(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(studies, out)
    with run_lock(out, tmp_path / "elsewhere.sqlite"), pytest.raises(LockedError):
        run(studies, out)
    with run_lock(tmp_path, out / "state.sqlite"), pytest.raises(LockedError):
        run(studies, out)


def test_interrupted_run_keeps_what_was_done(studies: Path, tmp_path: Path) -> None:
    stop = Stop()
    seen = 0

    def progress(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 4:
            stop.signal_number = 15

    with pytest.raises(InterruptedRunError) as caught:
        scan(
            [studies],
            tmp_path / "out",
            Settings(model=TINY, workers=1),
            progress=progress,
            stop=stop,
        )
    assert caught.value.exit_code == 143
    assert not (tmp_path / "out" / "triage.csv").exists()
    run(studies, tmp_path / "out")
    run(studies, tmp_path / "undisturbed")
    assert without(rows(tmp_path / "out")) == without(rows(tmp_path / "undisturbed"))


def test_output_folder_inside_the_studies_is_not_walked(studies: Path) -> None:
    run(studies, studies / "report")
    summary = run(studies, studies / "report")
    assert summary.paths == 7


def test_nothing_is_written_beside_the_studies(studies: Path, tmp_path: Path) -> None:
    before = sorted((str(path), path.stat().st_mtime_ns) for path in studies.rglob("*"))
    run(studies, tmp_path / "out")
    assert before == sorted((str(path), path.stat().st_mtime_ns) for path in studies.rglob("*"))


def test_report_is_private(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out")
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_threshold_of_another_model_is_refused(studies: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fitted to another model"):
        run(studies, tmp_path / "out", threshold=0.3, threshold_model_sha256="0" * 64)
    assert not (tmp_path / "out").exists()


def test_precision_that_the_model_lacks_is_refused(studies: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is float, not int8"):
        run(studies, tmp_path / "out", precision="int8")


def test_newer_state_is_refused(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out")
    with Ledger(tmp_path / "out" / "state.sqlite") as ledger:
        ledger.commit()
        ledger.db.execute("COMMIT")
        ledger.db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="version 99"):
        run(studies, tmp_path / "out")


def test_broken_state_is_told(studies: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "state.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(RunError, match="cannot be opened"):
        run(studies, tmp_path / "out")


def test_the_caller_keeps_its_umask(tmp_path: Path) -> None:
    save(dataset(draw(1), 1), tmp_path / "studies" / "a")
    before = os.umask(0o022)
    try:
        scan([tmp_path / "studies"], tmp_path / "out", Settings(model=TINY))
        with pytest.raises(NothingToScreenError):
            scan([tmp_path / "nothing"], tmp_path / "other", Settings(model=TINY))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert (tmp_path / "out" / "triage.csv").stat().st_mode & 0o777 == 0o600
