"""Archives that fail in every way, and a pull that is killed: nothing lost, nothing hidden."""

from __future__ import annotations

import contextlib
import errno
import http.server
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from screener.errors import InterruptedRunError, LockedError, RunError, UsageError
from screener.lock import state_lock
from screener.pacs.archive import Film
from screener.pacs.arrival import PREFIX, file_name
from screener.pacs.doors import DicomWeb, Retry
from screener.pacs.pull import PullSummary, pull
from screener.pacs.source import Pull
from screener.settings import Settings
from screener.summary import Stop
from tests.pacs import nights
from tests.pacs.conftest import web_door
from tests.pacs.odd_archive import OddArchive, content_of, message, odd_archive
from tests.pacs.servers import Orthanc, certificates, free_port, https_before, orthanc
from tests.pacs.test_pull import TODAY, asking, fill, site, uids
from tests.pacs.test_transport import answering, web_server

LONG = pytest.mark.long


def some(count: int, first: int = 1, **changes: Any) -> list[Dataset]:
    """Films of today, one a study, each at another time of the day."""
    made = []
    for number in range(first, first + count):
        second = number * 7919 % 86400
        clock = f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}"
        values = {"StudyDate": TODAY, "StudyTime": clock} | changes
        each = nights.film(number, nights.negative()[:8, :8], **values)
        each.file_meta = FileMetaDataset()
        each.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        each.file_meta.MediaStorageSOPClassUID = each.SOPClassUID
        each.file_meta.MediaStorageSOPInstanceUID = each.SOPInstanceUID
        made.append(each)
    return made


@contextmanager
def plain_server(body: bytes) -> Iterator[str]:
    """A web server that answers the same to everything."""
    with web_server(answering(200, body)) as url:
        yield url


@contextmanager
def dripping(archive: OddArchive) -> Iterator[str]:
    """Lists as the archive gives them; an object comes byte by byte and never to its end."""

    def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        path = parts.path.strip("/").split("/")[1:]
        if path[-2:-1] != ["instances"]:
            query = dict(parse_qsl(parts.query))
            found = archive.search(path, query)[int(query["offset"]) :]
            answering(200, json.dumps(found).encode())(handler)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", 'multipart/related; boundary="x"')
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1000):
                handler.wfile.write(b"x")
                time.sleep(0.05)

    with web_server(respond, respond) as url:
        yield url


def to(url: str, **changes: Any) -> Settings:
    door = {key: changes.pop(key) for key in ("timeout_s", "ca_file") if key in changes}
    retry = changes.pop("retry", Retry(attempts=2, wait_s=0.01))
    return nights.settings(
        pull=Pull(**({"free_gb": 0, "modality": ("CR",)} | changes)),
        dicomweb=DicomWeb(url=url, **({"timeout_s": 5.0} | door)),
        retry=retry,
    )


def missing(summary: PullSummary) -> dict[str, int]:
    return {code: count for (state, code), count in summary.left.items() if state == "MISSING"}


# -- lists ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "habits",
    [
        {"takes_offset": False, "cap": 12},
        pytest.param({"takes_offset": False}, marks=LONG),
        pytest.param({"takes_offset": False, "takes_limit": False}, marks=LONG),
        pytest.param({"cap": 7}, marks=LONG),
        pytest.param({"cap": 7, "warns": True}, marks=LONG),
    ],
    ids=str,
)
def test_a_server_that_takes_no_offset_or_gives_less_hides_nothing(
    habits: dict[str, Any], tmp_path: Path
) -> None:
    with odd_archive(films=some(40), **habits) as archive:
        summary = pull(tmp_path / "in", to(archive.url, page=20))
        assert (summary.exit_code, summary.fetched.stored) == (0, 40)
        assert summary.marked == ("CR",)
        assert len(uids(tmp_path / "in")) == 40


