"""Servers that fail in every way, and a publish that is killed: nothing lost, nothing doubled."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE, evt

from screener.errors import InterruptedRunError, RunError
from screener.pacs.doors import Dimse, Retry
from screener.pacs.publish import Delivered, publish
from screener.pacs.site import Publish
from screener.pacs.structured_report import SOP_CLASSES
from screener.settings import Settings
from screener.summary import Stop
from tests.films import save
from tests.pacs import nights
from tests.pacs.conftest import web_door
from tests.pacs.servers import Orthanc, certificates, free_port, orthanc, storescp

SR_3D = SOP_CLASSES["comprehensive-3d"]
ALL = [*SOP_CLASSES.values(), SecondaryCaptureImageStorage]
QUICK = Retry(attempts=2, wait_s=0.01)


@contextmanager
def recording(
    *, statuses: dict[int, int] | None = None, classes: list[str] | None = None, delay_s: float = 0
) -> Iterator[tuple[int, list[str]]]:
    """A server that notes every object that it is sent, and answers as it is told."""
    seen: list[str] = []

    def on_store(event: evt.Event) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        time.sleep(delay_s)
        return (statuses or {}).get(len(seen), 0)

    entity = AE()
    for each in classes or ALL:
        entity.add_supported_context(each)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)]
    )
    try:
        yield port, seen
    finally:
        server.shutdown()


def to(port: int, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "publish": Publish(structured_report=("dimse",), key_image=("dimse",)),
        "dimse": Dimse(host="127.0.0.1", port=port, timeout_s=5),
        "retry": QUICK,
    }
    return nights.settings(**(values | changes))


def told(summary: Any) -> dict[str, Delivered]:
    return {each.kind: each for each in summary.delivered}


def states(out: Path) -> Counter[str]:
    with sqlite3.connect(out / "state.sqlite") as db:
        found = Counter(row[0] for row in db.execute("SELECT state FROM deliveries"))
    db.close()
    return found


def test_a_server_that_is_down_gets_all_when_it_is_up(night: Path) -> None:
    port = free_port()
    summary = publish(night, to(port))
    assert summary.exit_code == 6
    assert states(night) == {"QUEUED": 13}
    assert told(summary)["sr"].left == {"CONNECTION_REFUSED": 7}
    with recording() as (up, seen):
        assert publish(night, to(up)).exit_code == 0
        assert len(seen) == len(set(seen)) == 13
        assert publish(night, to(up)).exit_code == 0
        assert len(seen) == 13
    assert states(night) == {"DELIVERED": 13}


def test_a_server_that_is_down_is_not_asked_for_every_study(
    night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("screener.pacs.publish._pause", lambda wait_s, stop: waits.append(wait_s))
    publish(night, to(free_port(), retry=Retry(attempts=4, wait_s=2)))
    assert waits == [2, 4, 8]


def test_a_class_that_the_server_refuses_waits_and_the_rest_goes(night: Path) -> None:
    with recording(classes=[SecondaryCaptureImageStorage]) as (port, seen):
        summary = publish(night, to(port))
        assert summary.exit_code == 6
        assert told(summary)["sr"].left == {"NO_CONTEXT": 7}
        assert told(summary)["key_image"].sent == len(seen) == 6
    with recording(classes=[SOP_CLASSES["comprehensive"]]) as (port, seen):
        older = Publish(structured_report=("dimse",), sr_class="comprehensive")
        assert publish(night, to(port, publish=older)).exit_code == 0
        assert len(seen) == 7


def test_a_full_server_leaves_what_it_refused_for_the_next_run(night: Path) -> None:
    full = dict.fromkeys(range(4, 60), 42752)
    with recording(statuses=full) as (port, _):
        summary = publish(night, to(port))
        assert summary.exit_code == 6
        assert sum(each.sent for each in summary.delivered) == 3
    assert states(night) == {"DELIVERED": 3, "QUEUED": 10}
    with recording() as (port, seen):
        assert publish(night, to(port)).exit_code == 0
        assert len(seen) == 10


def test_an_object_that_one_server_refuses_holds_up_no_other(night: Path) -> None:
    with recording(statuses={1: 0xC000}) as (port, seen):
        summary = publish(night, to(port))
    assert summary.exit_code == 6
    assert len(seen) == 13
    assert told(summary)["sr"].left + told(summary)["key_image"].left == {"0xC000": 1}
    assert states(night) == {"DELIVERED": 12, "QUEUED": 1}


@pytest.mark.parametrize(
    "when", ["--abort-during", pytest.param("--abort-after", marks=pytest.mark.long)]
)
def test_a_server_that_dies_in_the_middle_of_a_store(
    when: str, night: Path, tmp_path: Path
) -> None:
    with storescp(tmp_path / "dying", when) as (port, _):
        summary = publish(night, to(port))
    assert summary.exit_code == 6
    assert sum(each.sent for each in summary.delivered) == 0
    assert states(night) == {"QUEUED": 13}
    with storescp(tmp_path / "sound") as (port, stored):
        assert publish(night, to(port)).exit_code == 0
        assert len(list(stored.iterdir())) == 13


@pytest.mark.long
def test_a_slow_server_is_given_up_and_what_waits_stays_queued(night: Path) -> None:
    with recording(delay_s=1) as (port, _):
        slow = Dimse(host="127.0.0.1", port=port, timeout_s=0.3)
        began = time.monotonic()
        summary = publish(night, to(port, dimse=slow, retry=Retry(attempts=1)))
        assert time.monotonic() - began < 10
    assert summary.exit_code == 6
    assert states(night) == {"QUEUED": 13}


def test_a_wrong_certificate_stops_the_door_at_once(night: Path, tmp_path: Path) -> None:
    made = certificates(tmp_path / "right")
    other = certificates(tmp_path / "wrong")
    options = ("+tls", str(made.key), str(made.certificate), "-ic")
    with storescp(tmp_path, *options) as (port, stored):
        door = Dimse(host="127.0.0.1", port=port, tls=True, ca_file=other.ca, timeout_s=5)
        summary = publish(night, to(port, dimse=door, retry=Retry(attempts=9, wait_s=60)))
        assert summary.exit_code == 6
        assert told(summary)["sr"].left == {"CERTIFICATE": 7}
        trusted = replace(door, ca_file=made.ca)
        assert publish(night, to(port, dimse=trusted)).exit_code == 0
        assert len(list(stored.iterdir())) == 13


def test_the_time_that_a_run_may_take_ends_it(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with recording() as (port, seen):
        settings = to(port)
        clock = iter([0.0, *[30.0] * 3, *[3601.0] * 40])
        monkeypatch.setattr("screener.pacs.publish.time.monotonic", lambda: next(clock))
        summary = publish(night, settings)
    assert summary.exit_code == 6
    assert 0 < len(seen) < 13
    assert told(summary)["sr"].left["TIME_IS_UP"] + told(summary)["key_image"].left[
        "TIME_IS_UP"
    ] == 13 - len(seen)


def test_a_signal_ends_it_between_two_objects(night: Path) -> None:
    stop = Stop()
    with recording() as (port, seen):

        def progress(position: int, total: int) -> None:
            if position == 4:
                stop.signal_number = signal.SIGTERM

        with pytest.raises(InterruptedRunError):
            publish(night, to(port), stop=stop, progress=progress)
        assert len(seen) == 4
        assert states(night) == {"DELIVERED": 4, "QUEUED": 9}
        assert publish(night, to(port)).exit_code == 0
        assert len(seen) == len(set(seen)) == 13


def test_a_state_that_fails_in_the_middle_is_told_as_such(night: Path) -> None:
    def lose(_position: int, _total: int) -> None:
        with sqlite3.connect(night / "state.sqlite") as db:
            db.execute("DROP TABLE deliveries")
        db.close()

    with recording() as (port, _), pytest.raises(RunError, match="SQLITE_ERROR") as raised:
        publish(night, to(port), progress=lose)
    assert raised.value.mend


def many(folder: Path, count: int) -> Path:
    """Flagged studies with the same pixels: scored once, published each."""
    pixels = nights.positive()
    for number in range(1000, 1000 + count):
        save(nights.film(number, pixels), folder / f"{number // 100}" / f"{number}")
    return folder


SITE = """
[publish]
structured_report = ["dimse"]
key_image = ["dimse"]
[dimse]
host = "127.0.0.1"
port = {port}
[retry]
attempts = 1
"""


def command(out: Path, config: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "screener", "publish", str(out), "--config", str(config)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed_again_and_again(tmp_path: Path, studies: int, kills: int) -> None:
    out = nights.scanned(many(tmp_path / "studies", studies), tmp_path / "out")
    config = tmp_path / "site.toml"
    dice = random.Random(7)
    with recording(delay_s=0.01) as (port, seen):
        config.write_text(SITE.format(port=port))
        done = 0
        while done < kills:
            process = command(out, config)
            before, begins = len(seen), time.monotonic()
            # It is killed while it sends: not before, and at no fixed place.
            while len(seen) == before and process.poll() is None:
                assert time.monotonic() - begins < 60
                time.sleep(0.005)
            time.sleep(dice.random() * 0.3)
            if process.poll() is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
        last = command(out, config)
        assert last.wait(timeout=300) == 0
    assert done >= min(kills, 3)
    assert states(out) == {"DELIVERED": 2 * studies}
    assert len(set(seen)) == 2 * studies
    # What was sent and not yet marked when the kill came is sent once more, under its own UID.
    assert len(seen) - len(set(seen)) <= done


def test_killed_while_the_queue_drains(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, studies=8, kills=1)


@pytest.mark.long
def test_killed_many_times_while_the_queue_drains(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, studies=150, kills=12)


DIES_BEFORE_THE_MARK = """
import os, signal, sys
from screener.cli import main
from screener.pacs.queue import Queue

