"""What a person sees in a terminal, and what cron gets where there is none."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from screener import console
from screener.cli import main
from screener.console import ScanProgress, plain_line
from screener.path_count import PathCount
from screener.summary import Progress
from tests.films import TINY, dataset, draw, save
from tests.terminals import STYLE, in_terminal, plain


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number}.txt").write_text(str(number), encoding="ascii")
    return folder


def test_a_scan_shows_how_far_it_is_and_ends_with_tables(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    # Long enough for a rate, on a fast and quiet machine too: 40 films, each of them 30 times.
    for number in range(40):
        film = studies / f"{number}"
        save(dataset(draw(number, size=512), number), film)
        for copy in range(1, 30):
            shutil.copyfile(film, studies / f"{number}-{copy}")
    code, written = in_terminal(
        "scan", studies, "--out", "out", "--model", TINY, "--workers", "1", cwd=tmp_path
    )
    assert code == 0, written
    seen = plain(written)
    bars = re.findall(r"screening \S+ +(\d+)/1200 ([\d.]+)/s (-:--:--|[\d:]+)", seen)
    assert bars, seen
    assert any(float(rate) > 0 and left != "-:--:--" for _, rate, left in bars)
    # The bar is gone in the end: its line is wiped out.
    assert "\x1b[2K" in written
    lines = seen.splitlines()
    assert re.fullmatch(r"(.* )?  SCORED +1200", next(each for each in lines if "SCORED" in each))
    assert "  triage          studies" in lines
    assert f"to look at: {tmp_path / 'out' / 'report.html'}" in lines
    assert lines[-1].startswith("1200 paths = 1200 SCORED + ")


def test_colours_only_where_they_are_wanted_and_never_instead_of_words(tmp_path: Path) -> None:
    wrong = ("scan", "x", "--outt", "y")
    coloured = in_terminal(*wrong, cwd=tmp_path)
    assert STYLE.findall(coloured[1]) == ["\x1b[1;31m", "\x1b[0m", "\x1b[1;36m", "\x1b[0m"]
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        code, written = in_terminal(*wrong, cwd=tmp_path, environment=environment)
        assert code == 2
        assert "\x1b" not in written
        assert written == plain(coloured[1])
    # An empty NO_COLOR says nothing (no-color.org).
    assert in_terminal(*wrong, cwd=tmp_path, environment={"NO_COLOR": ""}) == coloured


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_scan_without_colours(studies: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    code, written = in_terminal(
        "scan", studies, "--out", "out", "--model", TINY, cwd=tmp_path, environment=environment
    )
    assert code == 0
    # Colours are 30 to 49 and 90 to 107; bold is none.
    assert [each for each in STYLE.findall(written) if re.search(r"[\[;](3|4|9|10)\d", each)] == []
    if "TERM" in environment:
        assert "\x1b" not in written


def test_without_a_terminal_one_plain_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with ScanProgress(stream=stream, total=lambda: 1990 if now > 1090 else None) as progress:
        for second in range(1, 200):
            now = 1000.0 + second
            walked = second > 150
            progress(Progress(2000 if walked else second * 10, second * 4, walked))
    assert stream.getvalue().splitlines() == [
        "240 of 600 or more paths, 4.0 a second",
        "480 of 1990 paths, 4.0 a second, 6 min left",
        "720 of 2000 paths, 4.0 a second, 5 min left",
    ]


def test_a_publish_tells_how_much_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with ScanProgress(stream=stream, verb="sending", noun="sent") as progress:
        now += 100
        progress(Progress(500, 50, True))
    assert stream.getvalue() == "50 of 500 sent, 0.5 a second, 15 min left\n"


def test_the_time_left_in_words() -> None:
    def left(done: int, found: int) -> str:
        return plain_line(Progress(found, done, True), found, 100.0).rpartition(", ")[2]

    assert left(90, 100) == "less than a minute left"
    assert left(100, 1300) == "20 min left"
    assert left(100, 20000) == "5 h 32 min left"
    assert plain_line(Progress(0, 0, False), None, 0.0) == "0 of 0 or more paths, 0.0 a second"


def test_paths_are_counted_ahead_and_the_count_can_be_left(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").touch()
    with PathCount([tmp_path], [tmp_path / "out"]) as counted:
        deadline = time.monotonic() + 10
        while counted.total is None and time.monotonic() < deadline:
            time.sleep(0.01)
    assert counted.total == 30
    with PathCount([Path("/")], []) as endless:
        pass
    assert endless.total is None


USAGE = {
    "scn x": ("screener has no command 'scn'", "did you mean 'scan'? "),
    "model shw": ("screener model has no command 'shw'", "did you mean 'show'? "),
    "scan x --outt y": ("screener scan has no option '--outt'", "did you mean '--out'? "),
    "scan x --outt=y": ("screener scan has no option '--outt'", "did you mean '--out'? "),
    "scan x -o y --no-rescn": ("screener scan has no option '--no-rescn'", "'--no-rescan'"),
    "scan x -o y -z": ("screener scan has no option '-z'", "`screener scan --help` lists all"),
    "doctor --modle x": ("screener doctor has no option '--modle'", "did you mean '--model'? "),
    "explain": ("screener explain: missing argument 'DIR'", "for example: screener explain "),
    "scan x": ("screener scan: missing option '--out'", "for example: screener scan "),
    "scan x -o y --identifiers nome": ("'nome' is not one of", "did you mean 'none'? "),
    "scan x -o y --workers many": ("'--workers'", "for example: screener scan "),
    "scan x -o": ("requires an argument", "--help"),
}


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[[str], tuple[object, str, str]]:
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(arguments: str) -> tuple[object, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["screener", *arguments.split()])
        monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("arguments", USAGE)
def test_wrong_usage_has_three_parts_and_the_nearest_right_word(
    arguments: str, call: Callable[[str], tuple[object, str, str]], tmp_path: Path
) -> None:
    code, out, err = call(arguments)
    what, mend = USAGE[arguments]
    lines = err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["error", "why", "help"]
    assert what in lines[0]
    assert mend in lines[2]
    assert (code, out) == (2, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("group", ["", "model"])
def test_a_group_without_a_command_shows_its_help(
    group: str, call: Callable[[str], tuple[object, str, str]]
) -> None:
    code, out, err = call(group)
    assert (code, err) == (2, "")
    assert out.startswith(f"Usage: {f'screener {group}'.strip()} [OPTIONS] COMMAND")
    assert "\nCommands:\n" in out


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("screener sc", ["scan"]),
        ("screener scan --dev", ["--device"]),
        ("screener scan --device t", ["tensorrt"]),
    ],
)
def test_bash_completes(line: str, found: list[str], tmp_path: Path) -> None:
    program = tmp_path / "screener"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m screener "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = f"""
    set -e
    PATH="{tmp_path}:$PATH"
    eval "$(screener --show-completion)"
    COMP_LINE='{line}'
    COMP_WORDS=({line})
    [ "${{COMP_LINE% }}" = "$COMP_LINE" ] || COMP_WORDS+=("")
    COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
    $(complete -p screener | sed 's/.*-F \\([^ ]*\\) .*/\\1/') screener
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(found)