@pytest.mark.parametrize(
    ("habits", "changes", "code"),
    [
        ({"takes_offset": False, "takes_time": False}, {}, "TIME_IGNORED"),
        pytest.param({"takes_offset": False}, {"StudyTime": "120000"}, "PAGES_REPEAT", marks=LONG),
        pytest.param({"takes_offset": False}, {"StudyTime": ""}, "NO_STUDY_TIME", marks=LONG),
        pytest.param({"takes_date": False}, {"StudyDate": "20200229"}, "DATE_IGNORED", marks=LONG),
    ],
)
def test_a_list_without_an_end_is_told_and_the_mark_stays(
    habits: dict[str, Any], changes: dict[str, str], code: str, tmp_path: Path
) -> None:
    with odd_archive(films=some(40, **changes), **habits) as archive:
        summary = pull(tmp_path / "in", to(archive.url, page=20))
        assert summary.exit_code == 6
        assert set(summary.fetched.unlisted) == {code}
        assert summary.marked == ()
        # What was seen came all the same.
        assert summary.fetched.stored == (0 if code == "DATE_IGNORED" else 20)
        archive.takes_offset = archive.takes_date = True
        archive.films = some(40)
        after = pull(tmp_path / "in", to(archive.url, page=20))
        assert (after.exit_code, len(uids(tmp_path / "in")), after.marked) == (0, 40, ("CR",))


def test_a_study_of_which_fewer_are_listed_than_counted_is_asked_for_again(
    tmp_path: Path,
) -> None:
    with odd_archive(films=some(3), counts={"2.25.2002": 2, "2.25.3003": 5}) as archive:
        summary = pull(tmp_path / "in", to(archive.url))
        # The rest came, and the mark is not held up.
        assert (summary.exit_code, summary.fetched.stored, summary.marked) == (6, 3, ("CR",))
        assert missing(summary) == {"COUNT": 2}
        archive.counts = {}
        assert pull(tmp_path / "in", to(archive.url)).exit_code == 0


def test_a_modality_that_is_listed_well_hides_no_other_of_its_study(tmp_path: Path) -> None:
    one, other = some(1), some(1, first=2, Modality="DX", StudyInstanceUID="2.25.2001")
    with odd_archive(films=one + other, counts={"2.25.3001": 2}) as archive:
        settings = to(archive.url, modality=("CR", "DX"))
        for _ in range(2):
            summary = pull(tmp_path / "in", settings)
            assert (summary.exit_code, missing(summary)) == (6, {"COUNT": 1})
        assert len(uids(tmp_path / "in")) == 2
        archive.counts = {}
        assert pull(tmp_path / "in", settings).exit_code == 0


def test_a_study_that_cannot_be_listed_holds_no_other_up(tmp_path: Path) -> None:
    with odd_archive(films=some(5)) as archive:
        archive.qido_status = lambda path: 500 if "2.25.2003" in path else 200
        summary = pull(tmp_path / "in", to(archive.url))
        assert (summary.exit_code, summary.fetched.stored, summary.marked) == (6, 4, ("CR",))
        assert missing(summary) == {"HTTP 500": 1}
        archive.qido_status = lambda _: 200
        assert pull(tmp_path / "in", to(archive.url)).exit_code == 0
        assert len(uids(tmp_path / "in")) == 5


@pytest.mark.parametrize("body", [b"<html>", b'{"a": 1}', b'[{"0020000D": {}}]', b'["x"]', b"[[]]"])
def test_an_answer_that_is_no_list_is_told(body: bytes, tmp_path: Path) -> None:
    with plain_server(body) as url:
        summary = pull(tmp_path / "in", to(url, retry=Retry(attempts=1)))
    assert (summary.exit_code, summary.marked) == (6, ())
    assert set(summary.fetched.unlisted) == {"NO_LIST"}


# -- objects ----------------------------------------------------------------------------------


def other(archive: OddArchive, uid: str) -> Callable[[], bytes]:
    return lambda: message(content_of(archive, uid))


