"""The switch from report to report, cut by kills, full disks and I/O errors at its system calls."""

from __future__ import annotations

import compileall
import grp
import hashlib
import inspect
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from screener.durable import PRIVATE, Access, access_for, writer_of
from screener.errors import RunError, UsageError
from screener.publication import (
    KEPT_RUNS,
    finish_interrupted,
    open_to_others,
    publish_run,
    published_run,
    verify_published,
)
from screener.screening import scan
from screener.settings import Output, Settings
from tests.films import TINY, dataset, draw, save

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from screener.durable import Writer

ROOT = Path(__file__).parent.parent
FIRST, SECOND, THIRD = (
    "20240101T010000Z-000001",
    "20240102T010000Z-000002",
    "20240103T010000Z-000003",
)


def contents(run_id: str) -> dict[str, bytes]:
    """The files of a run: one needs several writes, one is not in every run."""
    files = {
        "triage.csv": f"triage of {run_id}\n".encode(),
        "images.csv": f"{run_id}\n".encode() * 50_000,
        "report.html": f"<html>{run_id}".encode(),
    }
    if run_id != SECOND:
        files["triage.spreadsheet.csv"] = f"spreadsheet of {run_id}".encode()
    return files


def publish(out: Path, run_id: str, access: Access = PRIVATE) -> Path:
    def counting(content: bytes) -> Writer:
        def write(stream: BinaryIO) -> int:
            writer_of(content)(stream)
            return content.count(b"\n")

        return write

    files = {name: counting(content) for name, content in contents(run_id).items()}
    return publish_run(
        out, run_id, files, lambda: {"schema_version": 1, "counts": {"SCORED": 3}}, access
    )


def seen(out: Path) -> dict[str, bytes]:
    """Every file in the output folder, hidden ones too, but for `runs`."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def assert_published(out: Path, run_id: str, *, history: tuple[str, ...]) -> None:
    """Exactly one whole report, and nothing left lying."""
    found = seen(out)
    manifest = json.loads(found.pop("run.json"))
    assert found == contents(run_id)
    assert manifest["run_id"] == run_id
    assert verify_published(out) == ()
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(history)
    for name in history:
        kept = seen(out / "runs" / name)
        kept.pop("run.json")
        assert kept == contents(name)


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    """Modes must be right without the caller's umask."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_report_with_its_hashes_sizes_and_rows(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert publish(out, FIRST) == out / "runs" / FIRST
    assert_published(out, FIRST, history=(FIRST,))
    manifest = json.loads((out / "run.json").read_bytes())
    assert manifest == published_run(out)
    assert list(manifest) == ["schema_version", "counts", "run_id", "files"]
    for name, content in contents(FIRST).items():
        assert manifest["files"][name] == {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "rows": content.count(b"\n"),
        }


def test_the_next_report_replaces_it_and_removes_what_it_no_longer_has(tmp_path: Path) -> None:
    publish(tmp_path, FIRST)
    (tmp_path / "state.sqlite").write_bytes(b"state")
    publish(tmp_path, SECOND)
    assert not (tmp_path / "triage.spreadsheet.csv").exists()
    assert (tmp_path / "state.sqlite").read_bytes() == b"state"
    (tmp_path / "state.sqlite").unlink()
    assert_published(tmp_path, SECOND, history=(FIRST, SECOND))
    assert finish_interrupted(tmp_path) is None


def test_everything_is_private(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(out, FIRST)
    paths = [out, *out.rglob("*")]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert modes == {0o700, 0o600}
    assert not open_to_others(out)


def other_group() -> int:
    """A group that this account may give files to."""
    groups = [gid for gid in os.getgroups() if gid != os.getegid()]
    if groups:
        return groups[0]
    if os.geteuid() == 0:
        return 4321
    pytest.skip("this account is in one group only")


def test_an_importers_group_gets_what_the_site_says(tmp_path: Path) -> None:
    access = Access(0o640, other_group())
    publish(tmp_path / "out", FIRST, access)
    for name in (*contents(FIRST), "run.json"):
        about = (tmp_path / "out" / name).stat()
        assert (stat.S_IMODE(about.st_mode), about.st_gid) == (0o640, access.gid)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "out" / "runs").stat().st_mode) == 0o700
    assert not open_to_others(tmp_path / "out", access)
    assert open_to_others(tmp_path / "out")


