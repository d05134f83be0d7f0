"""A patient is forgotten: no byte of them is left, their files stay out, a kill changes nothing."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from screener.errors import LockedError, UsageError
from screener.ledger_schema import copy_of
from screener.lock import run_lock
from screener.outcomes import REASONS, Outcome, ReasonCode
from screener.pacs.worklist import file_name
from screener.publication import verify_published
from screener.purge import PurgeSummary, purge
from screener.settings import Settings
from tests.faults.nights import ROOT, environment, screen
from tests.films import TINY, dataset, draw, save, save_png

pytestmark = pytest.mark.usefixtures("private_pool")
WHO = "PURGEME-4711"
NAME = "Canary^Purged"
ACCESSION = "ACC-CANARY"
UID = "2.25.777000111"
OTHERS = ("Other^Patient", "2.25.888")


def film(number: int, **changes: Any) -> Any:
    theirs = {
        "PatientID": WHO,
        "PatientName": NAME,
        "AccessionNumber": ACCESSION,
        "StudyInstanceUID": f"{UID}.{number}",
        "SeriesInstanceUID": f"{UID}.{number}.1",
        "SOPInstanceUID": f"{UID}.{number}.1.1",
    }
    return dataset(draw(number, size=160, severity=4), number, **(theirs | changes))


def populate(studies: Path) -> None:
    """Three studies of one patient (one of them a wreck, one shared) and others."""
    save(film(1), studies / "Canary Purged" / "a")
    broken = save(film(2), studies / "Canary Purged" / "cut").read_bytes()
    (studies / "Canary Purged" / "cut").write_bytes(broken[: len(broken) // 2])
    save(film(3), studies / "shared 1")
    other = {"PatientID": "OTHER", "PatientName": OTHERS[0], "SOPInstanceUID": f"{OTHERS[1]}.3"}
    other["AccessionNumber"] = "ANOTHER"
    save(film(3, **other, SeriesInstanceUID=f"{OTHERS[1]}.2"), studies / "shared 2")
    save(dataset(draw(4, size=160), 4, PatientID="4711", PatientName=OTHERS[0]), studies / "b")
    save_png(draw(5, size=160), studies / "c.png")
    for path in studies.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights, as an older program left its copy and a publish its worklist."""
    folder = tmp_path_factory.mktemp("purge")
    populate(folder / "studies")
    out = folder / "out"
    for _ in range(2):
        screen(folder / "studies", out, settle=0)
    shutil.copy(out / "state.sqlite", copy_of(out / "state.sqlite", 1))
    shutil.copy(out / "state.sqlite", out / "state.sqlite.v1.writing")
    return folder


def copied(before: Path, folder: Path) -> tuple[Path, Path]:
    shutil.copytree(before / "out", folder / "out")
    return before / "studies", folder / "out"


def forget(out: Path, **changes: Any) -> PurgeSummary:
    def nowhere(entries: Sequence[tuple[str, str]]) -> None:
        assert entries == ()

    settings = Settings(model=TINY, workers=1)
    who = changes.pop("patient", WHO), changes.pop("issuer", None)
    return purge(out, *who, settings, nowhere, state=changes.pop("state", None))


def left_of_them(out: Path) -> list[str]:
    """Every file with a byte of the patient; text as UTF-8, as hexadecimal digits, as UTF-16."""
    words = (WHO, NAME, "Canary", ACCESSION, f"{UID}.1", f"{UID}.2", f"{UID}.3.1.1", "shared 1")
    needles = [word.encode() for word in words]
    needles += [needle.hex().encode() for needle in needles]
    needles += [word.encode("utf-16-le") for word in words]
    found = []
    for path in out.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        content += os.fsencode(path.relative_to(out))
        found += [f"{path.name}: {needle!r}" for needle in needles if needle in content]
    return found


def rows(out: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((out / name).read_text("utf-8").splitlines()))


