"""From a scanned night into servers that others wrote, by every door, and back."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from screener.domain import Triage
from screener.errors import LockedError, UsageError
from screener.lock import run_lock
from screener.pacs.dicomweb import open_client
from screener.pacs.doors import DicomWeb, Dimse, Retry
from screener.pacs.extra import PACKAGES, require_extra
from screener.pacs.publish import PublishSummary, publish
from screener.pacs.site import CsvDoor, Publish
from screener.settings import Settings
from tests.conftest import Run
from tests.films import save
from tests.pacs import nights
from tests.pacs.nights import CONFLICT, FLAGGED, NAMES, NEGATIVE, study_uid
from tests.pacs.servers import Orthanc, free_port, need, storescp

SR = "1.2.840.10008.5.1.4.1.1.88.34"
EXCUSED = re.compile(r"W: .*([Cc]haracter [Ss]et|ISO_IR|ISO 2022 IR)|^$")


def both(web: DicomWeb, dimse: Dimse, **changes: Any) -> Settings:
    wanted = {"structured_report": ("dicomweb",), "key_image": ("dimse",)} | changes
    return nights.settings(
        publish=Publish(**wanted), dicomweb=web, dimse=dimse, retry=Retry(attempts=1)
    )


def sent(summary: PublishSummary) -> dict[tuple[str, str], int]:
    return {(each.kind, each.door): each.sent for each in summary.delivered if each.sent}


def left(summary: PublishSummary) -> Counter[str]:
    return sum((each.left for each in summary.delivered), Counter[str]())


def states(out: Path) -> Counter[tuple[str, str]]:
    with sqlite3.connect(out / "state.sqlite") as db:
        found = Counter(db.execute("SELECT kind, state FROM deliveries").fetchall())
    db.close()
    return found


def stored(archive: Orthanc, folder: Path) -> list[tuple[Dataset, Path]]:
    """Every object that is no film, as a file and read."""
    folder.mkdir(exist_ok=True)
    found = []
    for identifier in archive.get("/instances"):
        path = folder / identifier
        path.write_bytes(archive.raw(f"/instances/{identifier}/file"))
        dataset = dcmread(path)
        if dataset.Modality in {"SR", "OT", "PR"}:
            found.append((dataset, path))
    return found


def find_modalities(archive: Orthanc, uid: str) -> list[str]:
    need("findscu")
    done = subprocess.run(
        [
            *("findscu", "-S", "-aec", archive.ae_title, "-k", "0008,0052=SERIES"),
            *("-k", f"0020,000D={uid}", "-k", "0008,0060", "127.0.0.1", str(archive.dicom)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(re.findall(r"\(0008,0060\) CS \[(\w+)", done.stderr))


def test_report_and_key_image_arrive_in_the_study_of_the_film(
    night: Path, studies: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse
) -> None:
    for path in studies.glob("[0-9]*"):
        archive.upload(path.read_bytes())
    settings = both(web, dimse)
    summary = publish(night, settings)
    assert summary.exit_code == 0
    assert sent(summary) == {("sr", "dicomweb"): 7, ("key_image", "dimse"): 6}
    assert summary.plan.conflicts == 2
    client = open_client(web)
    for number in FLAGGED:
        assert find_modalities(archive, study_uid(number)) == ["CR", "OT", "SR"]
        series = client.search_for_series(study_uid(number))
        assert sorted(each["00080060"]["Value"][0] for each in series) == ["CR", "OT", "SR"]
    with_reports = client.search_for_studies(search_filters={"ModalitiesInStudy": "SR"})
    found = {each["0020000D"]["Value"][0] for each in with_reports}
    assert found == {study_uid(number) for number in (*FLAGGED, NEGATIVE)}
    # Orthanc made no second patient or study of them: it keeps one of each.
    assert len(archive.get("/studies")) == 7
    again = publish(night, settings)
    assert (again.exit_code, sent(again)) == (0, {})
    assert len(archive.get("/instances")) == 6 + 7 + 6


def test_a_conflict_of_identities_is_never_sent(
    night: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse, tmp_path: Path
) -> None:
    (tmp_path / "csv").mkdir()
    settings = replace(
        both(web, dimse, structured_report=("dicomweb", "dimse")),
        csv={"ris": CsvDoor(tmp_path / "csv")},
    )
    publish(night, settings)
    uids = {tags["StudyInstanceUID"] for tags in archive.instances()}
    assert study_uid(CONFLICT) not in uids
    assert len(uids) == 7
    written = "".join(path.read_text() for path in (tmp_path / "csv").iterdir())
    assert study_uid(CONFLICT) not in written
    assert study_uid(NEGATIVE) in written


@pytest.mark.parametrize(
    ("sr_class", "kind"),
    [("comprehensive-3d", "secondary-capture"), ("comprehensive", "presentation-state")],
)
def test_what_is_sent_is_sound_dicom_and_names_survive(
    sr_class: Any,
    kind: Any,
    night: Path,
    archive: Orthanc,
    web: DicomWeb,
    dimse: Dimse,
    tmp_path: Path,
) -> None:
    need("dsrdump", "dciodvfy")
    settings = both(web, dimse, sr_class=sr_class, key_image_kind=kind)
    assert publish(night, settings).exit_code == 0
    objects = stored(archive, tmp_path / "got")
    assert Counter(each.Modality for each, _ in objects) == {
        "SR": 7,
        "OT" if kind == "secondary-capture" else "PR": 6,
    }
    for dataset, path in objects:
        checked = subprocess.run(
            ["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False
        )
        assert [line for line in checked.stderr.splitlines() if line.startswith("Error")] == []
        if dataset.Modality == "SR":
            dumped = subprocess.run(
                ["dsrdump", str(path)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            assert dumped.returncode == 0
            lines = dumped.stderr.splitlines()
            assert [line for line in lines if not EXCUSED.search(line)] == []
        number = int(dataset.StudyInstanceUID.rpartition(".")[2]) - 2000
        if number in NAMES:
            sets, name = NAMES[number]
            assert str(dataset.PatientName) == name
            if sets is not None:
                declared = dataset.SpecificCharacterSet
                assert ([declared] if isinstance(declared, str) else list(declared)) == sets
        assert dataset.PatientID == f"T{number:05d}"
        assert dataset.AccessionNumber == f"A{number}"
        assert dataset.StudyID == f"S{number}"
        assert dataset.ReferringPhysicianName == "Referrer^Some"
        assert dataset.Manufacturer == "screener"


def tree_of(report: Dataset) -> list[tuple[str, str]]:
    """Name and value of every content item."""
    found = []
    for item in report.get("ContentSequence") or ():
        names = item.get("ConceptNameCodeSequence")
        name = names[0].CodeMeaning if names else ""
        value = ""
        if item.ValueType == "NUM":
            value = str(item.MeasuredValueSequence[0].NumericValue)
        elif item.ValueType == "CODE":
            value = item.ConceptCodeSequence[0].CodeValue
        elif item.ValueType in {"TEXT", "UIDREF"}:
            value = str(item.get("TextValue") or item.get("UID"))
        elif item.ValueType == "IMAGE":
            value = item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        found += [(name, value), *tree_of(item)]
    return found


def test_the_report_says_all_that_a_reader_asks(
    night: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse, tmp_path: Path
) -> None:
    publish(night, both(web, dimse, key_image=()))
    by_study = {each.StudyInstanceUID: each for each, _ in stored(archive, tmp_path / "got")}
    report = by_study[study_uid(16)]
    said = tree_of(report)
    assert ("Calibrated score for covid", "57.52") in said
    assert ("Triage category, research use, not for diagnosis", "FLAGGED") in said
    assert ("Observer Type", "121007") in said
    assert ("Algorithm Name", "tiny-test-model") in said
    parameters = [value for name, value in said if name == "Algorithm Parameters"]
    assert any(re.fullmatch(r"model_sha256=[0-9a-f]{64}", each) for each in parameters)
    assert {"threshold=0.5000", "operating_point=default"} <= set(parameters)
    assert ("Source of Measurement", "2.25.1016") in said
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    negative = tree_of(by_study[study_uid(NEGATIVE)])
    assert ("Triage category, research use, not for diagnosis", "NOT_FLAGGED") in negative
    assert not any("Finding" in name for name, _ in negative)


def test_a_changed_verdict_names_its_predecessor_and_may_change_back(
    studies: Path, tmp_path: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse
) -> None:
    out = tmp_path / "out"
    settings = both(web, dimse, key_image=())
    uids = []
    for threshold in (0.3, 0.9, 0.3):
        nights.scanned(studies, out, threshold=threshold)
        publish(out, settings)
        with sqlite3.connect(out / "state.sqlite") as db:
            row = db.execute(
                "SELECT uid, predecessor FROM deliveries"
                " WHERE study_key = ? AND state = 'DELIVERED'",
                (study_uid(16),),
            ).fetchone()
        db.close()
        uids.append(row)
    (first, none), (second, of_second), (third, of_third) = uids
    assert none == ""
    assert (of_second, of_third) == (first, second)
    assert len({first, second, third}) == 3
    reports = {each.SOPInstanceUID: each for each, _ in stored(archive, tmp_path / "got")}
    for uid, former in ((second, first), (third, second)):
        item = reports[uid].PredecessorDocumentsSequence[0]
        assert item.StudyInstanceUID == study_uid(16)
        reference = item.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == former
    assert "PredecessorDocumentsSequence" not in reports[first]


@pytest.mark.long
def test_the_same_night_gives_the_same_objects_elsewhere(
    night: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse, tmp_path: Path
) -> None:
    settings = both(web, dimse, structured_report=("dicomweb", "dimse"))
    copy = nights.copied(night, tmp_path / "copy")
    assert sent(publish(night, settings)) == sent(publish(copy, settings))
    # Four times 7 reports and twice 6 key images were sent: the archive has each once.
    assert len(archive.get("/instances")) == 7 + 6


def test_a_scan_takes_no_key_image_for_a_film(
    night: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse, tmp_path: Path
) -> None:
    publish(night, both(web, dimse))
    stored(archive, tmp_path / "got")
    out = nights.scanned(tmp_path / "got", tmp_path / "second", secondary_capture=True)
    outcomes = json.loads((out / "run.json").read_text())["outcomes"]
    assert outcomes == {"INELIGIBLE": {"OWN_OUTPUT": 6, "SOP_CLASS": 7}}


@pytest.mark.long
def test_storescp_takes_everything_too(night: Path, tmp_path: Path) -> None:
    with storescp(tmp_path) as (port, folder):
        door = Dimse(host="127.0.0.1", port=port)
        settings = nights.settings(
            publish=Publish(structured_report=("dimse",), key_image=("dimse",)), dimse=door
        )
        assert publish(night, settings).exit_code == 0
        kinds = Counter(dcmread(path).Modality for path in folder.iterdir())
    assert kinds == {"SR": 7, "OT": 6}


def test_a_film_that_is_gone_leaves_the_report_and_waits_with_its_key_image(
    studies: Path, tmp_path: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse
) -> None:
    folder = tmp_path / "studies"
    folder.mkdir()
    for number in FLAGGED:
        (folder / str(number)).write_bytes((studies / str(number)).read_bytes())
    out = nights.scanned(folder, tmp_path / "out")
    moved = tmp_path / "moved"
    folder.rename(moved)
    settings = both(web, dimse)
    summary = publish(out, settings)
    assert summary.exit_code == 6
    assert sent(summary) == {("sr", "dicomweb"): 6}
    names = {str(each.PatientName) for each, _ in stored(archive, tmp_path / "got")}
    assert names == {name for _, name in NAMES.values()}
    assert publish(out, settings).exit_code == 0
    moved.rename(folder)
    assert sent(publish(out, settings)) == {("key_image", "dimse"): 6}


@pytest.mark.long
def test_an_archive_that_was_taken_in_is_not_published(
    studies: Path, tmp_path: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse
) -> None:
    out = nights.scanned(studies, tmp_path / "out", baseline=True)
    nights.scanned(studies, out)
    summary = publish(out, both(web, dimse))
    assert (summary.exit_code, sent(summary)) == (0, {})
    assert summary.plan.taken_in == 7
    assert archive.get("/instances") == []


def test_studies_of_long_ago_are_not_published(
    night: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse
) -> None:
    with sqlite3.connect(night / "state.sqlite") as db:
        db.execute("UPDATE runs SET started_at = '2020-01-01T00:00:00Z'")
    db.close()
    summary = publish(night, both(web, dimse))
    assert (summary.exit_code, sent(summary), summary.plan.too_old) == (0, {}, 7)


def test_a_new_image_makes_an_old_study_new(
    studies: Path, tmp_path: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse
) -> None:
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in ("negative", "11", "12"):
        (folder / name).write_bytes((studies / name).read_bytes())
    out = nights.scanned(folder, tmp_path / "out")
    with sqlite3.connect(out / "state.sqlite") as db:
        db.execute("UPDATE runs SET started_at = '2020-01-01T00:00:00Z'")
    db.close()
    # One study gets a positive image, of another the file goes away.
    later = nights.film(NEGATIVE, nights.positive(), SOPInstanceUID="2.25.77")
    save(later, folder / "later")
    (folder / "11").unlink()
    nights.scanned(folder, out)
    assert publish(out, both(web, dimse)).exit_code == 0
    uids = {tags["StudyInstanceUID"] for tags in archive.instances()}
    assert uids == {study_uid(NEGATIVE)}


def test_a_purged_patient_is_not_sent(
    night: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse
) -> None:
    settings = both(web, replace(dimse, port=free_port()), key_image=("dimse",))
    publish(night, settings)
    assert states(night)["key_image", "QUEUED"] == 6
    with sqlite3.connect(night / "state.sqlite") as db:
        for table in ("studies", "images"):
            db.execute(f"DELETE FROM {table} WHERE study_key = ?", (study_uid(12),))
    db.close()
    # Its name is gone with it, at once.
    with sqlite3.connect(night / "state.sqlite") as db:
        kept = " ".join(f"{row}" for row in db.execute("SELECT row FROM told"))
        kept += " ".join(f"{row}" for row in db.execute("SELECT payload FROM deliveries"))
    db.close()
    assert "T00012" not in kept
    assert "T00013" in kept
    summary = publish(night, both(web, dimse))
    assert sent(summary) == {("key_image", "dimse"): 5}
    assert study_uid(12) not in {tags["StudyInstanceUID"] for tags in archive.instances("OT")}


def test_a_site_file_without_a_door_is_refused(night: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no door"):
        publish(night, Settings())
    with pytest.raises(UsageError, match=r"\[dicomweb\] has no url"):
        publish(night, Settings(publish=Publish(structured_report=("dicomweb",))))
    with pytest.raises(UsageError, match="no state"):
        publish(tmp_path, Settings(csv={"ris": CsvDoor(tmp_path)}))


def test_a_scan_at_work_is_not_disturbed(night: Path, tmp_path: Path) -> None:
    settings = Settings(csv={"ris": CsvDoor(tmp_path)})
    with run_lock(night, night / "state.sqlite"), pytest.raises(LockedError):
        publish(night, settings)


def site_file(folder: Path, *, port: int, dicom: int = 0) -> Path:
    path = folder / "site.toml"
    password = folder / "password"
    password.write_text("a pass word\n")
    password.chmod(0o600)
    (folder / "csv").mkdir(exist_ok=True)
    path.write_text(
        f"""