def test_a_folder_that_the_site_made_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    publish(tmp_path, FIRST, Access(0o640, other_group()))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o711


def test_a_group_that_the_account_is_not_in_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(group.gr_name for group in grp.getgrall() if group.gr_gid != os.getegid())

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refuse)
    save(dataset(draw(1), 1), tmp_path / "studies" / "a")
    settings = Settings(model=TINY, output=Output(group=name))
    with pytest.raises(RunError, match=f"to the group {name} ") as raised:
        scan(tmp_path / "studies", tmp_path / "out", settings)
    assert f"usermod -a -G {name} " in raised.value.mend
    assert not (tmp_path / "out" / "state.sqlite").exists()


def test_access_by_the_name_of_a_group() -> None:
    assert access_for(0o640, "") == Access(0o640, None)
    assert access_for(0o640, "root") == Access(0o640, 0)
    with pytest.raises(UsageError, match="no-such-group"):
        access_for(0o640, "no-such-group")


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o700, False), (0o750, True), (0o701, True), (0o755, True)]
)
def test_open_to_others(tmp_path: Path, mode: int, expected: bool) -> None:
    tmp_path.chmod(mode)
    assert open_to_others(tmp_path) is expected


def test_the_last_thirty_runs_are_kept(tmp_path: Path) -> None:
    runs = [f"202401{day:02d}" for day in range(1, KEPT_RUNS + 1)]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "0000-a-folder-of-the-site").mkdir()
    for run_id in [*runs, "20240201", "20240202"]:
        publish_run(tmp_path, run_id, {"a.csv": writer_of(run_id.encode())}, dict)
    kept = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert kept == ["0000-a-folder-of-the-site", *runs[2:], "20240201", "20240202"]
    # A clock that was set back does not cost the run that was just published.
    publish_run(tmp_path, "19700101", {"a.csv": writer_of(b"old")}, dict)
    assert (tmp_path / "runs" / "19700101").is_dir()
    assert verify_published(tmp_path) == ()


def test_the_last_runs_are_kept_though_the_clock_was_set_back(tmp_path: Path) -> None:
    late = [f"20300101T000000Z-{number:06d}" for number in range(1, KEPT_RUNS + 1)]
    early = [f"20200101T000000Z-{number:06d}" for number in range(31, 34)]
    for run_id in [*late, *early]:
        publish_run(tmp_path, run_id, {"a.csv": writer_of(b"x")}, dict)
    kept = {path.name for path in (tmp_path / "runs").iterdir()}
    assert kept == {*late[3:], *early}


@pytest.mark.parametrize(
    "name", ["../evil", "a/b", ".hidden", "", "run.json", "runs", "state.sqlite", "a\n", "ä"]
)
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        publish_run(tmp_path / "out", FIRST, {name: writer_of(b"")}, dict)
    with pytest.raises(ValueError, match="is no name"):
        publish_run(tmp_path / "out", name, {}, dict)
    assert not (tmp_path / "out").exists()


def test_a_run_id_is_used_once(tmp_path: Path) -> None:
    publish(tmp_path, FIRST)
    with pytest.raises(ValueError, match="was published before"):
        publish(tmp_path, FIRST)
    assert_published(tmp_path, FIRST, history=(FIRST,))


def test_a_writer_that_fails_leaves_the_last_report(tmp_path: Path) -> None:
    publish(tmp_path, FIRST)

    def fail(stream: BinaryIO) -> int:
        stream.write(b"half of it")
        raise KeyError("x")

    with pytest.raises(KeyError):
        publish_run(tmp_path, SECOND, {"triage.csv": fail}, dict)
    assert_published(tmp_path, FIRST, history=(FIRST,))