def test_no_byte_of_the_patient_is_left(before: Path, tmp_path: Path) -> None:
    studies, out = copied(before, tmp_path)
    shown = {row["path"] for row in rows(out, "images.csv")}
    assert left_of_them(out)
    summary = forget(out)
    assert left_of_them(out) == []
    assert (summary.images, summary.studies, summary.reports) == (3, 3, 2)
    assert not list(out.glob("*.v1*"))
    assert [path.name for path in (out / "runs").iterdir()] == [summary.run_id]
    assert verify_published(out) == ()
    kept = {row["path"] for row in rows(out, "images.csv")}
    assert kept == {path for path in shown if "Canary" not in path and "shared 1" not in path}
    triage = {row["patient_id"]: row for row in rows(out, "triage.csv")}
    assert set(triage) == {"OTHER", "4711", ""}
    # The shared study has one patient now, so it says another thing; the others say the same.
    assert {who: row["change"] for who, row in triage.items()} == {
        "OTHER": "NEW", "4711": "SAME", "": "SAME",
    }  # fmt: skip
    key = out / "state.sqlite.key"
    assert key.stat().st_mode & 0o777 == 0o600
    # The files are still there: they stay out, every night, and nothing of them is kept.
    for _ in range(2):
        again = screen(studies, out, settle=0)
        assert again.outcomes["INELIGIBLE"]["PURGED"] == 3
        assert again.paths == 6
        assert {word for word in left_of_them(out) if f"{UID}.3'" not in word} == set()
    purged = [row for row in rows(out, "images.csv") if row["reason_code"] == "PURGED"]
    for row in purged:
        assert row["outcome"] == REASONS[ReasonCode.PURGED][0] == Outcome.INELIGIBLE
        assert re.fullmatch(re.escape(f"{studies}/purged:") + "[0-9a-f]{32}", row["path"])
        said = {name for name, value in row.items() if value}
        assert said <= {
            "schema_version", "run_id", "path", "outcome", "reason_code", "reason", "screened_at",
        }  # fmt: skip
    assert len(rows(out, "triage.csv")) == 3
    # Twice is once.
    assert forget(out).images == 0
    assert screen(studies, out, settle=0).outcomes["INELIGIBLE"]["PURGED"] == 3