def test_one_bad_object_is_recorded_and_asked_for_again(tmp_path: Path) -> None:
    with odd_archive(films=some(12)) as archive:
        whole = content_of(archive, "2.25.1007")
        archive.wado = {
            "2.25.1001": 404,
            "2.25.1002": 403,
            "2.25.1003": 500,
            "2.25.1004": other(archive, "2.25.1012"),
            "2.25.1005": message(b"<html>not today</html>"),
            "2.25.1006": message(whole[:-40], whole=False),
            "2.25.1007": message(whole[:-40]),
            "2.25.1008": b"",
        }
        settings = to(archive.url)
        summary = pull(tmp_path / "in", settings)
        assert (summary.exit_code, summary.fetched.stored) == (6, 4)
        assert missing(summary) == {
            "HTTP 404": 1,
            "HTTP 403": 1,
            "HTTP 500": 1,
            "OTHER_OBJECT": 1,
            "NOT_DICOM": 1,
            "CUT": 2,
            "NO_OBJECT": 1,
        }
        # All is stored or recorded: the mark is not held up.
        assert summary.marked == ("CR",)
        # The ones that came are not fetched again, the others are.
        archive.fetched.clear()
        assert pull(tmp_path / "in", settings).exit_code == 6
        assert set(archive.fetched) == {f"2.25.{number}" for number in range(1001, 1009)}
        archive.wado = {}
        mended = pull(tmp_path / "in", settings)
        assert (mended.exit_code, mended.fetched.stored, mended.left) == (0, 8, {})
        assert len(uids(tmp_path / "in")) == 12


def test_objects_that_bring_the_server_down_do_not_hold_the_mark_for_ever(tmp_path: Path) -> None:
    with odd_archive(films=some(10)) as archive:
        archive.wado = dict.fromkeys((f"2.25.{number}" for number in range(1001, 1005)), 503)
        settings = to(archive.url)
        first = pull(tmp_path / "in", settings)
        # Three in a row: the door is taken for shut, and nothing is said of the rest.
        assert (first.exit_code, first.fetched.shut, first.marked) == (6, "HTTP 503", ())
        second = pull(tmp_path / "in", settings)
        assert second.fetched.stored + first.fetched.stored == 6
        assert second.marked == ("CR",)
        assert missing(second) == {"HTTP 503": 4}


def test_what_stays_missing_is_given_up_after_some_days(tmp_path: Path) -> None:
    with odd_archive(films=some(2), wado={"2.25.1001": 404}) as archive:
        assert pull(tmp_path / "in", to(archive.url)).exit_code == 6
        with sqlite3.connect(tmp_path / "in.pull.sqlite") as db:
            db.execute("UPDATE things SET first_at = '2020-01-01T00:00:00Z'")
        db.close()
        summary = pull(tmp_path / "in", to(archive.url))
        assert (summary.exit_code, summary.left) == (0, {("GIVEN_UP", "HTTP 404"): 1})


HOSTILE = ["../../../etc/cron.d/x", "/etc/passwd", "..", "a/b", "1.2?x=1", "1.2#", "", "1" * 200]


def test_a_hostile_uid_leads_nowhere(tmp_path: Path) -> None:
    films = some(len(HOSTILE) + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one, uid in zip(films, HOSTILE, strict=False):
            one.SOPInstanceUID = uid or "\x00"
        films[0].StudyInstanceUID = HOSTILE[0]
    with odd_archive(films=films) as archive:
        (tmp_path / "a" / "b").mkdir(parents=True)
        summary = pull(tmp_path / "a" / "b" / "in", to(archive.url))
        assert archive.fetched == [films[-1].SOPInstanceUID]
    assert summary.exit_code == 6
    assert missing(summary) == {"BAD_UID": len(HOSTILE)}
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert len([each for each in names if each.endswith(".dcm")]) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"b"}


@pytest.mark.parametrize("uid", [*HOSTILE, "2.25.1", "1\n2", "\udcff"])
def test_a_name_is_made_of_hashes(uid: str) -> None:
    name = file_name(Film(uid, uid, uid, uid))
    day, study, file = name.split("/")
    assert day == "undated"
    assert len(study) == 32
    assert file.endswith(".dcm")
    assert set(study + file.removesuffix(".dcm")) <= set("0123456789abcdef")