left, mark = [int(sys.argv.pop())], Queue.mark_delivered

def dying(*arguments, **options):
    left[0] -= 1
    if left[0] == 0:
        # The server has answered that it stored the object, and nobody has noted it.
        os.kill(os.getpid(), signal.SIGKILL)
    mark(*arguments, **options)

Queue.mark_delivered = dying
main()
"""


@pytest.mark.parametrize("door", ["dicomweb", pytest.param("dimse", marks=pytest.mark.long)])
def test_what_was_stored_and_not_marked_is_in_the_archive_once(
    door: str, night: Path, archive: Orthanc, tmp_path: Path
) -> None:
    web = web_door(archive, tmp_path)
    config = tmp_path / "site.toml"
    config.write_text(
        f"""
[publish]
structured_report = ["{door}"]
key_image = ["{door}"]
[dicomweb]
url = "{web.url}"
user = "{web.user}"
password_file = "password"
[dimse]
host = "127.0.0.1"
port = {archive.dicom}
ae_title = "ORTHANC"
"""
    )
    twice = []
    for number in (1, 4):
        words = ["publish", str(night), "--config", str(config), str(number)]
        killed = subprocess.run(
            [sys.executable, "-c", DIES_BEFORE_THE_MARK, *words], capture_output=True, check=False
        )
        assert killed.returncode == -signal.SIGKILL
        # There is one object more than the state knows of.
        held = {each["SOPInstanceUID"] for each in archive.instances()}
        (unmarked,) = held - delivered(night)
        twice.append(unmarked)
    assert command(night, config).wait(timeout=120) == 0
    held_now = [each["SOPInstanceUID"] for each in archive.instances()]
    assert len(held_now) == len(set(held_now)) == 13
    assert set(held_now) == delivered(night)
    # Both were sent a second time, and the archive says of each only once that it is new.
    new = [
        archive.get(f"/instances/{change['ID']}/simplified-tags")["SOPInstanceUID"]
        for change in archive.changes()
        if change["ChangeType"] == "NewInstance"
    ]
    assert sorted(new) == sorted(held_now)
    assert set(twice) <= set(new)


def delivered(out: Path) -> set[str]:
    """The objects that the state knows to be delivered."""
    with sqlite3.connect(out / "state.sqlite") as db:
        found = {
            row[0] for row in db.execute("SELECT uid FROM deliveries WHERE state = 'DELIVERED'")
        }
    db.close()
    return found


@pytest.mark.long
def test_a_server_that_is_killed_while_it_stores_has_everything_once(tmp_path: Path) -> None:
    out = nights.scanned(many(tmp_path / "studies", 60), tmp_path / "out")
    http, dicom = free_port(), free_port()
    for kills, wait_s in enumerate((0.3, 0.7, 1.1, None)):
        with orthanc(tmp_path / "orthanc", http=http, dicom=dicom) as server:
            config = tmp_path / "site.toml"
            web = web_door(server, tmp_path)
            config.write_text(
                f"""
