"""From an archive that others wrote into the folder that is scanned, by every door, and on."""

from __future__ import annotations

import io
import re
import sqlite3
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from screener.errors import UsageError
from screener.pacs.dicomweb import open_client
from screener.pacs.doors import DicomWeb, Dimse, Retry
from screener.pacs.publish import publish
from screener.pacs.pull import pull
from screener.pacs.site import Publish
from screener.pacs.source import Pull, Receiver
from screener.pacs.window import since_mark, zone_of
from screener.settings import Settings
from tests.conftest import Run
from tests.films import save
from tests.pacs import nights
from tests.pacs.servers import Orthanc, free_port, need
from tests.pacs.test_publish import find_modalities

NOW = datetime.now().astimezone()
TODAY = f"{NOW:%Y%m%d}"
LONG_AGO = f"{NOW - timedelta(days=20):%Y%m%d}"
DOORS = ("dicomweb", "c-get", "c-move")
QUICK = ("dicomweb", *(pytest.param(each, marks=pytest.mark.long) for each in DOORS[1:]))


def asking(via: str, archive: Orthanc, web: DicomWeb, **changes: Any) -> Settings:
    """A site that pulls from Orthanc through a door."""
    return nights.settings(
        pull=Pull(via=via, free_gb=0, **changes),  # type: ignore[arg-type]
        dicomweb=web,
        dimse=Dimse(host="127.0.0.1", port=archive.dicom, ae_title=archive.ae_title, timeout_s=10),
        receiver=Receiver(address="127.0.0.1", port=archive.receiver),
        retry=Retry(attempts=2, wait_s=0.01),
    )


def fill(archive: Orthanc, folder: Path, numbers: range, **changes: Any) -> None:
    """Put films of today into the archive, one a study."""
    for number in numbers:
        path = folder / "sent" / str(number)
        made = nights.film(number, nights.positive(), **({"StudyDate": TODAY} | changes))
        save(made, path)
        archive.upload(path.read_bytes())


def uids(folder: Path) -> list[str]:
    return sorted(str(dcmread(path).SOPInstanceUID) for path in folder.rglob("*.dcm"))


@pytest.mark.parametrize("via", QUICK)
def test_what_is_new_comes_once(via: str, archive: Orthanc, web: DicomWeb, tmp_path: Path) -> None:
    fill(archive, tmp_path, range(1, 4))
    settings = asking(via, archive, web)
    first = pull(tmp_path / "in", settings)
    assert (first.exit_code, first.fetched.stored, first.left) == (0, 3, {})
    assert uids(tmp_path / "in") == ["2.25.1001", "2.25.1002", "2.25.1003"]
    fill(archive, tmp_path, range(4, 5))
    second = pull(tmp_path / "in", settings)
    assert (second.exit_code, second.fetched.stored, second.fetched.known) == (0, 1, 3)


@pytest.mark.parametrize("via", DOORS)
def test_round_trip(
    via: str, studies: Path, archive: Orthanc, web: DicomWeb, dimse: Dimse, tmp_path: Path
) -> None:
    """Out of Orthanc, screened, back into Orthanc: report and key image in the study."""
    for number in (11, 12):
        film = dcmread(studies / str(number))
        film.StudyDate = TODAY
        archive.upload(save(film, tmp_path / "sent" / str(number)).read_bytes())
    settings = asking(via, archive, web)
    assert pull(tmp_path / "in", settings).exit_code == 0
    out = nights.scanned(tmp_path / "in", tmp_path / "out")
    by = ("dicomweb",) if via == "dicomweb" else ("dimse",)
    sending = replace(settings, publish=Publish(structured_report=by, key_image=by))
    summary = publish(out, sending)
    assert (summary.exit_code, summary.plan.studies) == (0, 2)
    for number in (11, 12):
        found = open_client(web).search_for_series(nights.study_uid(number))
        assert sorted(each["00080060"]["Value"][0] for each in found) == ["CR", "OT", "SR"]
        assert find_modalities(archive, nights.study_uid(number)) == ["CR", "OT", "SR"]
    # What was published is no film: the next night fetches and screens nothing new.
    again = pull(tmp_path / "in", settings)
    assert (again.exit_code, again.fetched.stored, again.fetched.known) == (0, 0, 2)


