"""What of a patient stands in each file of a report and in the log, by mode and by value."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from pathlib import Path

import pytest

from screener.identifiers import pseudonym
from screener.log import EventLog
from screener.report.columns import IMAGE_COLUMNS, TRIAGE_COLUMNS
from screener.screening import scan
from screener.settings import Output, Settings
from tests.conftest import Run
from tests.faults.seeds import CANARY, seed
from tests.films import TINY, dataset, draw, save, save_png

pytestmark = pytest.mark.usefixtures("private_pool")
WORD = CANARY.partition("^")[0]
FILES = ("triage.csv", "triage-spreadsheet.csv", "images.csv", "report.html", "run.json")
WHO = {
    "PatientID": f"{WORD}-4711",
    "IssuerOfPatientID": f"{WORD} HOSPITAL",
    "PatientName": CANARY,
    "PatientBirthDate": "19370412",
    "AccessionNumber": f"{WORD}A17",
    "StudyInstanceUID": "2.25.77700011100",
    "SeriesInstanceUID": "2.25.77700011122",
    "InstitutionName": f"{WORD} institution",
    "StationName": f"{WORD} station",
    "StudyDate": "20250317",
    "StudyTime": "171653.123456",
}
# In no header field of a report, or in fields that a code list guards.
MISUSED = {"StudyDescription": CANARY, "ViewPosition": WORD.upper(), "PatientSex": WORD.upper()}
UIDS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
# What a mode empties. What neither column list names stays as it is.
EMPTY = {
    "pseudonym": {
        "patient_name", "patient_birth_date", "issuer_of_patient_id", "institution_name",
        "station_name",
    },
    "none": {
        "patient_name", "patient_birth_date", "issuer_of_patient_id", "institution_name",
        "station_name", "patient_id", "accession_number", "study_key", "sha256", "path",
        "duplicate_of", "source", "study_date", "study_time", *UIDS,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identities") / f"{WORD} ward"
    whole = save(dataset(draw(1), 1, **WHO, SOPInstanceUID="2.25.77700011133"), folder / "1")
    save(dataset(draw(2), 1, **WHO, **MISUSED, SOPInstanceUID="2.25.77700011144"), folder / WORD)
    (folder / f"copy of {WORD}").write_bytes(whole.read_bytes())
    (folder / f"cut {WORD}").write_bytes(seed("jpeg-ls")[:700])
    (folder / f"{WORD}.txt").write_text(CANARY)
    save_png(draw(3), folder / f"{WORD}.png")
    return folder


def run(studies: Path, out: Path, mode: str, *, phi: bool = False) -> str:
    """A whole scan; what it logged."""
    with EventLog(out.with_name(f"{out.name}.log"), phi=phi) as events:
        settings = Settings(
            model=TINY, workers=1, identifiers=mode, spreadsheet=True, settle=0, log_phi=phi,
        )  # fmt: skip
        scan(studies, out, settings, command=("screener", str(studies)), events=events)
    return out.with_name(f"{out.name}.log").read_text("ascii")


def rows(out: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((out / name).read_text("utf-8").splitlines()))


def test_each_value_in_each_mode(studies: Path, tmp_path: Path) -> None:
    logs = {mode: run(studies, tmp_path / mode, mode) for mode in ("full", "pseudonym", "none")}
    full = {name: rows(tmp_path / "full", name) for name in ("triage.csv", "images.csv")}
    identifying = EMPTY["none"] - {"source"}
    secrets = {
        row[column]
        for table in full.values()
        for row in table
        for column in identifying & row.keys()
        if len(row[column]) > 8
    } | {WORD, *WHO.values()}
    assert {CANARY, WHO["AccessionNumber"], WHO["StudyInstanceUID"]} <= secrets
    for mode in ("pseudonym", "none"):
        for name in FILES:
            text = (tmp_path / mode / name).read_text("utf-8")
            dates = {WHO["StudyDate"], WHO["StudyTime"]} if mode == "pseudonym" else set()
            assert {word for word in secrets - dates if word in text} == set(), (mode, name)
        for name, table in full.items():
            for was, row in zip(table, rows(tmp_path / mode, name), strict=True):
                for column in EMPTY[mode] & row.keys():
                    assert row[column] == "", column
                same = row.keys() - EMPTY["none"] - {"screened_at", "run_id", "decode_ms"}
                for column in same - {"view_position", "patient_sex"}:
                    assert row[column] == was[column], column
    for mode, log in logs.items():
        assert not [word for word in secrets if word in log], mode
        assert str(studies) not in log


def test_every_column_is_judged() -> None:
    """A new column is either here or known to identify nobody."""
    harmless = {
        "schema_version", "run_id", "rank", "triage", "priority", "reason_code", "reason",
        "patient_sex", "modality", "view_position", "images", "images_scored", "images_gone",
        "finding", "score", "logit", "threshold", "operating_point", "target_sensitivity",
        "calibration_prevalence", "novelty", "warnings", "model", "model_sha256", "provider",
        "software_version", "is_new", "change", "previous_triage", "screened_at", "outcome",
        "sop_class_uid", "transfer_syntax_uid", "body_part_examined", "voi_source",
        "photometric_interpretation", "rows", "columns", "levels_dropped", "cam_peak_row",
        "cam_peak_column", "decoder", "decode_ms",
    }  # fmt: skip
    assert {*TRIAGE_COLUMNS, *IMAGE_COLUMNS} == harmless | EMPTY["none"]


def test_pseudonyms_join(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path / "out", "pseudonym")
    triage, images = (rows(tmp_path / "out", name) for name in ("triage.csv", "images.csv"))
    assert {row["study_key"] for row in triage} <= {row["study_key"] for row in images}
    paths = {row["path"] for row in images}
    assert {row["path"] for row in triage} <= paths
    assert {row["duplicate_of"] for row in images} - {""} < paths
    for row in [*triage, *images]:
        for column in UIDS:
            assert re.fullmatch(r"(2\.25\.[0-9]+)?", row.get(column, ""))
    key = bytes.fromhex((tmp_path / "out.key").read_text())
    told = {row["patient_id"] for row in triage} - {""}
    theirs = f"{WHO['IssuerOfPatientID']}\n{WHO['PatientID']}"
    assert pseudonym(key, "patient_id", theirs) in told


@pytest.mark.parametrize("phi", [False, True])
def test_one_event_a_failed_path(studies: Path, tmp_path: Path, *, phi: bool) -> None:
    out = tmp_path / "out"
    for night in (1, 2):
        log = [json.loads(line) for line in run(studies, out, "full", phi=phi).splitlines()]
        failed = [line for line in log if line["event"] == "path_failed"]
        assert len(failed) == night
        line = failed[-1]
        said = rows(out, "images.csv")[line["row"] - 1]
        assert (said["outcome"], said["reason_code"]) == ("FAILED", line["reason_code"])
        assert line["run_id"] == json.loads((out / "run.json").read_text())["run_id"]
        assert line["is_new"] is (night == 1)
        assert line.get("path") == (said["path"] if phi else None)
        known = {"time", "event", "pid", "run_id", "row", "reason_code", "is_new"}
        assert line.keys() == known | ({"path"} if phi else set())


def test_explain_says_who_it_is_whatever_the_report_does(
    studies: Path, tmp_path: Path, run_screener: Run
) -> None:
    run(studies, tmp_path / "out", "none")
    done = run_screener("explain", "out", WHO["AccessionNumber"])
    assert (done.returncode, done.stderr) == (0, "")
    assert CANARY in done.stdout
    unknown = run_screener("explain", "out", "nobody")
    assert unknown.returncode == 2
    assert WORD not in unknown.stderr


@pytest.mark.parametrize(("group", "mode"), [("", 0o755), ("", 0o750), ("root", 0o770)])
def test_the_advice_closes_an_open_folder(
    group: str, mode: int, studies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(mode)
    settings = Settings(model=TINY, workers=1, output=Output(group=group))

    def advice() -> list[str]:
        notices = scan(studies, out, settings).notices
        return [
            found[1] for found in (re.search("`chmod (.*)`", each) for each in notices) if found
        ]

    (closing,) = advice()
    subprocess.run(["chmod", closing, str(out)], check=True)
    assert out.stat().st_mode & 0o777 == (0o750 if group else 0o700)
    assert advice() == []
