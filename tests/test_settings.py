"""The site file and the command line over it: what is read, what is refused and with what words."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from screener.domain import Limits, Triage
from screener.errors import UsageError
from screener.settings import Settings, load_settings

EVERYTHING = """
model = "models/site.onnx"
operating_point = "default"
device = "cpu"
precision = "int8"
workers = 3
state = "/var/lib/screener/state.sqlite"
only_new = true
settle = 60
fail_on = "any"
identifiers = "pseudonym"
log = "~/screener.log"
exclude = ["/archive/tmp", "/archive/.snapshots"]
keep_days = 30
min_paths = 1000
sentinel = ".mounted"

[rescreen]
days = 7

[limits]
wall_s = 20
pixels = 50_000_000

[output]
mode = 0o640

[priority]
FLAGGED = "STAT"
NOT_SCREENED = "MEDIUM"

[report]
columns = ["accession_number", "priority"]
words.priority = { HIGH = "1" }
delimiter = ";"
"""


def _site(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_value_arrives_with_its_type(tmp_path: Path) -> None:
    settings = load_settings(_site(tmp_path, EVERYTHING))
    assert settings.model == tmp_path / "models/site.onnx"
    assert settings.state == Path("/var/lib/screener/state.sqlite")
    assert settings.log == Path("~/screener.log").expanduser()
    assert settings.settle == 60.0
    assert isinstance(settings.settle, float)
    assert settings.exclude == (Path("/archive/tmp"), Path("/archive/.snapshots"))
    assert settings.rescreen.days == 7
    assert settings.limits == dataclasses.replace(Limits(), wall_s=20.0, pixels=50_000_000)
    assert settings.output.mode == 0o640
    assert settings.priority == {Triage.FLAGGED: "STAT", Triage.NOT_SCREENED: "MEDIUM"}
    assert settings.report.columns == ("accession_number", "priority")
    assert settings.report.words == {"priority": {"HIGH": "1"}}
    assert settings.report.delimiter == ";"


def test_no_site_file_gives_the_documented_defaults() -> None:
    settings = load_settings()
    assert settings == Settings()
    assert (settings.keep_days, settings.rescreen.days, settings.settle) == (90, 2, 300.0)
    assert (settings.fail_on, settings.identifiers, settings.device) == ("new", "full", "auto")


def test_the_command_line_wins(tmp_path: Path) -> None:
    config = _site(tmp_path, 'device = "cuda"\nworkers = 3\nrequire_gpu = true\n')
    overrides = {"device": "cpu", "require_gpu": False, "workers": None}
    settings = load_settings(config, overrides)
    assert (settings.device, settings.require_gpu, settings.workers) == ("cpu", False, 3)


@pytest.mark.parametrize(
    ("site", "override", "point", "threshold"),
    [
        ('operating_point = "default"', {"threshold": 0.4}, "", 0.4),
        (
            'threshold = 0.3\nthreshold_model_sha256 = "ab"',
            {"operating_point": "default"},
            "default",
            None,
        ),
        ('threshold = 0.3\nthreshold_model_sha256 = "ab"', {"threshold": 0.5}, "", 0.5),
    ],
)
def test_the_threshold_of_the_command_line_replaces_the_sites(
    tmp_path: Path, site: str, override: dict[str, object], point: str, threshold: float | None
) -> None:
    settings = load_settings(_site(tmp_path, site), override)
    assert (settings.operating_point, settings.threshold) == (point, threshold)
    # One given by hand stands beside no model.
    assert settings.threshold_model_sha256 == ""


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("wrokers = 3", "unknown key 'wrokers'", "did you mean 'workers'?"),
        ("operating-point = 'x'", "unknown key 'operating-point'", "'operating_point'"),
        ("[rescren]\ndays = 1", "unknown key 'rescren'", "did you mean 'rescreen'?"),
        ("[limits]\nwalls = 1", "unknown key 'walls' in [limits]", "did you mean 'wall_s'?"),
        ("wall_s = 1", "unknown key 'wall_s'", "it belongs under [limits]"),
        ("[limits]\nworkers = 1", "unknown key 'workers' in [limits]", "above the first [section]"),
        ("zzzzzzz = 1", "unknown key 'zzzzzzz'", "known are"),
        ("workers = 'three'", "workers = 'three' is text", "must be a whole number"),
        ("workers = 2.5", "workers = 2.5 is a number", "must be a whole number"),
        ("workers = true", "workers = true is a truth value", "must be a whole number"),
        ("workers = -1", "workers = -1 is less than 0", ""),
        ("settle = nan", "settle = nan", "must be a finite number; nothing was written mend"),
        ("min_paths = -1", "is less than 0", "nothing was written give at least 0"),
        ("workers = 9999", "is more than 1024", "nothing was written give at most 1024"),
        ("rescan = 1", "rescan = 1 is a whole number", "must be true or false"),
        ("device = 'gpu'", "device = 'gpu'", "must be one of auto, cpu, cuda, tensorrt"),
        ("device = 'CUDA'", "device = 'CUDA'", "did you mean 'cuda'?"),
        ("exclude = '/tmp'", "exclude = '/tmp' is text", "must be a list in square brackets"),
        ("exclude = [1]", "exclude = 1 is a whole number", "must be a path in quotes"),
        ("model = 1979-05-27", "is a date or time", "must be a path in quotes"),
        ("limits = 3", "limits = 3 is a whole number", "must be a table"),
        ("[limits]\npixels = 0", "pixels = 0 is less than 1", ""),
        ("[rescreen]\ndays = -1", "days = -1 is less than 0", ""),
        ("[priority]\nFLAGED = 'STAT'", "[priority] key = 'FLAGED'", "did you mean 'FLAGGED'?"),
        ("[priority]\nNOT_FLAGGED = 'LOW'", "[priority] maps 'NOT_FLAGGED'", "may be raised"),
        ("[priority]\nFLAGGED = 'an endless priority'", "an endless priority", ""),
        ("[output]\nmode = 0o666", "mode = 0o666 is no mode", "use 0o640"),
        ("[output]\nmode = 640", "mode = 640 is no mode", "use 0o640"),
        ("[output]\nmode = 750", "mode = 750 is no mode", "use 0o750"),
        ("[output]\nmode = 0o040", "mode = 0o40 is no mode", "the owner must read"),
        ("[output]\ngroup = 'no such group'", "'no such group' does not exist", "groupadd"),
        ("[report]\ndelimiter = ', '", "[report] delimiter ', ' is not one character", ""),
        ("[report]\nencoding = 'latin-0'", "[report] encoding 'latin-0'", ""),
        ("[report]\nwords = { priority = 'x' }", "words] priority = 'x' is text", "a table"),
        ("threshold = 1.5", "threshold = 1.5 is not between 0 and 1", "calibrated score"),
        ("threshold = 0.5", "threshold = 0.5 without threshold_model_sha256", "model show"),
        ("threshold = 0.5\noperating_point = 'default'", "both an operating point", "leave one"),
        ("require_gpu = true\ndevice = 'cpu'", "a GPU is required", "leave one"),
        ("workers = \nsettle = 1", "is no TOML", "line 1"),
        ("a = 1\na = 2", "is no TOML", "nothing was written mend that line"),
        ('exclude = ["a\\u0000b"]', "holds a character that no name has", "mend that line"),
        ("min_pathz = 3", "unknown key 'min_pathz'", "nothing was written did you mean"),
    ],
)
def test_a_mistake_is_told_with_the_bad_value_and_the_mend(
    tmp_path: Path, text: str, what: str, hint: str
) -> None:
    config = _site(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_settings(config)
    assert what in caught.value.what
    assert hint in str(caught.value)
    assert str(config) in caught.value.what
    assert caught.value.exit_code == 2


def test_an_unreadable_site_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8"):
        load_settings(binary)


def test_what_is_excluded_is_looked_for_beside_the_site_file(tmp_path: Path) -> None:
    config = _site(tmp_path, 'exclude = ["attic", "/data/lost+found"]')
    assert load_settings(config).exclude == (config.parent / "attic", Path("/data/lost+found"))


def test_relative_paths_start_at_the_site_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _site(tmp_path, 'log = "logs/night.jsonl"')
    monkeypatch.chdir("/")
    relative = Path(os.path.relpath(config, "/"))
    assert load_settings(relative).log == relative.parent / "logs/night.jsonl"


@pytest.mark.parametrize(
    "text",
    [
        "keep_days = 1000000",
        "[rescreen]\ndays = 1000000",
        "[limits]\nwall_s = 1e300",
        "[limits]\nmemory_bytes = 99999999999999999999",
    ],
)
def test_numbers_that_would_overflow_in_the_night_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(UsageError, match="is more than"):
        load_settings(tmp_path / "site.toml")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "large", "deep"])
def test_a_site_file_that_is_none_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("#" * (1 << 21) if kind == "large" else "workers = " + "[" * 5000)
    with pytest.raises(UsageError, match=r"no regular file|larger than|nested too deeply"):
        load_settings(path)


def test_a_byte_order_mark_before_a_site_file_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(b"\xef\xbb\xbfmin_paths = 7\r\n")
    assert load_settings(path).min_paths == 7