def test_no_permission_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="could not be written: Not a directory"):
        publish(tmp_path / "file" / "out", FIRST)


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_verify_names_what_does_not_match(tmp_path: Path, damage: bytes | None) -> None:
    publish(tmp_path, FIRST)
    (tmp_path / "triage.csv").unlink()
    if damage is not None:
        (tmp_path / "triage.csv").write_bytes(damage)
    assert verify_published(tmp_path) == ("triage.csv",)
    assert verify_published(tmp_path / "runs" / FIRST) == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"run_id": "a", "files": []}',
        b'{"run_id": "../..", "files": {}}',
        b'{"run_id": "a", "files": {"../../etc/passwd": {}}}',
        b'{"run_id": "a", "files": {"state.sqlite": {}}}',
        b'{"run_id": "a", "files": {"triage.csv": 7}}',
    ],
)
def test_a_foreign_run_json_is_not_believed(tmp_path: Path, content: bytes) -> None:
    publish(tmp_path, FIRST)
    (tmp_path / "state.sqlite").write_bytes(b"state")
    (tmp_path / "run.json").unlink()
    (tmp_path / "run.json").write_bytes(content)
    assert verify_published(tmp_path) != ()
    publish(tmp_path, THIRD)
    assert (tmp_path / "state.sqlite").read_bytes() == b"state"
    assert verify_published(tmp_path) == ()


def test_no_report_yet(tmp_path: Path) -> None:
    assert finish_interrupted(tmp_path / "none") is None
    assert published_run(tmp_path) is None
    assert verify_published(tmp_path) == ("run.json",)


def test_a_ready_run_that_the_disk_lost_is_given_up(tmp_path: Path) -> None:
    """Half of the switch was done; then the power went, and with it what was synced."""
    publish(tmp_path, FIRST)
    publish(tmp_path, SECOND)
    ready = tmp_path / "runs" / f".{SECOND}.ready"
    (tmp_path / "runs" / SECOND).rename(ready)
    (tmp_path / "run.json").unlink()
    shutil.copy(tmp_path / "runs" / FIRST / "run.json", tmp_path)
    os.truncate(ready / "images.csv", 7)
    assert finish_interrupted(tmp_path) is None
    assert_published(tmp_path, FIRST, history=(FIRST,))


# -- system calls ------------------------------------------------------------------------------

# Isolated and without site packages: fewer calls before the first that matters.
DRIVER = f"""
from __future__ import annotations
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from screener.durable import PRIVATE, Access, writer_of
from screener.errors import RunError
from screener.publication import finish_interrupted, publish_run
FIRST, SECOND = {FIRST!r}, {SECOND!r}
{inspect.getsource(contents)}
{inspect.getsource(publish)}
try:
    finish_interrupted(Path(sys.argv[2]))
    publish(Path(sys.argv[2]), SECOND)
except RunError:
    sys.exit(1)
"""
CALLS = r"/^(write|fsync|openat|mkdir|rmdir|rename|link|unlink|fchmod|getdents64)"
NEEDS_ROOM = re.compile(r"^(write|mkdir|link|rename|openat.*O_CREAT)")


class Point(NamedTuple):
    """The n-th call of a kind that a publication makes."""

    call: str
    number: int
    line: str


def strace(*options: str, out: Path) -> subprocess.CompletedProcess[bytes]:
    """Publish the second report in a process of its own, under strace.

    It runs a copy that no one edits or compiles meanwhile: the n-th call stays the n-th.
    """
    copy = out.parent / "program"
    if not copy.exists():
        (copy / "screener").mkdir(parents=True)
        (copy / "screener" / "__init__.py").touch()
        for module in (
            "domain",
            "durable",
            "errors",
            "manifest",
            "outcomes",
            "publication",
            "switch",
        ):
            shutil.copy(ROOT / "screener" / f"{module}.py", copy / "screener")
        compileall.compile_dir(copy, quiet=1)
    program = [sys.executable, "-I", "-S", "-B", "-c", DRIVER, str(copy), str(out)]
    return subprocess.run(
        ["strace", "-qq", *options, *program],
        capture_output=True,
        check=False,
        timeout=60,
    )


