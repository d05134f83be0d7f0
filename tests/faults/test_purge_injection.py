"""A purge is disturbed at each system call with which it touches the reports, the state, or what
`screener pull` fetched and knows: the same command then completes it, and nothing is left.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
from pydicom import dcmread

from screener.pacs.forget_pulled import forgetting_pulled
from screener.pacs.pull import pull
from screener.publication import verify_published
from screener.purge import PurgeSummary, purge
from screener.settings import Settings
from tests.faults.injection import READING, Fault, faults_in, needs_strace, with_fault
from tests.faults.nights import screen
from tests.faults.test_purge import WHO, left_of_them, populate, rows
from tests.films import TINY
from tests.pacs.odd_archive import odd_archive
from tests.pacs.test_pull_faults import some, to

pytestmark = [pytest.mark.usefixtures("private_pool"), needs_strace]
FETCHED = 3
"""Films of the patient that a pull fetched; the last of them no scan has seen."""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetched into `in`, laid into `laid`, scanned twice into `out`; then more was fetched."""
    folder = tmp_path_factory.mktemp("purge") / "night"
    populate(folder / "laid")
    theirs = some(FETCHED, PatientID=WHO)
    with odd_archive(films=theirs[:-1] + some(2, first=8)) as archive:
        pull(folder / "in", to(archive.url))
        for _ in range(2):
            screen(folder / "laid", folder / "out", settle=0)
            screen(folder / "in", folder / "out", settle=0)
        screen_both(folder)
        archive.films += theirs[-1:]
        assert pull(folder / "in", to(archive.url)).fetched.stored == 1
    shutil.copytree(folder, folder.with_name("kept"))
    return folder


def screen_both(night: Path) -> None:
    """The report of both folders."""
    from screener.screening import scan

    scan([night / "laid", night / "in"], night / "out", Settings(model=TINY, workers=1, settle=0))


def start(night: Path) -> None:
    """As it was before the purge."""
    shutil.rmtree(night)
    shutil.copytree(night.with_name("kept"), night)


def command(night: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "screener", "purge", "--patient", WHO),
        *("--out", str(night / "out")),
    ]


def forget(night: Path) -> PurgeSummary:
    settings = Settings(model=TINY, workers=1)
    unfetch = partial(forgetting_pulled, None, None, lambda _: None)
    return purge(night / "out", WHO, None, settings, lambda _: None, unfetch=unfetch)


def left(night: Path) -> list[str]:
    """What still holds a byte of the patient: reports, state, fetched files, the pull's memory."""
    found = left_of_them(night / "out")
    for number in range(1, FETCHED + 1):
        for uid in (f"2.25.{1000 + number}", f"2.25.{2000 + number}"):
            needle = uid.encode()
            states = night.glob("in.pull.sqlite*")
            found += [f"{path.name}: {uid}" for path in states if needle in path.read_bytes()]
    fetched = (night / "in").rglob("*.dcm")
    return found + [path.name for path in fetched if dcmread(path).PatientID == WHO]


def check_forgotten(night: Path) -> None:
    assert left(night) == []
    assert len(list((night / "in").rglob("*.dcm"))) == 2
    assert verify_published(night / "out") == ()
    ids = {row["patient_id"] for row in rows(night / "out", "triage.csv")}
    assert {"OTHER", "4711", ""} < ids
    assert WHO not in ids


@pytest.fixture(scope="module")
def faults(night: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Fault]:
    """Every fault of a purge; of the second one that is traced, when all modules are compiled."""
    log = tmp_path_factory.mktemp("traced") / "strace.log"
    for _ in range(2):
        start(night)
        assert left(night)
        found = faults_in(command(night), log, night)
    check_forgotten(night)
    return [fault for fault in found if fault.call not in READING]


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        ("KILL", 0.005),
        ("ERROR", 0.002),
        pytest.param("KILL", 1.0, marks=pytest.mark.long),
        pytest.param("ERROR", 1.0, marks=pytest.mark.long),
    ],
)
def test_a_purge_is_completed_after_a_fault_at_any_system_call(
    kind: str, share: float, faults: list[Fault], night: Path
) -> None:
    chosen = [fault for fault in faults if (fault.kind == "KILL") is (kind == "KILL")]
    chosen = chosen[-round(1 / share) // 2 :: -round(1 / share)][::-1]
    assert chosen
    for fault in chosen:
        start(night)
        done = with_fault(command(night), fault)
        try:
            if fault.kind != "KILL":
                assert done.returncode in (0, 1, 2), done.stderr
                assert "a bug" not in done.stderr
                assert "Traceback" not in done.stderr
            if done.returncode == 0:
                assert left(night) == [], "it says that it is done"
            forget(night)
            check_forgotten(night)
        except BaseException as error:
            error.add_note(f"{fault}; it ended with {done.returncode}: {done.stderr}")
            raise
    print(f"{len(chosen)} faults")
