"""verify-pacs against servers that others wrote: what works, what does not and what mends it."""

from __future__ import annotations

import http.server
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from screener.domain import Triage
from screener.errors import UsageError
from screener.pacs.check import Check, State
from screener.pacs.doors import DicomWeb, Dimse
from screener.pacs.site import CsvDoor, Publish, Worklist
from screener.pacs.trial import PATIENT_ID, trial_key_image, trial_report, trial_row
from screener.pacs.verify import _take_back, verify_pacs
from screener.settings import Settings
from tests.conftest import Run
from tests.pacs.servers import Orthanc, free_port, need, wlmscpfs
from tests.pacs.test_pull import QUICK, asking, fill, site
from tests.pacs.test_transport import answering, web_server

BOTH = ("dicomweb", "dimse")


def doors(web: DicomWeb, dimse: Dimse, **changes: object) -> Settings:
    values = {
        "publish": Publish(structured_report=BOTH, key_image=BOTH),
        "dicomweb": web,
        "dimse": dimse,
    }
    return Settings(**(values | changes))  # type: ignore[arg-type]


def states(checks: list[Check]) -> dict[tuple[str, str], tuple[str, str]]:
    return {(each.door, each.step): (each.state.value, each.found) for each in checks}


def test_every_network_door_is_tried_and_left_as_it_was(
    archive: Orthanc, web: DicomWeb, dimse: Dimse
) -> None:
    checks = verify_pacs(doors(web, dimse))
    steps = [(each.door, each.step) for each in checks]
    for door in BOTH:
        for step in ("echo", "store report", "find report", "store key image", "find key image"):
            assert (door, step) in steps
    failing = [each for each in checks if each.state is State.FAILS]
    assert failing == []
    taken_back = {each.door for each in checks if each.step == "take back"}
    assert taken_back == set(BOTH)
    gone = all(each.state is State.WORKS for each in checks if each.step == "take back")
    stored = archive.instances()
    # Where the server does not let them be deleted they stay, and that is told.
    assert (stored == []) is gone
    if not gone:
        assert {each["PatientID"] for each in stored} == {PATIENT_ID}
        assert len(stored) == 4
        told = [each.mend for each in checks if each.step == "take back"]
        assert all(PATIENT_ID in each for each in told)


@pytest.mark.parametrize(("status", "state"), [(204, State.WORKS), (405, State.NOT_TRIED)])
def test_a_test_study_is_deleted_where_the_server_lets_it(status: int, state: State) -> None:
    asked: list[str] = []

    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(f"{handler.command} {handler.path}")
        answering(status)(handler)

    made = trial_report(trial_row(""), "comprehensive-3d")
    with web_server(respond) as url:
        settings = Settings(dicomweb=DicomWeb(url=url))
        (check,) = _take_back(settings, [("dicomweb", made), ("dicomweb", made)])
    assert asked == [f"DELETE /dicom-web/studies/{made.StudyInstanceUID}"]
    assert check.state is state
    assert (PATIENT_ID in check.mend) is (state is State.NOT_TRIED)


def test_the_test_objects_are_sound_and_say_what_they_are(tmp_path: Path) -> None:
    need("dsrdump", "dciodvfy")
    row = trial_row("STAT")
    made = [trial_report(row, each) for each in ("comprehensive-3d", "comprehensive")]  # type: ignore[arg-type]
    made += [trial_key_image(row, each) for each in ("secondary-capture", "presentation-state")]  # type: ignore[arg-type]
    for number, each in enumerate(made):
        path = tmp_path / str(number)
        each.save_as(path, enforce_file_format=True)
        checked = subprocess.run(
            ["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False
        )
        assert [line for line in checked.stderr.splitlines() if line.startswith("Error")] == []
        read = dcmread(path)
        assert read.PatientID == PATIENT_ID
        assert str(read.PatientName) == "SCREENER^TEST OBJECT"
        assert read.StudyInstanceUID == row["study_instance_uid"]
    assert trial_row("")["study_instance_uid"] != row["study_instance_uid"]


@pytest.mark.parametrize("via", QUICK)
def test_fetching_is_tried_too(via: str, archive: Orthanc, web: DicomWeb, tmp_path: Path) -> None:
    settings = asking(via, archive, web)
    nothing = states(verify_pacs(settings, with_pull=True))
    assert nothing[f"pull {via}", "list CR"] == ("works", "0 studies of today")
    assert nothing[f"pull {via}", "fetch"][0] == "not tried"
    fill(archive, tmp_path, range(1, 3))
    some = states(verify_pacs(settings, with_pull=True))
    assert some[f"pull {via}", "list CR"] == ("works", "2 studies of today")
    assert some[f"pull {via}", "fetch"][0] == "works"
    # The test object itself is fetched where one was stored.
    storing = replace(
        settings, publish=Publish(structured_report=BOTH if via == "dicomweb" else ("dimse",))
    )
    assert all(each.state is not State.FAILS for each in verify_pacs(storing, with_pull=True))


@pytest.mark.parametrize("kind", ["wlmscpfs", "orthanc"])
def test_the_priority_arrives_at_a_worklist_server(
    kind: str, archive: Orthanc, tmp_path: Path
) -> None:
    folder = archive.worklists if kind == "orthanc" else tmp_path / "wl" / "TRIAGE"
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        worklist=Worklist(folder, server="127.0.0.1", server_port=archive.dicom),
        priority={Triage.FLAGGED: "HIGH"},
    )
    if kind == "orthanc":
        asked = replace(settings.worklist, server_ae_title="ORTHANC")
        checks = states(verify_pacs(replace(settings, worklist=asked)))
    else:
        with wlmscpfs(tmp_path / "wl") as port:
            asked = replace(settings.worklist, server_port=port)
            checks = states(verify_pacs(replace(settings, worklist=asked)))
    assert checks == {
        ("worklist", "write"): ("works", ""),
        ("worklist", "ask for HIGH"): ("works", "comes as HIGH"),
        ("worklist", "take back"): ("works", ""),
    }
    assert [each.name for each in folder.glob("*.wl*")] == []