def inject(call: str, fault: str, out: Path) -> subprocess.CompletedProcess[bytes]:
    options = ("-e", f"trace={call}", "-e", f"inject={call}:{fault}", "-o", "/dev/null")
    return strace(*options, out=out)


@cache
def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode == 0


needs_strace = pytest.mark.skipif(
    not can_trace(), reason="strace is not installed, or this machine does not let it trace"
)


def trace(out: Path) -> list[Point]:
    """The calls on the output folder that publishing the second report makes, in their order."""
    log = out.with_suffix(".log")
    done = strace("-y", "-s", "8", "-e", f"trace={CALLS}", "-o", str(log), out=out)
    assert done.returncode == 0, done.stderr
    counts: dict[str, int] = {}
    points = []
    for line in log.read_text().splitlines():
        call = line.partition("(")[0]
        counts[call] = counts.get(call, 0) + 1
        if str(out) in line:
            points.append(Point(call, counts[call], line))
    return points


def started(tmp_path: Path, name: str, *, first: bool) -> Path:
    """An output folder, where asked for with a first report."""
    out = tmp_path / name
    out.mkdir(mode=0o700)
    if first:
        publish(out, FIRST)
    return out


def check_point(tmp_path: Path, point: Point, fault: str, *, first: bool, lasting: bool) -> None:
    out = started(tmp_path, "out", first=first)
    try:
        when = f"{point.number}{'+' if lasting else ''}"
        done = inject(point.call, f"{fault}:when={when}", out)
        killed = fault.startswith("signal")
        assert done.returncode in ({-9, 137} if killed else {0, 1}), (done.stderr, point)
        check_between(out, first=first, whole=not killed and not lasting, code=done.returncode)
        before = seen(out / "runs" / SECOND) if (out / "runs" / SECOND).exists() else {}
        finished = finish_interrupted(out)
        history = tuple(path.name for path in (out / "runs").iterdir()) if finished or first else ()
        publish(out, THIRD)
        assert_published(out, THIRD, history=tuple({*history, *listed(out)}))
        if before:
            assert seen(out / "runs" / SECOND) == before
    finally:
        shutil.rmtree(out)


def listed(out: Path) -> list[str]:
    """The runs in the history, which may hold the second: it was published by now or given up."""
    names = sorted(path.name for path in (out / "runs").iterdir())
    assert set(names) <= {FIRST, SECOND, THIRD}
    return names


def check_between(out: Path, *, first: bool, whole: bool, code: int) -> None:
    """Right after the fault, before anything mended it: no file is torn, no manifest lies."""
    found = {name: data for name, data in seen(out).items() if not name.startswith(".screener-")}
    manifest = found.pop("run.json", None)
    old, new = contents(FIRST) if first else {}, contents(SECOND)
    for name, data in found.items():
        assert data in (old.get(name), new.get(name)), name
    run_id = json.loads(manifest)["run_id"] if manifest else None
    assert run_id in ({FIRST, SECOND} if first else {None, SECOND})
    if run_id == SECOND:
        assert found == new
        assert verify_published(out) == ()
    elif whole:
        assert found == old, "an error must turn the switch back"
        assert code == 1
    if code == 0:
        assert run_id == SECOND


def faults(points: list[Point]) -> list[tuple[Point, str, bool]]:
    """Every point with every fault that can happen there, once and lasting."""
    cases = []
    for point in points:
        cases += [(point, "signal=SIGKILL", False)]
        cases += [(point, "error=EIO", False), (point, "error=EIO", True)]
        if NEEDS_ROOM.match(point.line):
            cases += [(point, "error=ENOSPC", False), (point, "error=ENOSPC", True)]
    return cases


def is_rename(case: tuple[Point, str, bool]) -> bool:
    return case[0].call.startswith("rename")


def cases_of(tmp_path: Path, *, first: bool) -> list[tuple[Point, str, bool]]:
    return faults(trace(started(tmp_path, "traced", first=first)))