# -- the disk ---------------------------------------------------------------------------------


def test_the_bound_of_the_folder_stops_it_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with odd_archive(films=some(20)) as archive:
        size = len(content_of(archive, "2.25.1001"))
        full = pull(tmp_path / "in", to(archive.url, most_gb=size * 7.5 / 1e9))
        assert (full.exit_code, full.fetched.shut) == (7, "FOLDER_FULL")
        assert (full.fetched.stored, full.marked, full.left) == (7, (), {})
        held = sum(path.stat().st_size for path in (tmp_path / "in").rglob("*.dcm"))
        assert held <= size * 7.5
        # Nothing more is fetched while it is full.
        archive.fetched.clear()
        again = pull(tmp_path / "in", to(archive.url, most_gb=held / 1e9))
        assert (again.exit_code, again.fetched.stored) == (7, 0)
        assert len(archive.fetched) <= 1
        assert pull(tmp_path / "in", to(archive.url)).fetched.stored == 13
        assert len(uids(tmp_path / "in")) == 20


def test_so_much_of_the_disk_stays_free(tmp_path: Path) -> None:
    with odd_archive(films=some(2)) as archive:
        summary = pull(tmp_path / "in", to(archive.url, free_gb=10**6))
        assert (summary.exit_code, summary.fetched.shut) == (7, "DISK_FULL")
        assert archive.fetched == []


def test_a_disk_that_is_full_after_all_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    calls = iter(range(100))

    def fsync(descriptor: int) -> None:
        # The third file: a disk that is full when its content is synced.
        if os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).startswith(PREFIX) and (
            next(calls) == 2
        ):
            raise OSError(errno.ENOSPC, "no space")
        real(descriptor)

    with odd_archive(films=some(5)) as archive:
        monkeypatch.setattr("screener.durable.os.fsync", fsync)
        summary = pull(tmp_path / "in", to(archive.url))
        assert (summary.exit_code, summary.fetched.shut) == (7, "DISK_FULL")
        assert summary.fetched.stored == 2
        assert list((tmp_path / "in").glob(f"{PREFIX}*")) == []
        assert pull(tmp_path / "in", to(archive.url)).fetched.stored == 3


@pytest.mark.long
def test_a_real_disk_that_is_full(tmp_path: Path) -> None:
    """A file system of 300 kB in a mount namespace of its own."""
    films = some(12)
    for each in films:
        each.PixelData = bytes(60_000)
        each.Rows, each.Columns = 150, 200
    with odd_archive(films=films) as archive:
        (tmp_path / "in").mkdir()
        config = tmp_path / "site.toml"
        config.write_text(
            f'[dicomweb]\nurl = "{archive.url}"\n[pull]\nfree_gb = 0\nmodality = ["CR"]\n'
        )
        code = (
            f"mount -t tmpfs -o size=300k none {tmp_path / 'in'}"
            f" && {sys.executable} -m screener pull --from {config} --out {tmp_path / 'in'};"
            f" echo $? $(find {tmp_path / 'in'} -name '*.dcm' | wc -l)"
            f" $(find {tmp_path / 'in'} -name '*.part' | wc -l)"
        )
        done = subprocess.run(
            ["unshare", "-Urm", "sh", "-c", code], capture_output=True, text=True, check=False
        )
        if "Operation not permitted" in done.stderr:
            pytest.skip("no mount namespaces here")
        code, files, parts = done.stdout.splitlines()[-1].split()
        assert (code, parts) == ("7", "0"), done.stderr
        assert 1 <= int(files) < 12
        assert "DISK_FULL" in done.stderr


