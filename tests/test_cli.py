"""The command line as a user meets it: help, mistakes, exit codes, the last line."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import pwd
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from screener import __version__, setup_checks
from screener.bundle import shipped_file
from screener.cli import app, main
from screener.console import printable
from screener.settings import Settings
from tests.conftest import Run
from tests.films import dataset, draw, save

TINY = Path(__file__).parent / "data" / "tiny.onnx"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(*arguments: str | os.PathLike[str]) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["screener", *map(os.fspath, arguments)])
        monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code if isinstance(ended.value.code, int) else 0, out, err

    return run


def _commands() -> dict[str, object]:
    found: dict[str, object] = {}

    def collect(name: str, command: object) -> None:
        inner = getattr(command, "commands", None)
        if inner is None:
            found[name.strip()] = command
            return
        for each, child in inner.items():
            collect(f"{name} {each}", child)

    collect("", get_command(app))
    return found


@pytest.mark.parametrize("name", _commands())
def test_every_help_has_an_example_that_parses(name: str, call: Call) -> None:
    code, out, _ = call(*name.split(), "--help")
    assert code == 0
    example = re.search(r"Example: (screener .*?)\n\n", out, flags=re.DOTALL)
    assert example is not None
    words = shlex.split(" ".join(example[1].split()))[1:]
    assert words[: len(name.split())] == name.split()
    command = _commands()[name]
    with command.make_context(name, words[len(name.split()) :]):  # type: ignore[attr-defined]
        pass


@pytest.mark.parametrize(
    "option", [("--name", "x"), ("--limit", "x"), ("--target-sensitivity", "0.9")]
)
def test_an_int8_bundle_takes_no_words_of_its_own(
    call: Call, tmp_path: Path, option: tuple[str, str]
) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "small.onnx"
    code, _, told = call(
        "export", shipped_file("float"), "--int8", "--data", tmp_path, "--out", out, *option
    )
    assert (code, out.exists()) == (2, False)
    assert "are the float bundle's" in told


def test_help_answers_at_once() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "screener", "--help"], check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, because the machine may be busy with other tests.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.4


def test_version(call: Call) -> None:
    assert call("--version") == (0, f"screener {__version__}\n", "")


def test_every_setting_of_a_scan_is_an_option_and_the_reverse() -> None:
    options = {each.name for each in _commands()["scan"].params}  # type: ignore[attr-defined]
    only_in_site_file = {
        "csv",
        "dicomweb",
        "dimse",
        "exclude",
        "keep_days",
        "limits",
        "min_paths",
        "model_public_key",
        "output",
        "priority",
        "publish",
        "pull",
        "receiver",
        "report",
        "rescreen",
        "retry",
        "sentinel",
        "threshold_model_sha256",
        "worklist",
    }
    settings = {each.name for each in dataclasses.fields(Settings)}
    assert settings - only_in_site_file == options - {"paths", "out", "config"}


@pytest.mark.parametrize(
    ("arguments", "what", "mend"),
    [
        ("scan x --out y --threshold 2", "threshold = 2.0 is not between 0 and 1", "model show"),
        ("scan x --out y --threshold .2 --operating-point a", "both an operating point", "leave"),
        ("scan x --out y --config none.toml", "'none.toml' cannot be read", "screener init"),
        ("scan . --out y --model none.onnx", "no such model: 'none.onnx'", "--model"),
        ("scan . --out y --model /dev/null", "no such model: '/dev/null'", "--model"),
        ("scan . --out y --model {file}", "is not an ONNX file", "export it again"),
        ("scan . --out y --precision int8 --model {tiny}", "not int8", "--model"),
        ("scan . --out y --operating-point a --model {tiny}", "no operating point", "default"),
        ("scan . --out y --since a --model {tiny}", "no published run 'a'", "leave --since"),
        ("scan . --out y --state . --model {tiny}", "is no regular file", "name another"),
        ("scan . --out y --settle nan", "settle = nan is no number", "at least 0"),
        ("scan . --out y --settle -1", "settle = -1.0 is less than 0", "at least 0"),
        ("scan . --out y --workers 5000", "workers = 5000 is more than", "at most"),
        ("scan . --out y --require-gpu --device cpu", "a GPU is required", "leave one"),
        ("scan '' --out y", "after 'scan' is empty", "variable"),
        ("scan . --out ''", "after '--out' is empty", "variable"),
        ("model show none.onnx", "no such model: 'none.onnx'", "--model"),
    ],
)
def test_wrong_usage_ends_with_2_in_three_parts_and_writes_nothing(
    arguments: str,
    what: str,
    mend: str,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*shlex.split(arguments.format(tiny=TINY, file=__file__)))
    assert (code, out) == (2, "")
    error, why, advice = err.splitlines()
    assert error.startswith("error: ")
    assert what in error
    assert why.startswith("why: ")
    assert advice.startswith("help: ")
    assert mend in advice
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_key_of_the_site_file_is_named(call: Call, tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_text("wrokers = 2\n", encoding="utf-8")
    code, _, err = call("scan", tmp_path, "--out", tmp_path / "out", "--config", config)
    assert code == 2
    assert "unknown key 'wrokers'" in err
    assert "help: did you mean 'workers'?" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train x --out y", "export x --data y --out z"])
def test_without_torch_a_command_says_which_extra(
    command: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the import system itself keeps for a module that must not be found.
    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = call(*command.split())
    assert code == 2
    assert "needs torch" in err
    assert "pip install '.[train]'" in err


def test_a_bug_is_named_by_its_place_without_the_words_of_the_exception(run_screener: Run) -> None:
    code = (
        "import sys, screener.cli as cli\n"
        "def broken(*a, **k): raise ValueError('SMITH^JOHN')\n"
        "import screener.settings; screener.settings.load_settings = broken\n"
        "sys.argv = ['screener', 'scan', 'x', '--out', 'y', *sys.argv[1:]]\n"
        "cli.main()\n"
    )
    quiet, loud = (
        subprocess.run(
            [sys.executable, "-c", code, *more], capture_output=True, text=True, check=False
        )
        for more in ([], ["--traceback"])
    )
    assert quiet.returncode == loud.returncode == 1
    assert quiet.stderr.startswith("error: a bug: ValueError in cli.py, line ")
    assert "SMITH" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_traceback_may_stand_anywhere(call: Call, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no such model"):
        call("model", "show", tmp_path / "none", "--traceback")


def test_control_characters_of_a_name_do_not_reach_the_terminal(call: Call) -> None:
    _, _, err = call("model", "show", "a\x1b[31m\nb")
    assert "\x1b" not in err
    assert err.count("\n") == 3
    assert printable("a\x1b\x07\u2028ü\udcff") == "a\\x1b\\x07\\u2028ü\\udcff"


def test_init_writes_a_site_file_that_is_read_and_overwrites_nothing(
    call: Call, tmp_path: Path
) -> None:
    config = tmp_path / "site.toml"
    code, out, _ = call("init", config, "--systemd", tmp_path / "systemd" / "units", "--publish")
    assert code == 0
    assert "systemctl" in out
    text = config.read_text(encoding="utf-8")
    keys = set(re.findall(r"^#(\w+) = ", text, flags=re.MULTILINE))
    assert {each.name for each in dataclasses.fields(Settings)} <= keys | set(
        re.findall(r"^\[(\w+)\]", text, flags=re.MULTILINE)
    )
    code, _, err = call("init", config)
    assert code == 2
    assert "is there already" in err
    assert config.read_text(encoding="utf-8") == text


def test_init_tries_what_the_night_will_need(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, report = tmp_path / "studies", tmp_path / "report"
    arguments = ("--studies", studies, "--out", report)
    code, out, _ = call("init", tmp_path / "first.toml", *arguments)
    assert code == 0
    assert re.search(rf"studies +fails +no folder {studies}", out)
    assert re.search(rf"output +fails +no folder {report}", out)
    assert f"help: output: install -d -o screener -m 700 {report}" in out
    studies.mkdir()
    report.mkdir()
    # Whoever has such an account may not look into the tester's folders.
    monkeypatch.setattr(setup_checks, "ACCOUNT", pwd.getpwuid(os.geteuid()).pw_name)
    code, out, _ = call("init", tmp_path / "second.toml", *arguments)
    assert re.search(rf"studies +works +{studies}", out)
    assert re.search(r"cron line +works", out)


def test_the_cron_line_of_init_does_what_it_says(call: Call, tmp_path: Path) -> None:
    """Run by the shell, as cron does, with odd folders; there is nothing to send."""
    studies = _folder(tmp_path).rename(tmp_path / "100% of 'the' $HOME films")
    report = tmp_path / "report"
    config = tmp_path / "site.toml"
    code, out, _ = call("init", config, "--studies", studies, "--out", report, "--publish")
    assert code == 0
    line = out.splitlines()[-1]
    schedule, command = line.split(" screener ", 1)
    assert schedule == "0 2 * * *"
    assert not re.search(r"(?<!\\)%", command)
    (tmp_path / "ris").mkdir()
    config.write_text(
        f'model = "{TINY}"\n[csv.ris]\nfolder = "ris"\nfile = "r{{run_id}}.csv"\n', "utf-8"
    )
    program = tmp_path / "screener"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m screener "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    for word in {each for each in command.split() if each.endswith("/screener")}:
        command = command.replace(word, str(program))
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("\\%", "%")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scanned, sent = done.stdout.splitlines()
    assert scanned.startswith("2 paths = ")
    assert sent.startswith("0 studies, 0 sent")


def test_init_fetches_before_and_sends_behind_the_scan(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("init", tmp_path / "site.toml", "--publish", "--pull")
    assert code == 0
    words = re.findall(r"/screener (pull|scan|publish) ", out.splitlines()[-1])
    assert words == ["pull", "scan", "publish"]


def test_every_line_that_init_writes_can_be_put_in_force(call: Call, tmp_path: Path) -> None:
    from screener.settings import load_settings

    config = tmp_path / "site.toml"
    call("init", config)
    text = re.sub(r"^#(\w+ = )", r"\1", config.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = text.replace('threshold_model_sha256 = ""', 'threshold_model_sha256 = "ab"')
    config.write_text(text, encoding="utf-8")
    given = {"model", "threshold", "threshold_model_sha256", "state", "log", "priority"}
    given |= {"csv", "dicomweb", "dimse", "model_public_key", "receiver", "worklist"}
    read, default = load_settings(config), Settings()
    for field in dataclasses.fields(Settings):
        if field.name not in given:
            assert getattr(read, field.name) == getattr(default, field.name)


def test_the_units_of_init_are_good_systemd(call: Call, tmp_path: Path) -> None:
    verify = "/usr/bin/systemd-analyze"
    if not Path(verify).exists():
        pytest.skip("systemd-analyze is not installed")
    call("init", tmp_path / "site.toml", "--systemd", tmp_path, "--publish", "--pull")
    names = ("screener.service", "screener-publish.service", "screener-pull.service")
    services = [tmp_path / name for name in names]
    for service in services:
        # The program need not be where this test runs.
        service.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", service.read_text()))
    drop_in = tmp_path / "screener.service.d" / "publish.conf"
    assert "OnSuccess=screener-publish.service" in drop_in.read_text()
    before = tmp_path / "screener.service.d" / "pull.conf"
    assert "After=screener-pull.service" in before.read_text()
    done = subprocess.run(
        [verify, "verify", *services, tmp_path / "screener.timer"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_model_show_and_verify_read_a_bundle(call: Call) -> None:
    code, out, _ = call("model", "show", TINY)
    assert code == 0
    assert "operating points per image:" in out
    assert "int8  " not in out
    assert str(shipped_file("int8")) in call("model", "show")[1]
    assert "operating points per study, measured alone: a scan judges by those per image:" in out
    code, out, _ = call("model", "verify", TINY)
    assert code == 0
    assert "passes" in out.splitlines()[-1]
    assert "fails" not in out


def test_a_model_that_was_changed_is_refused(call: Call, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    content = bytearray(TINY.read_bytes())
    content[len(content) // 3] ^= 0xFF
    broken.write_bytes(content)
    assert call("model", "verify", broken)[0] == 2


def _folder(tmp_path: Path) -> Path:
    studies = tmp_path / "studies"
    studies.mkdir()
    (studies / "notes.txt").write_text("no image", encoding="utf-8")
    (studies / "empty").touch()
    return studies


def test_a_scan_ends_with_one_line_that_adds_up(run_screener: Run, tmp_path: Path) -> None:
    studies = _folder(tmp_path)
    log = tmp_path / "log.jsonl"
    done = run_screener("scan", studies, "--out", "out", "--model", TINY, "--log", log)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("2 paths = 0 SCORED + 0 INELIGIBLE + 0 FAILED + 2 NOT_AN_IMAGE; ")
    assert last.endswith(str(tmp_path / "out" / "triage.csv"))
    assert "\x1b" not in done.stdout + done.stderr
    events = [json.loads(line) for line in log.read_text(encoding="ascii").splitlines()]
    assert events[0]["event"] == "scan_started"
    assert events[-1]["event"] == "scan_finished"
    assert events[-1]["exit_code"] == 0
    assert str(tmp_path) not in log.read_text(encoding="ascii")
    run = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert run["paths"] == 2


def test_quiet_prints_the_last_line_alone(run_screener: Run, tmp_path: Path) -> None:
    studies = _folder(tmp_path)
    done = run_screener("scan", studies, "--out", "out", "--model", TINY, "--quiet")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("scan", "none", "--out", "out"), 4, "no such file or folder"),
        (("scan", "hollow", "--out", "out"), 4, "hollow"),
        (("scan", "studies", "--out", "out", "--require-gpu"), 5, "a GPU is required"),
        (("scan", "studies", "--out", "studies/notes.txt/out"), 2, "a file has that name"),
        (("scan", "studies", "--out", "studies/notes.txt"), 2, "name a folder with --out"),
        (("scan", "studies", "--out", "out", "--model", "studies/notes.txt"), 2, "model"),
        (("scan", "studies", "--out", "out", "--operating-point", "n"), 2, "operating point"),
        (("scan", "studies", "--out", "out", "--since", "n"), 2, "no published run 'n'"),
        (("scan", "studies", "--out", "out", "--log", "none/log"), 2, "cannot be written"),
    ],
)
def test_each_way_to_fail_has_its_code(
    arguments: tuple[str, ...], code: int, what: str, run_screener: Run, tmp_path: Path
) -> None:
    _folder(tmp_path)
    (tmp_path / "hollow").mkdir()
    if "--model" not in arguments:
        arguments = (*arguments, "--model", str(TINY))
    if code == 5 and Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has a GPU")
    done = run_screener(*arguments)
    assert done.returncode == code, done.stderr
    assert what in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "triage.csv").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_scan_with_its_code_and_keeps_what_was_done(
    number: signal.Signals, run_screener: Run, tmp_path: Path
) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    for i in range(300):
        (studies / f"{i}.txt").write_text(str(i), encoding="ascii")
    command = [sys.executable, "-m", "screener", "scan", studies, "--out", tmp_path / "out"]
    with subprocess.Popen(
        [*map(str, command), "--model", str(TINY)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        state = tmp_path / "out" / "state.sqlite"
        deadline = time.monotonic() + 30
        while not state.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number, (out, err)
    assert "what was done is kept" in err
    again = run_screener("scan", studies, "--out", "out", "--model", TINY)
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1].startswith("300 paths = ")


FILMS = Path(__file__).parent.parent / "sample_data" / "studies"


def test_explain_tells_of_a_study_by_any_of_its_names(
    run_screener: Run, call: Call, tmp_path: Path
) -> None:
    done = run_screener("scan", FILMS, "--out", "out", "--model", TINY)
    assert done.returncode in {0, 3}, done.stderr
    out = tmp_path / "out"
    with (out / "triage.csv").open(encoding="utf-8", newline="") as stream:
        row = next(each for each in csv.DictReader(stream) if each["score"] and each["patient_id"])
    for name in ("study_instance_uid", "patient_id", "sop_instance_uid", "path", "study_key"):
        code, told, err = call("explain", out, row[name])
        assert code == 0, err
        assert row["study_key"] in told
        assert f"{row['triage']}: {row['reason']} ({row['reason_code']})" in told
        assert f"{float(row['score']):.4f} of {row['finding']}" in told
        assert "reported   as " + row["triage"] in told
    code, _, err = call("explain", out, "9.9.9")
    assert code == 2
    assert "no study '9.9.9'" in err


def test_explain_makes_no_state_where_there_is_none(call: Call, tmp_path: Path) -> None:
    code, _, err = call("explain", tmp_path, "1.2.3")
    assert code == 2
    assert "no state" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("scan", "studies", "--out", "out", "--model", TINY),
        ("scan", "studies", "--out", "out", "--model", TINY, "--quiet"),
        ("doctor", "--out", "out"),
        ("init", "site.toml"),
        ("purge", "--patient", "1", "--out", "out"),
    ],
)
def test_a_working_folder_that_is_gone_is_told(words: tuple[str, ...], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["/bin/sh", "-c", f"cd {shlex.quote(str(gone))} && rmdir ../gone; exec \"$@\"", "sh",
         sys.executable, "-m", "screener", *map(str, words)],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines() == [
        "error: the folder in which this was called is gone",
        "why: relative paths start there; nothing was done",
        "help: change to another folder, or give whole paths",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--threshold", ",05"), "'--threshold': Input should be a valid number, not ',05'"),
        (("--workers", "1.5"), "'--workers': Input should be a valid integer, not '1.5'"),
    ],
)
def test_a_bad_number_is_quoted(call: Call, words: tuple[str, str], told: str) -> None:
    code, _, err = call("scan", "x", "--out", "y", *words)
    assert (code, err.splitlines()[0]) == (2, f"error: screener scan: invalid value for {told}")


def test_explain_takes_a_path_as_the_report_shows_it(run_screener: Run, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "studies")
    os.mkdir(folder)
    shown = []
    for number, name in enumerate((b"lat\xe9n", b"two\nlines", b"back\\x41slash"), 1):
        with open(os.path.join(folder, name), "wb") as stream:
            stream.write(save(dataset(draw(number), number), tmp_path / "film").read_bytes())
    run_screener("scan", "studies", "--out", "out", "--model", TINY)
    with (tmp_path / "out" / "triage.csv").open(encoding="utf-8", newline="") as table:
        shown = [(row["path"], row["study_key"]) for row in csv.DictReader(table)]
    assert {os.path.basename(path) for path, _ in shown} == {
        r"lat\xe9n", r"two\x0alines", r"back\x5cx41slash",
    }  # fmt: skip
    for path, study_key in shown:
        done = run_screener("explain", "out", path)
        assert done.stdout.splitlines()[0] == f"Study {study_key}", done.stderr