@pytest.mark.parametrize("via", QUICK)
def test_it_is_kept_as_the_archive_holds_it(
    via: str, archive: Orthanc, web: DicomWeb, tmp_path: Path
) -> None:
    need("dcmcjpeg", "dcmcjpls")
    source = save(nights.film(1, nights.positive(), StudyDate=TODAY), tmp_path / "plain")
    for number, command in enumerate((["dcmcjpeg", "+e1"], ["dcmcjpls"]), 2):
        made = save(nights.film(number, nights.positive(), StudyDate=TODAY), tmp_path / "made")
        packed = tmp_path / f"packed{number}"
        subprocess.run([*command, str(made), str(packed)], check=True)
        archive.upload(packed.read_bytes())
    archive.upload(source.read_bytes())
    assert pull(tmp_path / "in", asking(via, archive, web)).exit_code == 0
    came = {dcmread(path).SOPInstanceUID: path for path in (tmp_path / "in").rglob("*.dcm")}
    syntaxes = []
    for identifier in archive.get("/instances"):
        held = archive.raw(f"/instances/{identifier}/file")
        dataset = dcmread(io.BytesIO(held))
        mine = dcmread(came[dataset.SOPInstanceUID])
        syntaxes.append(mine.file_meta.TransferSyntaxUID.name)
        assert mine.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
        assert mine == dataset
        if via == "dicomweb":
            assert came[dataset.SOPInstanceUID].read_bytes() == held
    assert len(set(syntaxes)) == 3