def test_a_state_that_cannot_be_used_is_told_as_such(tmp_path: Path) -> None:
    state = tmp_path / "in.pull.sqlite"
    state.write_bytes(b"no database at all" * 100)
    with pytest.raises(RunError, match="SQLITE_NOTADB"):
        pull(tmp_path / "in", to("http://127.0.0.1:9"))
    state.unlink()
    with sqlite3.connect(state) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(UsageError, match="newer one"):
        pull(tmp_path / "in", to("http://127.0.0.1:9"))


def test_a_state_that_fails_in_the_middle_is_no_bug(tmp_path: Path) -> None:
    with odd_archive(films=some(3)) as archive:

        def lose(_: int) -> None:
            with sqlite3.connect(tmp_path / "in.pull.sqlite") as db:
                db.execute("DROP TABLE things")
            db.close()

        with pytest.raises(RunError, match="SQLITE_ERROR") as raised:
            pull(tmp_path / "in", to(archive.url), progress=lose)
    assert raised.value.mend


def test_a_second_pull_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with state_lock(tmp_path / "in.pull.sqlite.lock"), pytest.raises(LockedError):
        pull(tmp_path / "in", to("http://127.0.0.1:9"))


def test_a_folder_without_a_parent_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file"):
        pull(tmp_path / "not" / "mounted", to("http://127.0.0.1:9"))


# -- the network ------------------------------------------------------------------------------


def test_a_server_that_is_down_moves_no_mark(tmp_path: Path) -> None:
    began = time.monotonic()
    summary = pull(tmp_path / "in", to(f"http://127.0.0.1:{free_port()}/x"))
    assert time.monotonic() - began < 10
    assert (summary.exit_code, summary.fetched.shut) == (6, "CONNECTION_REFUSED")
    assert summary.marked == ()


@pytest.mark.long
def test_a_slow_server_is_given_up(tmp_path: Path) -> None:
    with odd_archive(films=some(30), wait_s=2) as archive:
        began = time.monotonic()
        settings = to(archive.url, timeout_s=0.3, retry=Retry(attempts=1))
        summary = pull(tmp_path / "in", settings)
        assert time.monotonic() - began < 10
        assert (summary.exit_code, summary.fetched.shut, summary.marked) == (6, "TIMEOUT", ())
        archive.wait_s = 0
        assert pull(tmp_path / "in", settings).fetched.stored == 30