@needs_strace
def test_kills_at_every_rename(tmp_path: Path) -> None:
    """Where the switch is most delicate."""
    cases = cases_of(tmp_path, first=True)
    kills = [case for case in cases if case[0].call.startswith("rename") and "KILL" in case[1]]
    assert len(kills) == 6, "commit, three files, run.json, history"
    for point, fault, lasting in kills:
        check_point(tmp_path, point, fault, first=True, lasting=lasting)


@needs_strace
@pytest.mark.parametrize("first", [True, False])
def test_faults_at_some_system_calls(tmp_path: Path, first: bool) -> None:
    cases = cases_of(tmp_path, first=first)
    for point, fault, lasting in cases[3 :: len(cases) // 6]:
        check_point(tmp_path, point, fault, first=first, lasting=lasting)


@needs_strace
@pytest.mark.long
@pytest.mark.parametrize("first", [True, False])
def test_faults_at_every_system_call(tmp_path: Path, first: bool) -> None:
    cases = cases_of(tmp_path, first=first)
    assert len(cases) > 200
    for point, fault, lasting in cases:
        check_point(tmp_path, point, fault, first=first, lasting=lasting)


def check_cut_twice(tmp_path: Path, point: Point) -> None:
    """Kill a run, and the run that mends it at the same call."""
    out = started(tmp_path, "out", first=True)
    for _ in range(2):
        inject(point.call, f"signal=SIGKILL:when={point.number}", out)
    finish_interrupted(out)
    publish(out, THIRD)
    assert_published(out, THIRD, history=tuple(listed(out)))
    shutil.rmtree(out)


@needs_strace
def test_a_mending_run_is_cut_as_well(tmp_path: Path) -> None:
    points = trace(started(tmp_path, "traced", first=True))
    check_cut_twice(tmp_path, [point for point in points if "rename" in point.call][3])


@needs_strace
@pytest.mark.long
def test_a_mending_run_is_cut_anywhere(tmp_path: Path) -> None:
    for point in trace(started(tmp_path, "traced", first=True)):
        check_cut_twice(tmp_path, point)


@needs_strace
def test_without_hard_links_files_are_copied(tmp_path: Path) -> None:
    out = started(tmp_path, "out", first=True)
    (call,) = {
        point.call
        for point in trace(started(tmp_path, "t", first=True))
        if "link" in point.call and "unlink" not in point.call
    }
    assert inject(call, "error=EPERM:when=1+", out).returncode == 0
    assert_published(out, SECOND, history=(FIRST, SECOND))
    assert {(out / name).stat().st_nlink for name in contents(SECOND)} == {1}
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600, 0o700}


@needs_strace
def test_what_a_name_promises_is_synced_before_the_name(tmp_path: Path) -> None:
    """What a power loss can take was not synced; nothing is renamed before it is."""
    out = started(tmp_path, "out", first=True)
    lines = [f"{point.line}" for point in trace(out)]

    def at(pattern: str, *, last: bool = False) -> int:
        found = [index for index, line in enumerate(lines) if re.search(pattern, line)]
        assert found, pattern
        return found[-1] if last else found[0]

    committed = at(rf'^rename.*\.{SECOND}\.writing".*\.{SECOND}\.ready"')
    for name in (*contents(SECOND), "run.json"):
        write = at(rf"^write\(\d+<.*\.writing/{name}>", last=True)
        synced = at(rf"^fsync\(\d+<.*\.writing/{name}>")
        assert write < synced < committed
    assert synced < at(rf"^fsync\(\d+<.*\.{SECOND}\.writing>\)") < committed
    first_file = at(r'^rename.*/out/triage\.csv"')
    assert committed < at(r"^fsync\(\d+<.*/runs>\)") < first_file
    renames = [at(rf'^rename.*/out/{name}"') for name in contents(SECOND)]
    folder = [
        index for index, line in enumerate(lines) if re.search(r"^fsync\(\d+<.*/out>\)", line)
    ]
    manifest = at(r'^rename.*/out/run\.json"')
    assert any(max(renames) < index < manifest for index in folder)
    assert any(manifest < index < at(rf'^rename.*\.ready".*runs/{SECOND}"') for index in folder)