@pytest.mark.parametrize("via", QUICK)
def test_only_the_modalities_of_the_site_come(
    via: str, archive: Orthanc, web: DicomWeb, tmp_path: Path
) -> None:
    fill(archive, tmp_path, range(1, 2))
    fill(archive, tmp_path, range(2, 3), Modality="DX", SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1")
    fill(archive, tmp_path, range(3, 4), Modality="MG", SOPClassUID="1.2.840.10008.5.1.4.1.1.1.2")
    # A second series in the first study.
    fill(archive, tmp_path, range(4, 5), Modality="OT", StudyInstanceUID="2.25.2001")
    assert pull(tmp_path / "in", asking(via, archive, web)).exit_code == 0
    assert uids(tmp_path / "in") == ["2.25.1001", "2.25.1002"]
    only = pull(tmp_path / "cr", asking(via, archive, web, modality=("CR",)))
    assert only.fetched.stored == 1


def test_an_old_study_comes_by_its_date_alone_and_is_repaired(
    archive: Orthanc, web: DicomWeb, tmp_path: Path
) -> None:
    fill(archive, tmp_path, range(1, 2), StudyDate=LONG_AGO)
    settings, folder = asking("dicomweb", archive, web), tmp_path / "in"
    nothing = pull(folder, settings)
    assert (nothing.fetched.stored, nothing.marked) == (0, ("CR", "DX"))
    repaired = pull(folder, settings, study_date=f"{LONG_AGO}-{LONG_AGO}")
    assert (repaired.fetched.stored, repaired.marked) == (1, ())
    assert uids(folder) == ["2.25.1001"]
    # Its file is lost: only a repair fetches it again.
    (lost,) = folder.rglob("*.dcm")
    lost.unlink()
    assert pull(folder, settings, since=LONG_AGO).fetched.stored == 0
    assert pull(folder, settings, study_date=LONG_AGO).fetched.stored == 1
    assert lost.is_file()
    for wrong in ("2020", "20200230", "20200301-20200201"):
        with pytest.raises(UsageError):
            pull(folder, settings, study_date=wrong)
    with pytest.raises(UsageError, match="future"):
        pull(folder, settings, since="20990101")


def mark_of(folder: Path) -> Mapping[str, str]:
    with sqlite3.connect(folder.with_name(f"{folder.name}.pull.sqlite")) as db:
        found = dict(db.execute("SELECT modality, at FROM marks").fetchall())
    db.close()
    return found


def test_the_mark_reaches_back_two_days_and_leaves_no_gap(
    archive: Orthanc, web: DicomWeb, tmp_path: Path
) -> None:
    settings, folder = asking("dicomweb", archive, web), tmp_path / "in"
    pull(folder, settings)
    late = f"{NOW - timedelta(days=2):%Y%m%d}"
    early = f"{NOW - timedelta(days=5):%Y%m%d}"
    fill(archive, tmp_path, range(1, 2), StudyDate=late)
    fill(archive, tmp_path, range(2, 3), StudyDate=early)
    assert pull(folder, settings).fetched.stored == 1
    # A machine that was off for a week asks for the whole week.
    with sqlite3.connect(folder.with_name("in.pull.sqlite")) as db:
        db.execute("UPDATE marks SET at = ?", (f"{NOW - timedelta(days=7):%FT%TZ}",))
    db.close()
    before = mark_of(folder)
    # A day that the user names leaves a gap behind the mark: it stays.
    today = pull(folder, settings, since=TODAY)
    assert (today.marked, mark_of(folder)) == ((), before)
    assert pull(folder, settings).fetched.stored == 1
    assert mark_of(folder) != before


def site(folder: Path, archive: Orthanc, via: str = "dicomweb", more: str = "") -> Path:
    password = folder / "password"
    password.write_text("a pass word\n")
    password.chmod(0o600)
    path = folder / "site.toml"
    path.write_text(
        f"""
[dicomweb]
url = "{archive.url}"
user = "screener"
password_file = "password"
[dimse]
host = "127.0.0.1"
port = {archive.dicom}
ae_title = "ORTHANC"
[receiver]
address = "127.0.0.1"
port = {archive.receiver}
[pull]
via = "{via}"
free_gb = 0
{more}
[retry]
attempts = 2
wait_s = 0.05
"""
    )
    return path


def test_the_command_tells_what_came_and_names_nobody(
    archive: Orthanc, run_screener: Run, tmp_path: Path
) -> None:
    fill(archive, tmp_path, range(1, 4))
    config, folder = site(tmp_path, archive, more='time_zone = "Europe/Berlin"'), tmp_path / "in"
    first = run_screener("pull", "--from", config, "--since", "last", "--out", folder)
    assert (first.returncode, first.stderr) == (0, "")
    assert re.fullmatch(
        r"3 studies listed, 3 objects fetched \([0-9.]+ MB\), 0 known, 0 missing; [0-9.]+ s\n",
        first.stdout,
    )
    full = run_screener("pull", "--from", config, "-o", tmp_path / "b", "--most-gb", "0.000001")
    assert full.returncode == 7
    assert "FOLDER_FULL: the folder holds [pull] most_gb" in full.stderr
    # Nobody listens there: the libraries' own words stay out.
    down = tmp_path / "down.toml"
    down.write_text(config.read_text().replace(archive.url, f"http://127.0.0.1:{free_port()}/x"))
    shut = run_screener("pull", "--from", down, "--out", folder)
    assert shut.returncode == 6
    assert "CONNECTION_REFUSED: nothing listens there" in shut.stderr
    assert all(line.startswith("note: ") for line in shut.stderr.splitlines())
    none = run_screener("pull", "--from", config, "-o", folder, "--modality", "chest")
    assert (none.returncode, "modality 'chest' is none" in none.stderr) == (2, True)
    words = "".join(each.stdout + each.stderr for each in (first, full, shut, none))
    for canary in ("Drawn", "T0000", "A1", "2.25.", "pass word", "Warning"):
        assert canary not in words
    files = [path for path in tmp_path.rglob("*") if "in" in path.parts and path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not any("2.25" in str(path) for path in files)


def test_a_site_file_without_an_archive_is_refused(tmp_path: Path) -> None:
    for via, words in (
        ("dicomweb", r"\[dicomweb\] has no url"),
        ("c-get", r"\[dimse\] has no host"),
    ):
        with pytest.raises(UsageError, match=words):
            pull(tmp_path / "in", Settings(pull=Pull(via=via)))  # type: ignore[arg-type]
    door = Dimse(host="127.0.0.1")
    with pytest.raises(UsageError, match=r"\[receiver\] has no address"):
        pull(tmp_path / "in", Settings(pull=Pull(via="c-move"), dimse=door))
    with pytest.raises(UsageError, match="time_zone"):
        pull(
            tmp_path / "in",
            Settings(pull=Pull(time_zone="Europa/Köln"), dicomweb=DicomWeb(url="http://x")),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_clock_in_another_zone_decides_what_day_it_is() -> None:
    now = datetime.fromisoformat("2026-01-31T23:30:00Z")
    assert since_mark(None, now, 48, zone_of("Europe/Berlin")).first == date(2026, 1, 30)
    assert since_mark(None, now, 48, zone_of("America/New_York")).first == date(2026, 1, 29)
    assert since_mark(None, now, 48, zone_of("Asia/Tokyo")).last == date(2026, 2, 2)
    # A clock that was set back: the mark lies in the future.
    later = now + timedelta(days=30)
    assert since_mark(later, now, 48, zone_of("UTC")) == since_mark(now, now, 48, zone_of("UTC"))


def test_old_files_go_and_stay_known(archive: Orthanc, web: DicomWeb, tmp_path: Path) -> None:
    fill(archive, tmp_path, range(1, 3))
    settings, folder = asking("dicomweb", archive, web, keep_days=3), tmp_path / "in"
    pull(folder, settings)
    with sqlite3.connect(folder.with_name("in.pull.sqlite")) as db:
        db.execute("UPDATE things SET last_at = '2020-01-01T00:00:00Z' WHERE uid = '2.25.1001'")
    db.close()
    summary = pull(folder, settings)
    assert (summary.removed, summary.fetched.stored) == (1, 0)
    assert uids(folder) == ["2.25.1002"]
    # The folder of the study went with its file.
    assert len(list((folder / TODAY).iterdir())) == 1