[publish]
structured_report = ["dicomweb"]
{'key_image = ["dimse"]' if dicom else ""}
[dicomweb]
url = "http://127.0.0.1:{port}/dicom-web"
user = "screener"
password_file = "password"
[dimse]
host = "127.0.0.1"
port = {dicom or 104}
ae_title = "ORTHANC"
[retry]
attempts = 2
wait_s = 0.1
[csv.ris]
folder = "csv"
"""
    )
    return path


def test_the_command_tells_what_was_sent_and_what_waits(
    night: Path, archive: Orthanc, run_screener: Run, tmp_path: Path
) -> None:
    down = run_screener("publish", night, "--config", site_file(tmp_path, port=free_port()))
    assert down.returncode == 6
    assert "CONNECTION_REFUSED: nothing listens there" in down.stderr
    assert re.search(r"8 sent, 7 queued, 0 cannot be made; [0-9.]+ s$", down.stdout.strip())
    up = run_screener("publish", night, "--config", site_file(tmp_path, port=archive.http), "-q")
    assert (up.returncode, up.stderr) == (
        0,
        "note: 2 rows of studies with different patients are held back\n",
    )
    assert re.fullmatch(r"11 studies, 7 sent, 0 queued, 0 cannot be made; [0-9.]+ s\n", up.stdout)
    words = down.stdout + down.stderr + up.stdout + up.stderr
    assert "Warning" not in words
    for canary in ("Plain", "T000", "A16", "2.25.", "pass word"):
        assert canary not in words


@pytest.mark.parametrize("name", PACKAGES)
def test_publishing_needs_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the import system takes for "there is no such module".
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=name) as raised:
        require_extra()
    assert "[pacs]" in raised.value.mend


def test_a_state_of_the_first_version_is_brought_up_to_date(
    studies: Path, tmp_path: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse
) -> None:
    out = nights.scanned(studies, tmp_path / "out")
    with sqlite3.connect(out / "state.sqlite") as db:
        newer = db.execute(
            "SELECT type, name FROM sqlite_master WHERE type = 'trigger' OR name IN"
            " ('stale', 'notes', 'images_study', 'images_gone', 'images_failed', 'images_checked')"
        ).fetchall()
        drops = "".join(f"DROP {kind} {name};" for kind, name in newer)
        db.executescript(
            f"{drops} ALTER TABLE images ADD COLUMN thumbnail BLOB;"
            " UPDATE images SET thumbnail ="
            " (SELECT jpeg FROM thumbnails t WHERE t.path = images.path);"
            " DROP TABLE thumbnails; DROP TABLE told; DROP TABLE deliveries;"
            " PRAGMA user_version = 1;"
        )
    db.close()
    nights.scanned(studies, out, priority={Triage.FLAGGED: "STAT"})
    assert sent(publish(out, both(web, dimse)))["sr", "dicomweb"] == 7