@pytest.mark.parametrize("mode", ["pseudonym", "none"])
def test_reports_that_name_nobody_are_made_anew_too(
    mode: str, before: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    screen(before / "studies", out, settle=0, identifiers=mode)
    page = (out / "report.html").read_bytes()
    summary = forget(out)
    assert left_of_them(out) == []
    assert [path.name for path in (out / "runs").iterdir()] == [summary.run_id]
    assert json.loads((out / "run.json").read_bytes())["identifiers"] == mode
    assert len((out / "report.html").read_bytes()) < len(page)


@pytest.mark.parametrize("mode", ["full", "pseudonym", "none"])
def test_each_folder_of_a_shared_state_is_purged_as_itself(mode: str, tmp_path: Path) -> None:
    """The report is made anew over the folder's own studies, whichever was scanned last."""
    state, outs = tmp_path / "state.sqlite", (tmp_path / "out a", tmp_path / "out b")
    for out, number in zip(outs, (1, 2), strict=True):
        site = tmp_path / f"site {number}"
        save(film(number, IssuerOfPatientID="ST MARY"), site / "theirs")
        save(dataset(draw(number + 5, size=160), number + 5, PatientID="4711"), site / "b")
        screen(site, out, settle=0, state=state, identifiers=mode)
    left = {out: json.loads((out / "run.json").read_bytes())["paths"] for out in outs}
    assert left == dict.fromkeys(outs, 2)
    for out, other in (outs, outs[::-1]):
        summary = forget(out, state=state)
        assert (summary.others, summary.again) == ((other,), out is outs[1])
        assert summary.reports == 1
        assert [path.name for path in (out / "runs").iterdir()] == [summary.run_id]
        assert left_of_them(out) == []
        if mode == "full":
            (row,) = rows(out, "triage.csv")
            assert row["patient_id"] == "4711"
            assert row["source"].endswith(f"site {outs.index(out) + 1}")
    assert left_of_them(tmp_path / "out a") == []


def test_a_folder_that_was_moved_is_known_by_its_report(before: Path, tmp_path: Path) -> None:
    _, out = copied(before, tmp_path)
    assert forget(out).images == 3
    assert left_of_them(out) == []


def test_another_patient_of_the_same_number_stays(tmp_path: Path) -> None:
    studies, out = tmp_path / "studies", tmp_path / "out"
    for number, issuer in enumerate(("ST MARY", "ST JOHN", ""), 1):
        named = {"IssuerOfPatientID": issuer} if issuer else {}
        save(film(number, **named), studies / f"{number}")
    screen(studies, out)
    with pytest.raises(UsageError, match="3 issuers"):
        forget(out)
    forget(out, issuer="ST MARY")
    assert {row["issuer_of_patient_id"] for row in rows(out, "triage.csv")} == {"ST JOHN", ""}
    assert screen(studies, out).outcomes["INELIGIBLE"] == {"PURGED": 1}


def test_a_film_without_a_patient_goes_with_its_study(tmp_path: Path) -> None:
    studies, out = tmp_path / "studies", tmp_path / "out"
    save(film(1), studies / "1")
    save(film(1, PatientID="", SOPInstanceUID=f"{UID}.1.1.2"), studies / "2")
    screen(studies, out)
    assert forget(out).images == 2
    assert left_of_them(out) == []
    assert screen(studies, out).outcomes == {"INELIGIBLE": {"PURGED": 2}}


@pytest.mark.parametrize("told", [True, False], ids=["changed", "found by the rehash"])
def test_a_file_that_became_theirs(told: bool, tmp_path: Path) -> None:
    """What its path held before was another's: it stays, as an image whose file is gone."""
    studies, out = tmp_path / "studies", tmp_path / "out"
    path = save(dataset(draw(4, size=160), 4, PatientID="4711"), studies / "a")
    screen(studies, out)
    forget(out)
    path.write_bytes(save(film(1), tmp_path / "theirs").read_bytes())
    if not told:
        now = path.stat()
        with closing(sqlite3.connect(out / "state.sqlite")) as db:
            db.execute(
                "UPDATE images SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?",
                (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino),
            )
            db.commit()
    for _ in range(2):
        assert screen(studies, out).outcomes == {"INELIGIBLE": {"PURGED": 1}}
        (row,) = rows(out, "triage.csv")
        assert (row["patient_id"], row["images_gone"]) == ("4711", "1")
        assert left_of_them(out) == []


def test_a_patient_who_was_never_seen_is_kept_out(before: Path, tmp_path: Path) -> None:
    _, out = copied(before, tmp_path)
    run_json = (out / "run.json").read_bytes()
    assert forget(out, patient="NEVER SEEN").images == 0
    assert (out / "run.json").read_bytes() == run_json
    save(film(9, PatientID="NEVER SEEN"), tmp_path / "late" / "a")
    assert screen(tmp_path / "late", out).outcomes == {"INELIGIBLE": {"PURGED": 1}}


@pytest.mark.parametrize("harm", ["lost", "another"])
def test_without_the_key_nothing_is_screened(harm: str, before: Path, tmp_path: Path) -> None:
    studies, out = copied(before, tmp_path)
    forget(out)
    key = out / "state.sqlite.key"
    key.unlink()
    if harm == "another":
        key.touch(mode=0o600)
        key.write_text("ab" * 32)
    report = (out / "run.json").read_bytes()
    with pytest.raises(UsageError, match="key"):
        screen(studies, out)
    assert (out / "run.json").read_bytes() == report


def test_another_site_file_is_refused_before_anything_is_done(before: Path, tmp_path: Path) -> None:
    _, out = copied(before, tmp_path)
    with sqlite3.connect(out / "state.sqlite") as db:
        db.execute("UPDATE settings SET value = replace(value, 'site\": \"', 'site\": \"0')")
    db.close()
    with pytest.raises(UsageError, match="another site file"):
        forget(out)
    with closing(sqlite3.connect(out / "state.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM tombstones").fetchone() == (0,)


def test_a_scan_tells_of_a_purge_that_was_not_finished(before: Path, tmp_path: Path) -> None:
    studies, out = copied(before, tmp_path)
    with closing(sqlite3.connect(out / "state.sqlite")) as db:
        db.execute("INSERT INTO settings VALUES ('purge_begun', '[]')")
        db.commit()
    assert "purge" in " ".join(screen(studies, out, settle=0).notices)
    forget(out)
    assert "purge" not in " ".join(screen(studies, out, settle=0).notices)


def test_a_scan_at_work_is_waited_for(before: Path, tmp_path: Path) -> None:
    _, out = copied(before, tmp_path)
    with run_lock(out, out / "state.sqlite"), pytest.raises(LockedError):
        forget(out)


def command(out: Path, *options: str, who: str = WHO) -> list[str]:
    return [
        *(sys.executable, "-m", "screener", "purge", "--patient", who, "--out", str(out)),
        *options,
    ]


def test_a_number_that_nobody_has_is_told(before: Path, tmp_path: Path) -> None:
    _, out = copied(before, tmp_path)
    done = subprocess.run(
        command(out, who="47 11"), capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0
    assert done.stderr == (
        "note: nothing of this patient was known: check the number; files that come stay out\n"
    )


def test_the_command_withdraws_from_the_worklist(before: Path, tmp_path: Path) -> None:
    _, out = copied(before, tmp_path)
    worklist = tmp_path / "worklist"
    worklist.mkdir()
    site = tmp_path / "site.toml"
    site.write_text(f'[worklist]\nfolder = "{worklist}"\n')
    entry, other = worklist / file_name(f"{UID}.1", ""), worklist / file_name("2.25.5", "")
    for path in (entry, other):
        path.write_bytes(b"entry")
    with closing(sqlite3.connect(out / "state.sqlite")) as db:
        db.execute(
            "INSERT INTO deliveries (study_key, patient_key, kind, door, identity, state,"
            " queued_at) VALUES (?, '', 'worklist', 'worklist', 'i', 'DELIVERED', '')",
            (f"{UID}.1",),
        )
        db.commit()

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(out, *options), capture_output=True, text=True, env=environment(), check=False
        )

    refused = run()
    assert refused.returncode == 2
    assert "worklist" in refused.stderr
    assert entry.exists()
    done = run("--config", str(site))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 worklist entry and 0 fetched files went" in done.stdout
    assert (entry.exists(), other.exists()) == (False, True)
    assert left_of_them(out) == []
    for word in (NAME, ACCESSION, UID):
        assert word not in done.stdout + refused.stderr


def kill_after(out: Path, delay_s: float) -> int:
    """Run the command and kill it so long after it took the lock."""
    (out / ".lock").unlink(missing_ok=True)
    started = subprocess.Popen(
        command(out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), cwd=ROOT
    )
    while not (out / ".lock").exists() and started.poll() is None:
        time.sleep(0.001)
    time.sleep(delay_s)
    started.send_signal(signal.SIGKILL)
    started.communicate()
    return started.returncode


@pytest.mark.parametrize(
    "steps", [3, pytest.param(60, marks=pytest.mark.long)], ids=["few", "many"]
)
def test_a_purge_that_is_killed_is_completed_by_the_next(
    steps: int, before: Path, tmp_path: Path
) -> None:
    studies, out = copied(before, tmp_path)
    begun = time.monotonic()
    subprocess.run(command(out), env=environment(), check=True, capture_output=True)
    longest_s = time.monotonic() - begun
    expected = rows(out, "images.csv")
    hit = 0
    for step in range(steps):
        shutil.rmtree(out)
        copied(before, tmp_path)
        hit += kill_after(out, step / steps * longest_s / 3) == -signal.SIGKILL
        forget(out)
        assert left_of_them(out) == []
        assert verify_published(out) == ()
        different = {"run_id", "screened_at", "decode_ms"}
        assert [{k: r[k] for k in r if k not in different} for r in rows(out, "images.csv")] == [
            {k: r[k] for k in r if k not in different} for r in expected
        ]
        with closing(sqlite3.connect(out / "state.sqlite")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert db.execute("SELECT * FROM settings WHERE key = 'purge_begun'").fetchall() == []
    assert hit
    assert screen(studies, out, settle=0).outcomes["INELIGIBLE"]["PURGED"] == 3