def test_a_worklist_server_of_another_folder_is_told(tmp_path: Path) -> None:
    for name in ("TRIAGE", "OTHER"):
        (tmp_path / "wl" / name).mkdir(parents=True)
        (tmp_path / "wl" / name / "lockfile").touch()
    with wlmscpfs(tmp_path / "wl") as port:
        door = Worklist(tmp_path / "wl" / "TRIAGE", server="127.0.0.1", server_port=port)
        other = replace(door, server_ae_title="OTHER")
        checks = states(verify_pacs(Settings(worklist=other)))
        assert checks["worklist", "ask for STAT"] == ("fails", "NOT_LISTED")
        wrong = states(verify_pacs(Settings(worklist=replace(door, server_ae_title="NOBODY"))))
        # The server closes right after it rejects: now and then the reason is lost on the way.
        state, why = wrong["worklist", "ask for STAT"]
        assert (state, why in {"CALLED_AE_TITLE", "ASSOCIATION_ABORTED"}) == ("fails", True), why
    down = states(verify_pacs(Settings(worklist=door)))
    assert down["worklist", "ask for STAT"] == ("fails", "CONNECTION_REFUSED")
    assert down["worklist", "take back"][0] == "works"


def test_what_fails_is_told_with_its_mend(
    archive: Orthanc, web: DicomWeb, dimse: Dimse, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("another\n")
    settings = doors(
        web,
        replace(dimse, ae_title="ANOTHER"),
        csv={"ris": CsvDoor(tmp_path / "nowhere")},
        worklist=Worklist(tmp_path / "nowhere"),
    )
    checks = verify_pacs(settings)
    told = states(checks)
    # Orthanc closes right after it rejects: now and then the reason is lost on the way.
    assert told.pop(("dimse", "echo"))[1] in {"CALLED_AE_TITLE", "ASSOCIATION_ABORTED"}
    assert told == {
        ("dicomweb", "echo"): ("fails", "LOGIN"),
        ("worklist", "write"): ("fails", "DISK"),
        ("csv ris", "write"): ("fails", "No such file or directory"),
    }
    assert all(each.mend for each in checks)
    with pytest.raises(UsageError, match="names no door"):
        verify_pacs(Settings())
    with pytest.raises(UsageError, match=r"\[dicomweb\] has no url"):
        verify_pacs(Settings(dimse=dimse), with_pull=True)


@pytest.mark.long
def test_the_command_prints_a_table(archive: Orthanc, run_screener: Run, tmp_path: Path) -> None:
    config = site(tmp_path, archive)
    (tmp_path / "csv").mkdir()
    publishing = '[publish]\nstructured_report = ["dimse"]\n[csv.ris]\nfolder = "csv"\n'
    config.write_text(config.read_text() + publishing)
    done = run_screener("verify-pacs", "--config", config, "--pull")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^ *dimse +store report +works", done.stdout, flags=re.MULTILINE)
    assert re.search(r"^ *csv ris +write +works", done.stdout, flags=re.MULTILINE)
    assert re.search(r"\d+ tried: 0 fail, \d+ not tried\n$", done.stdout)
    config.write_text(
        config.read_text().replace(f"port = {archive.dicom}", f"port = {free_port()}")
    )
    failing = run_screener("verify-pacs", "--config", config)
    assert failing.returncode == 6
    assert "help: dimse, echo: nothing listens there" in failing.stdout
    words = done.stdout + done.stderr + failing.stdout + failing.stderr
    for canary in ("2.25.", "pass word", "Warning", "Traceback"):
        assert canary not in words