[publish]
structured_report = ["dicomweb"]
key_image = ["dimse"]
[dicomweb]
url = "{web.url}"
user = "{web.user}"
password_file = "password"
[dimse]
host = "127.0.0.1"
port = {dicom}
ae_title = "ORTHANC"
[retry]
attempts = 2
wait_s = 0.1
"""
            )
            process = command(out, config)
            if wait_s is None:
                assert process.wait(timeout=300) == 0
                identifiers = server.get("/instances")
                assert len(identifiers) == 120
                assert len({each["SOPInstanceUID"] for each in server.instances()}) == 120
                break
            ends = time.monotonic() + 30
            while states(out)["DELIVERED"] <= 15 * kills and time.monotonic() < ends:
                time.sleep(0.05)
            time.sleep(wait_s)
        assert process.wait(timeout=120) == 6
    assert states(out) == {"DELIVERED": 120}


@pytest.fixture(scope="module")
def two_thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a night of 2,000 flagged studies."""
    folder = tmp_path_factory.mktemp("two thousand")
    return nights.scanned(many(folder / "studies", 2000), folder / "out")


@pytest.mark.long
@pytest.mark.parametrize("door", ["dicomweb", "dimse"])
@pytest.mark.parametrize("kind", ["key_image", "structured_report"])
def test_two_thousand_studies(
    kind: str, door: str, two_thousand: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures of docs/pacs.md: pytest -s -m long -k two_thousand tests/pacs."""
    out = nights.copied(two_thousand, tmp_path / "out")
    with orthanc(tmp_path / "orthanc") as server:
        settings = nights.settings(
            publish=Publish(**{kind: (door,)}),  # type: ignore[arg-type]
            dicomweb=web_door(server, tmp_path),
            dimse=Dimse(host="127.0.0.1", port=server.dicom, ae_title="ORTHANC"),
        )
        before = time.process_time()
        summary = publish(out, settings)
        ours_s = time.process_time() - before
        assert summary.exit_code == 0
        assert sum(each.sent for each in summary.delivered) == 2000
        before = time.process_time()
        again = publish(out, settings)
        assert sum(each.sent for each in again.delivered) == 0
        assert server.get("/statistics")["CountInstances"] == 2000
        assert server.get("/statistics")["CountStudies"] == 2000
    with capsys.disabled():
        print(
            f"\n2,000 x {kind} by {door}: {summary.elapsed_s:.1f} s, of which our processor time"
            f" {ours_s:.1f} s; again, nothing to send: {again.elapsed_s:.1f} s"
            f" ({time.process_time() - before:.1f} s); load {os.getloadavg()[0]:.1f}"
        )