@pytest.mark.long
def test_an_object_that_drips_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the whole never."""
    monkeypatch.setattr("screener.pacs.pull._LONGEST_OBJECT_S", 0.5)
    with odd_archive(films=some(1)) as archive, dripping(archive) as url:
        began = time.monotonic()
        summary = pull(tmp_path / "in", to(url, timeout_s=0.2, retry=Retry(attempts=1)))
        assert time.monotonic() - began < 10
    assert missing(summary) == {"TIMEOUT": 1}


def test_a_wrong_certificate_is_told_and_nothing_fetched(archive: Orthanc, tmp_path: Path) -> None:
    fill(archive, tmp_path, range(1, 3))
    made, wrong = certificates(tmp_path / "right"), certificates(tmp_path / "wrong")
    with https_before(archive.http, made) as port:
        for authority, code in ((wrong.ca, 6), (made.ca, 0)):
            door = web_door(
                archive, tmp_path, url=f"https://127.0.0.1:{port}/dicom-web", ca_file=authority
            )
            settings = asking("dicomweb", archive, door)
            summary = pull(tmp_path / "in", settings)
            assert summary.exit_code == code
            if code:
                assert (summary.fetched.shut, summary.marked) == ("CERTIFICATE", ())
    assert len(uids(tmp_path / "in")) == 2


def test_a_wrong_password_is_told(archive: Orthanc, web: DicomWeb, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("another\n")
    summary = pull(tmp_path / "in", asking("dicomweb", archive, web))
    assert (summary.exit_code, summary.fetched.shut) == (6, "LOGIN")


def test_a_signal_ends_it_between_two_objects(tmp_path: Path) -> None:
    stop = Stop()

    def progress(stored: int) -> None:
        if stored == 4:
            stop.signal_number = signal.SIGTERM

    with odd_archive(films=some(10)) as archive:
        with pytest.raises(InterruptedRunError):
            pull(tmp_path / "in", to(archive.url), stop=stop, progress=progress)
        assert len(uids(tmp_path / "in")) == 4
        assert pull(tmp_path / "in", to(archive.url)).fetched.stored == 6
        assert Counter(archive.fetched).most_common(1)[0][1] == 1


def test_the_time_that_it_may_take_ends_it(tmp_path: Path) -> None:
    with odd_archive(films=some(5)) as archive:
        settings = to(archive.url)
        object.__setattr__(settings.pull, "minutes", 0)
        summary = pull(tmp_path / "in", settings)
    assert (summary.exit_code, summary.fetched.shut, summary.marked) == (6, "TIME_IS_UP", ())


# -- kills ------------------------------------------------------------------------------------


def command(folder: Path, config: Path) -> subprocess.Popen[bytes]:
    words = ["pull", "--from", str(config), "--out", str(folder), "-q"]
    return subprocess.Popen(
        [sys.executable, "-m", "screener", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def killed_again_and_again(tmp_path: Path, count: int, kills: int) -> None:
    folder, config = tmp_path / "in", tmp_path / "site.toml"
    dice = random.Random(5)
    with odd_archive(films=some(count), wait_s=0.01) as archive:
        config.write_text(
            f'[dicomweb]\nurl = "{archive.url}"\n[pull]\nfree_gb = 0\nmodality = ["CR"]\n'
        )
        done = 0
        while done < kills:
            process = command(folder, config)
            before, begins = len(archive.fetched), time.monotonic()
            # It is killed while it fetches: not before, and at no fixed place.
            while len(archive.fetched) == before and process.poll() is None:
                assert time.monotonic() - begins < 60
                time.sleep(0.005)
            time.sleep(dice.random() * 0.2)
            if process.poll() is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            # Whatever stands under a final name is whole.
            for path in folder.rglob("*.dcm"):
                uid = str(dcmread(path).SOPInstanceUID)
                assert path.read_bytes() == content_of(archive, uid)
        last = command(folder, config)
        assert last.wait(timeout=120) == 0
        assert done >= min(kills, 3)
        assert len(uids(folder)) == len(set(uids(folder))) == count
        assert list(folder.glob(f"{PREFIX}*")) == []
        # What came and was not yet noted when the kill came is fetched once more.
        assert len(archive.fetched) - len(set(archive.fetched)) <= done
    with sqlite3.connect(folder.with_name("in.pull.sqlite")) as db:
        states = db.execute("SELECT state, count(*) FROM things GROUP BY 1").fetchall()
    db.close()
    assert states == [("STORED", count)]


@pytest.mark.long
def test_killed_while_it_fetches(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, count=40, kills=1)


@pytest.mark.long
def test_killed_many_times_while_it_fetches(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, count=200, kills=12)


@pytest.mark.long
@pytest.mark.parametrize("via", ["dicomweb", "c-get", "c-move"])
def test_a_server_that_dies_in_the_middle(via: str, tmp_path: Path) -> None:
    http_port, dicom, folder = free_port(), free_port(), tmp_path / "in"
    with orthanc(tmp_path / "orthanc", http=http_port, dicom=dicom) as server:
        fill(server, tmp_path, range(1, 41))
        config = site(tmp_path, server, via)
        process = command(folder, config)
        ends = time.monotonic() + 60
        while len(list(folder.rglob("*.dcm"))) < 5 and time.monotonic() < ends:
            time.sleep(0.01)
    assert process.wait(timeout=120) == 6
    assert 5 <= len(uids(folder)) < 40
    again = orthanc(tmp_path / "orthanc", http=http_port, dicom=dicom, receiver=server.receiver)
    with again as server:
        assert command(folder, config).wait(timeout=120) == 0
    assert len(uids(folder)) == len(set(uids(folder))) == 40
