"""The log: one ASCII JSON object a line, and nothing that names a patient."""

from __future__ import annotations

import json
import resource
import stat
from pathlib import Path

import pytest

from screener.errors import UsageError
from screener.log import EventLog
from screener.outcomes import ReasonCode


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_events_are_json_lines_in_ascii(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with EventLog(path) as log:
        log.event("path_failed", reason_code=ReasonCode.TRUNCATED, number=7)
        log.event("scan_finished", note="Müller\r\n{\x1b[31m\u2028", exit_code=0)
    content = path.read_bytes()
    assert content.isascii()
    assert content.count(b"\n") == 2
    first, second = _lines(path)
    assert (first["event"], first["reason_code"], first["number"]) == (
        "path_failed",
        "TRUNCATED",
        7,
    )
    assert second["note"] == "Müller\r\n{\x1b[31m\u2028"
    assert str(first["time"]).endswith("Z")


@pytest.mark.parametrize("phi", [False, True])
def test_private_facts_are_written_only_where_asked_for(tmp_path: Path, *, phi: bool) -> None:
    path = tmp_path / "log.jsonl"
    with EventLog(path, phi=phi) as log:
        log.event("path_failed", {"path": "/data/CANARY^JOHN"}, number=1)
    assert (b"CANARY" in path.read_bytes()) is phi


def test_a_log_is_appended_to_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for number in range(2):
        with EventLog(path) as log:
            log.event("scan_started", number=number)
    assert [line["number"] for line in _lines(path)] == [0, 1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_film_that_is_named_as_the_log_is_left_as_it_is(tmp_path: Path) -> None:
    """One PATH too few in a cron line, and `--log` takes the next word."""
    film = tmp_path / "IM0001"
    film.write_bytes(bytes(128) + b"DICM")
    with pytest.raises(UsageError) as error:
        EventLog(film)
    assert "no log" in str(error.value)
    assert film.read_bytes() == bytes(128) + b"DICM"


def test_no_log_takes_events_and_writes_nothing(tmp_path: Path) -> None:
    with EventLog() as log:
        log.event("scan_started")
    assert log.lost == 0
    assert not list(tmp_path.iterdir())


def test_a_log_that_cannot_be_opened_is_a_wrong_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        EventLog(tmp_path / "none" / "log.jsonl")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(UsageError, match="cannot be written"):
        EventLog(tmp_path / "link")
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_costs_lines_and_not_the_report() -> None:
    with EventLog(Path("/dev/full")) as log:
        log.event("scan_started")
        log.event("scan_finished")
    assert log.lost == 2


def test_a_line_that_was_cut_takes_no_other_with_it(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EventLog(tmp_path / "log") as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
        try:
            log.event("scan_started")
            log.event("path_failed")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        log.event("scan_finished")
    cut, whole = (tmp_path / "log").read_text().splitlines()
    assert len(cut) == 20
    assert json.loads(whole)["event"] == "scan_finished"
    assert log.lost == 2
