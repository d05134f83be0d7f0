"""The worklist as its servers give it: exactly what is raised, and nothing for longer than that."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from screener.domain import Triage
from screener.pacs.publish import publish
from screener.pacs.site import Worklist
from screener.pacs.worklist import LOCK, WorklistError, locked
from screener.settings import Settings
from tests.pacs import nights
from tests.pacs.nights import CONFLICT, FLAGGED, NAMES, NEGATIVE, study_uid
from tests.pacs.servers import Orthanc, need, wlmscpfs

TITLE = "TRIAGE"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an AE title, as wlmscpfs reads it."""
    path = tmp_path / "worklists" / TITLE
    path.mkdir(parents=True)
    return path


def wanting(folder: Path, **changes: Any) -> Settings:
    return nights.settings(worklist=Worklist(folder=folder, ae_title=TITLE, **changes))


def entries(folder: Path) -> dict[str, Dataset]:
    """Study UID -> entry."""
    found = [dcmread(path) for path in folder.glob("*.wl")]
    return {str(each.StudyInstanceUID): each for each in found}


def found_studies(port: int, title: str, priority: str) -> list[str]:
    need("findscu")
    done = subprocess.run(
        [
            *("findscu", "-W", "-aec", title, "-k", f"0040,1003={priority}", "-k", "0020,000D"),
            *("-k", "0040,1009", "-k", "0040,1400", "127.0.0.1", str(port)),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
    )
    assert "Failed" not in done.stderr
    responses = done.stderr.split("Find Response:")[1:]
    return sorted(re.findall(r"\(0020,000d\) UI \[([0-9.]+)", "".join(responses)))


def test_both_servers_give_exactly_the_stat_studies(
    night: Path, folder: Path, archive: Orthanc
) -> None:
    raised = sorted(study_uid(number) for number in FLAGGED)
    assert publish(night, wanting(folder)).exit_code == 0
    with wlmscpfs(folder.parent) as port:
        assert found_studies(port, TITLE, "STAT") == raised
        assert found_studies(port, TITLE, "HIGH") == []
    log = (folder.parent.parent / "wlmscpfs.log").read_text(errors="replace")
    assert "will be ignored" not in log
    assert "incomplete" not in log
    copy = nights.copied(night, night.parent / "copy")
    with sqlite3.connect(copy / "state.sqlite") as db:
        db.execute("DELETE FROM deliveries")
    db.close()
    assert publish(copy, wanting(archive.worklists)).exit_code == 0
    assert found_studies(archive.dicom, archive.ae_title, "STAT") == raised


def test_an_entry_says_who_which_study_how_urgent_and_why(night: Path, folder: Path) -> None:
    publish(night, wanting(folder))
    found = entries(folder)
    assert sorted(found) == sorted(study_uid(number) for number in FLAGGED)
    for number, (sets, name) in NAMES.items():
        one = found[study_uid(number)]
        assert str(one.PatientName) == name
        if sets is not None:
            declared = one.SpecificCharacterSet
            assert ([declared] if isinstance(declared, str) else list(declared)) == sets
        assert one.PatientID == f"T{number:05d}"
        assert one.AccessionNumber == f"A{number}"
        assert (one.RequestedProcedurePriority, one.ReportingPriority) == ("STAT", "HIGH")
        assert "score 0.5752 for covid, threshold 0.5000" in one.RequestedProcedureComments
        assert "tiny-test-model" in one.RequestedProcedureComments
        step = one.ScheduledProcedureStepSequence[0]
        assert (step.ScheduledStationAETitle, step.Modality) == (TITLE, "CR")
    for path in folder.glob("*.wl"):
        assert re.fullmatch(r"screener-[0-9a-f]{32}\.wl", path.name)


def test_a_study_without_a_priority_or_of_two_patients_is_not_raised(
    night: Path, folder: Path
) -> None:
    publish(night, wanting(folder))
    assert not {study_uid(NEGATIVE), study_uid(CONFLICT)} & set(entries(folder))


def test_an_entry_is_withdrawn_after_its_hours_and_does_not_come_back(
    night: Path, folder: Path
) -> None:
    publish(night, wanting(folder))
    with sqlite3.connect(night / "state.sqlite") as db:
        db.execute(
            "UPDATE deliveries SET done_at = '2020-01-01T00:00:00Z' WHERE study_key = ?",
            (study_uid(11),),
        )
    db.close()
    summary = publish(night, wanting(folder))
    assert [each.withdrawn for each in summary.delivered] == [1]
    assert len(entries(folder)) == 5
    publish(night, wanting(folder))
    assert study_uid(11) not in entries(folder)


def test_an_entry_is_withdrawn_when_the_study_was_read(night: Path, folder: Path) -> None:
    publish(night, wanting(folder))
    publish(night, wanting(folder), done=frozenset({"A11", "A12", "unknown"}))
    assert len(entries(folder)) == 4
    publish(night, wanting(folder))
    assert len(entries(folder)) == 4


def test_a_study_that_was_read_before_is_not_raised(night: Path, folder: Path) -> None:
    publish(night, wanting(folder), done=frozenset({"A11"}))
    assert study_uid(11) not in entries(folder)


def test_an_entry_goes_when_the_verdict_does_and_comes_back_with_it(
    studies: Path, tmp_path: Path, folder: Path
) -> None:
    out = tmp_path / "out"
    counts = []
    for threshold in (0.3, 0.9, 0.3):
        nights.scanned(studies, out, threshold=threshold)
        publish(out, wanting(folder))
        counts.append(len(entries(folder)))
    assert counts == [7, 0, 7]


def test_an_entry_goes_with_a_purged_patient(night: Path, folder: Path) -> None:
    publish(night, wanting(folder))
    with sqlite3.connect(night / "state.sqlite") as db:
        for table in ("studies", "images"):
            db.execute(f"DELETE FROM {table} WHERE study_key = ?", (study_uid(12),))
    db.close()
    publish(night, wanting(folder))
    assert len(entries(folder)) == 5
    assert study_uid(12) not in entries(folder)


@pytest.mark.long
def test_an_entry_goes_when_a_second_patient_appears(
    studies: Path, tmp_path: Path, folder: Path
) -> None:
    both = tmp_path / "studies"
    both.mkdir()
    (both / "1").write_bytes((studies / "conflict 1").read_bytes())
    out = nights.scanned(both, tmp_path / "out")
    publish(out, wanting(folder))
    assert list(entries(folder)) == [study_uid(CONFLICT)]
    (both / "2").write_bytes((studies / "conflict 2").read_bytes())
    nights.scanned(both, out)
    publish(out, wanting(folder))
    assert entries(folder) == {}


def test_what_a_kill_left_is_cleared_and_strangers_are_left_alone(
    night: Path, folder: Path
) -> None:
    (folder / f"screener-{'0' * 32}.wl").write_bytes(b"cut")
    (folder / f"screener-{'1' * 32}.wl.part").write_bytes(b"cut")
    (folder / "theirs.wl").write_bytes(b"not ours")
    publish(night, wanting(folder))
    names = {path.name for path in folder.iterdir()}
    assert len(names) == 6 + 2
    assert {"theirs.wl", LOCK} <= names


READER = """
import fcntl, sys
stream = open(sys.argv[1], "a+")
fcntl.lockf(stream, fcntl.LOCK_SH)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def reader(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock for reading as wlmscpfs does, until its input ends."""
    command = [sys.executable, "-c", READER, str(folder / LOCK)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_server_that_reads_is_not_disturbed(
    night: Path,
    folder: Path,
    reader: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(WorklistError, match="WORKLIST_BUSY"), locked(folder, patience_s=0.1):
        pass
    monkeypatch.setattr("screener.pacs.local.locked", lambda folder: locked(folder, 0.1))
    summary = publish(night, wanting(folder))
    assert summary.exit_code == 6
    assert entries(folder) == {}
    reader.communicate()
    assert publish(night, wanting(folder)).exit_code == 0
    assert len(entries(folder)) == 6


def test_wlmscpfs_takes_the_same_lock(night: Path, folder: Path, tmp_path: Path) -> None:
    need("strace", "wlmscpfs", "findscu")
    publish(night, wanting(folder))
    with wlmscpfs(folder.parent, tracer=("strace", "-f", "-e", "trace=flock,fcntl,openat")) as port:
        found_studies(port, TITLE, "STAT")
    trace = (folder.parent.parent / "wlmscpfs.log").read_text(errors="replace")
    opened = re.search(r'openat\([^"]*"[^"]*lockfile", [^=]*= (\d+)', trace)
    assert opened is not None
    # A record lock: `flock` would not see it.
    assert re.search(rf"fcntl\({opened[1]}, F_SETLKW, {{l_type=F_RDLCK", trace)
    assert stat.S_IMODE((folder / LOCK).stat().st_mode) == 0o666


def test_not_screened_may_have_a_word_of_its_own(
    tmp_path: Path, studies: Path, folder: Path
) -> None:
    cut = tmp_path / "studies"
    cut.mkdir()
    content = (studies / "11").read_bytes()
    (cut / "cut").write_bytes(content[: len(content) // 2])
    words = {Triage.NOT_SCREENED: "MEDIUM"}
    out = nights.scanned(cut, tmp_path / "out", priority=words)
    publish(out, wanting(folder))
    one = entries(folder)[study_uid(11)]
    assert (one.RequestedProcedurePriority, one.ReportingPriority) == ("MEDIUM", "MEDIUM")
    assert "NOT_SCREENED: an image could not be screened" in one.RequestedProcedureComments
