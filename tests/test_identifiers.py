"""What of a patient's identity a report shows."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import stat
import subprocess
import threading
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screener.errors import RunError, UsageError
from screener.identifiers import (
    KEY_BYTES,
    UID_COLUMNS,
    Identifiers,
    mask,
    pseudonym,
    pseudonym_uid,
    read_key,
)
from screener.report.columns import IMAGE_COLUMNS, TRIAGE_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
STUDY = {
    "rank": 1,
    "triage": "FLAGGED",
    "score": 0.9312,
    "accession_number": "A17",
    "study_instance_uid": "1.2.840.1",
    "patient_id": "4711",
    "issuer_of_patient_id": "ST-MARY",
    "patient_name": "Müller^Jürgen",
    "patient_birth_date": "19640229",
    "patient_sex": "M",
    "study_date": "20240131",
    "study_time": "070907",
    "modality": "DX",
    "view_position": "PA",
    "sop_instance_uid": "1.2.840.3",
    "institution_name": "St Mary's",
    "station_name": "XR-EMERGENCY",
    "source": "/archive",
    "study_key": "1.2.840.1",
    "path": "/archive/mueller/1.dcm",
    "model_sha256": "ab" * 32,
    "screened_at": "2024-02-01T03:00:00Z",
}
IMAGE = {
    "path": "/archive/mueller/1.dcm",
    "sha256": "cd" * 32,
    "outcome": "SCORED",
    "study_key": "1.2.840.1",
    "study_instance_uid": "1.2.840.1",
    "series_instance_uid": "1.2.840.2",
    "sop_instance_uid": "1.2.840.3",
    "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
    "transfer_syntax_uid": "1.2.840.10008.1.2.4.90",
    "modality": "DX",
    "body_part_examined": "CHEST",
    "photometric_interpretation": "MONOCHROME1",
    "rows": 2500,
    "score": None,
    "duplicate_of": "",
}


def test_full_changes_nothing() -> None:
    assert mask(STUDY, Identifiers.FULL) == STUDY
    assert mask(IMAGE, Identifiers.FULL) == IMAGE


def test_pseudonyms_of_a_study() -> None:
    masked = mask(STUDY, Identifiers.PSEUDONYM, KEY)
    assert list(masked) == list(STUDY)
    changed = {name for name in STUDY if masked[name] != STUDY[name]}
    empty = {name for name in changed if masked[name] == ""}
    assert empty == {
        "patient_name",
        "patient_birth_date",
        "issuer_of_patient_id",
        "institution_name",
        "station_name",
    }
    assert changed - empty == {
        "accession_number",
        "patient_id",
        "path",
        "sop_instance_uid",
        "source",
        "study_instance_uid",
        "study_key",
    }
    for name in ("accession_number", "patient_id", "path", "source"):
        assert re.fullmatch(r"[A-Z2-7]{16}", str(masked[name])), name


def test_a_pseudonym_is_an_hmac_under_the_key() -> None:
    """Spelt out with the library alone, so that a site can find a patient again in ten years."""
    digest = hmac.new(KEY, b"accession_number\x00A17", hashlib.sha256).digest()
    number = int.from_bytes(hmac.new(KEY, b"uid\x001.2.840.1", hashlib.sha256).digest()[:16])
    masked = mask(STUDY, Identifiers.PSEUDONYM, KEY)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    bits = int.from_bytes(digest[:10])
    expected = "".join(alphabet[bits >> shift & 31] for shift in range(75, -1, -5))
    assert masked["accession_number"] == expected
    uuid = UUID(int=int(str(masked["study_instance_uid"]).removeprefix("2.25.")))
    assert uuid.version == 4
    fixed = (0xF << 76) | (0x3 << 62)  # version and variant of RFC 9562
    assert uuid.int & ~fixed == number & ~fixed


def test_rows_still_join() -> None:
    study = mask(STUDY, Identifiers.PSEUDONYM, KEY)
    image = mask({**IMAGE, "duplicate_of": STUDY["path"]}, Identifiers.PSEUDONYM, KEY)
    for name in ("study_key", "study_instance_uid", "sop_instance_uid", "path"):
        assert study[name] == image[name]
    assert image["duplicate_of"] == study["path"]
    assert study["study_key"] == study["study_instance_uid"]
    assert mask(STUDY, Identifiers.PSEUDONYM, KEY) == study


@pytest.mark.parametrize("origin", ["file", "path"])
def test_a_study_key_without_a_uid_keeps_its_form(origin: str) -> None:
    row = {"study_key": f"{origin}:{'cd' * 32}", "study_instance_uid": "", "sha256": "cd" * 32}
    masked = mask(row, Identifiers.PSEUDONYM, KEY)
    assert re.fullmatch(rf"{origin}:[0-9a-f]{{64}}", str(masked["study_key"]))
    assert "cd" * 32 not in str(masked)
    assert (masked["study_key"] == f"file:{masked['sha256']}") == (origin == "file")


@given(st.text(min_size=1))
def test_a_pseudonym_uid_is_a_uid(text: str) -> None:
    uid = pseudonym_uid(KEY, text)
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", uid)
    assert uid != pseudonym_uid(OTHER_KEY, text)
    assert re.fullmatch(r"[A-Z2-7]{16}", pseudonym(KEY, "patient_id", text))


def test_what_differs_gets_another_pseudonym() -> None:
    def patient(issuer: str | None, number: str, key: bytes = KEY) -> object:
        row = {"patient_id": number, "issuer_of_patient_id": issuer}
        return mask(row, Identifiers.PSEUDONYM, key)["patient_id"]

    found = [
        patient("A", "1"),
        patient("B", "1"),
        patient("A", "2"),
        patient("", "1"),
        patient("", "A1"),
        patient("A", "1", OTHER_KEY),
    ]
    assert len(set(found)) == len(found)
    assert patient(None, "1") == patient("", "1")
    one = {"patient_id": "7", "accession_number": "7", "path": "7"}
    assert len(set(mask(one, Identifiers.PSEUDONYM, KEY).values())) == 3


def test_what_is_empty_stays_empty() -> None:
    for columns in (TRIAGE_COLUMNS, IMAGE_COLUMNS):
        for nothing in ("", None):
            row = dict.fromkeys(columns, nothing)
            masked = mask(row, Identifiers.PSEUDONYM, KEY)
            assert {value or "" for value in masked.values()} == {""}


def test_none_leaves_no_identifier() -> None:
    masked = mask(STUDY, Identifiers.NONE)
    kept = {name: value for name, value in masked.items() if value != ""}
    assert kept == {
        "rank": 1,
        "triage": "FLAGGED",
        "score": 0.9312,
        "patient_sex": "M",
        "modality": "DX",
        "view_position": "PA",
        "model_sha256": "ab" * 32,
        "screened_at": "2024-02-01T03:00:00Z",
    }
    image = mask(IMAGE, Identifiers.NONE)
    for name in (*UID_COLUMNS, "path", "sha256", "study_key"):
        assert image[name] == ""
    assert image["sop_class_uid"] == IMAGE["sop_class_uid"]


# Columns that the program itself fills: no header, path or command gets there.
OWN = {
    *("schema_version", "run_id", "rank", "triage", "priority", "reason_code", "reason"),
    *("images", "images_scored", "images_gone", "finding", "score", "logit", "threshold"),
    *("operating_point", "target_sensitivity", "calibration_prevalence", "novelty", "warnings"),
    *("model", "model_sha256", "provider", "software_version", "is_new", "change"),
    *("previous_triage", "screened_at", "outcome", "rows", "columns", "voi_source"),
    *("levels_dropped", "cam_peak_row", "cam_peak_column", "decoder", "decode_ms"),
}


@pytest.mark.parametrize("mode", [Identifiers.PSEUDONYM, Identifiers.NONE])
@pytest.mark.parametrize("columns", [TRIAGE_COLUMNS, IMAGE_COLUMNS])
def test_a_name_in_any_tag_does_not_get_through(
    columns: tuple[str, ...], mode: Identifiers
) -> None:
    """Every column that a header or a path can fill, filled with a canary."""
    row = {name: 0 if name in OWN else f"CANARY {name}" for name in columns}
    leaked = {name for name, value in mask(row, mode, KEY).items() if "CANARY" in str(value)}
    assert leaked == set()


@pytest.mark.parametrize(
    ("column", "value", "passes"),
    [
        ("study_date", "20240131", True),
        ("study_date", "2024.01.31", True),
        ("study_date", "20240131CANARY", False),
        ("study_date", "20240131\n", False),
        ("study_time", "070907.123456", True),
        ("study_time", "07", True),
        ("study_time", "07:09:07", True),
        ("study_time", "4711", True),
        ("study_time", "DOE^JANE", False),
        ("view_position", "PA", True),
        ("view_position", "PAUL", False),
        ("modality", "DX", True),
        ("modality", "DXMARY", False),
        ("patient_sex", "F", True),
        ("patient_sex", "FRED", False),
        ("body_part_examined", "CHEST", True),
        ("body_part_examined", "CHEST OF MARY", False),
        ("photometric_interpretation", "YBR_FULL_422", True),
        ("photometric_interpretation", "MARY", False),
        ("transfer_syntax_uid", "1.2.840.10008.1.2.4.90", True),
        ("transfer_syntax_uid", "1.2.840.99.4711", False),
        ("sop_class_uid", "1.2.840.10008.SMITH", False),
    ],
)
def test_a_coded_field_passes_where_it_is_one(column: str, value: str, passes: bool) -> None:
    masked = mask({column: value}, Identifiers.PSEUDONYM, KEY)
    assert masked == {column: value if passes else ""}


def test_no_pseudonym_without_a_key() -> None:
    with pytest.raises(ValueError, match="key of 32 bytes"):
        mask(STUDY, Identifiers.PSEUDONYM)


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    masked = mask({"path": "/a/\udcff"}, Identifiers.PSEUDONYM, KEY)
    assert re.fullmatch(r"[A-Z2-7]{16}", str(masked["path"]))


# -- the key -----------------------------------------------------------------------------------


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "pseudonyms.key"
    key = read_key(path, tmp_path / "out")
    assert len(key) == KEY_BYTES
    assert read_key(path, tmp_path / "out") == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["pseudonyms.key"]
    assert read_key(tmp_path / "another.key", tmp_path / "out") != key


def test_two_runs_that_make_it_at_once_have_one_key(tmp_path: Path) -> None:
    keys = set()
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        keys.add(read_key(tmp_path / "key", tmp_path / "out"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 1


@pytest.mark.parametrize("place", ["key", "runs/key", "../out/key"])
def test_the_key_never_lies_in_the_report(tmp_path: Path, place: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UsageError, match="lies in the output folder"):
        read_key(out / place, out)
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(UsageError, match="lies in the output folder"):
        read_key(tmp_path / "link" / "key", out)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    read_key(path, tmp_path / "out")
    path.chmod(mode)
    with pytest.raises(UsageError, match="open to others"):
        read_key(path, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no key"):
        read_key(path, tmp_path / "out")
    assert path.read_bytes() == content


def test_a_key_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be used"):
        read_key(tmp_path / "file" / "key", tmp_path / "out")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_the_command_that_makes_a_key_is_told(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the folder the account of the README may not write, nor under its systemd unit."""
    path = tmp_path / "my report.key"

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr("screener.identifiers.write_file", refuse)
        with pytest.raises(RunError, match="cannot be used") as raised:
            read_key(path, tmp_path / "out")
    start = "make it once, as root: "
    assert raised.value.mend.startswith(start)
    command = raised.value.mend.removeprefix(start)
    subprocess.run(["sh", "-euc", command], check=True)
    assert len(read_key(path, tmp_path / "out")) == 32
