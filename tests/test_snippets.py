"""Every command and example of README and docs is run, or read by what reads it at a site."""

from __future__ import annotations

import configparser
import csv
import io
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from export.dataset import read_labels
from export.statements import STATEMENTS, read_statements
from screener.cli import app
from screener.settings import load_settings
from tests.films import TINY
from tests.snippets import LONG, NOT_RUN, ROOT, Block, Sandbox, all_blocks, read_blocks

BLOCKS = all_blocks()
# `text` is what the program prints or a drawing.
KINDS = {"sh", "cron", "ini", "toml", "csv", "python", "text"}


def of(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind in kinds]


def run_at(kind: str) -> list[object]:
    """The blocks of a kind that are executed, those of `LONG` marked so."""
    return [
        pytest.param(block, id=str(block), marks=[pytest.mark.long] if block.listed(LONG) else [])
        for block in of(kind)
        if block.listed(LONG) or not block.listed(NOT_RUN)
    ]


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def test_every_block_has_a_rule() -> None:
    assert len(BLOCKS) > 20
    assert {str(block): block.kind for block in BLOCKS if block.kind not in KINDS} == {}


def test_no_rule_is_left_over() -> None:
    for table in (NOT_RUN, LONG):
        for words in table:
            assert any(block.text.startswith(words) for block in BLOCKS), words


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_shell_has_no_slip(block: Block) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def _commands() -> list[str]:
    from docs.reference import commands

    made = read_blocks("reference/commands.md", commands())
    return sorted({line.strip() for block in [*BLOCKS, *made] for line in block.commands()})


@pytest.mark.parametrize("line", [line for line in _commands() if "OPTIONS]" not in line])
def test_commands_are_those_of_the_program(line: str) -> None:
    words = shlex.split(line.replace("2>&1", ""))[1:]
    command = get_command(app)
    with command.make_context("screener", list(words), resilient_parsing=False) as context:
        name, inner, rest = command.resolve_command(context, words)  # type: ignore[attr-defined]
        while hasattr(inner, "resolve_command"):
            name, inner, rest = inner.resolve_command(context, rest)
        assert inner is not None, name
        with inner.make_context(name, rest, parent=context):
            pass


@pytest.mark.parametrize("block", run_at("sh"))
def test_shell_blocks_run(block: Block, sandbox: Sandbox) -> None:
    text = block.text
    if "screener init" in text:
        (sandbox.folder / "etc" / "screener" / "site.toml").unlink()
    if "screener train" in text:
        sandbox.add_drawings()
    elif "films.csv" in text:
        sandbox.add_variants()
    elif "site.onnx" in text:
        shutil.copy(TINY, sandbox.folder / "work" / "site.onnx")
    if "/data/report" in text and "screener scan" not in text and "screener init" not in text:
        first = sandbox.run(
            "screener", "scan", *sandbox.here("/data/studies --out /data/report").split()
        )
        assert first.returncode == 0, first.stderr
    done = sandbox.run("bash", "-euo", "pipefail", "-c", sandbox.here(text), timeout_s=900)
    assert done.returncode == 0, done.stdout + done.stderr
    if "--out /data/report" in text:
        assert (sandbox.folder / "data" / "report").is_dir()
    if "screener scan" in text:
        assert (sandbox.folder / "data" / "report" / "run.json").is_file()


@pytest.mark.parametrize("block", of("cron"), ids=str)
def test_cron_lines_run(block: Block, sandbox: Sandbox) -> None:
    ranges = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    for line in block.text.splitlines():
        *times, account, command = line.split(maxsplit=6)
        assert re.fullmatch(r"[a-z_][a-z0-9_-]*", account), "a line of /etc/cron.d names an account"
        for field, (least, most) in zip(times, ranges, strict=True):
            assert field == "*" or all(
                least <= int(number) <= most for number in re.split(r"[,/-]", field.lstrip("*/"))
            ), field
        assert "%" not in command.replace(r"\%", ""), "cron takes it for a line break"
        done = sandbox.run("sh", "-c", sandbox.here(command))
        assert done.returncode == 0, done.stderr
        assert (sandbox.folder / "data" / "report" / "run.json").is_file()


@pytest.mark.parametrize("block", of("ini"), ids=str)
def test_systemd_units_are_verified(block: Block, sandbox: Sandbox) -> None:
    folder = sandbox.folder / "units"
    names = []
    for part in re.split(r"(?m)^(?=# /etc/systemd/system/)", block.text):
        if not part.strip():
            continue
        first, _, text = part.partition("\n")
        name = first.removeprefix("# /etc/systemd/system/")
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(text)
        assert set(parser.sections()) <= {"Unit", "Service", "Timer", "Install"}
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(sandbox.here(text), encoding="utf-8")
        if "/" not in name:
            names.append(name)
    for name in names:
        service = folder / f"{Path(name).stem}.service"
        if not service.exists():
            service.write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in names:
        done = sandbox.run("systemd-analyze", "verify", "--man=no", str(folder / name))
        said = [line for line in done.stderr.splitlines() if str(folder) in line or name in line]
        assert (done.returncode, said) == (0, []), done.stderr


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_toml_is_read_by_its_reader(block: Block, sandbox: Sandbox) -> None:
    file = sandbox.folder / "etc" / "screener" / "part.toml"
    # The group of the example need not exist here.
    file.write_text(sandbox.here(block.text).replace('"pacs-import"', '""'), encoding="utf-8")
    if set(tomllib.loads(block.text)) <= set(STATEMENTS):
        assert read_statements(file)
    else:
        load_settings(file)


@pytest.mark.parametrize("block", of("csv"), ids=str)
def test_csv_is_read_as_labelled_films(block: Block, sandbox: Sandbox) -> None:
    rows = list(csv.DictReader(io.StringIO(block.text)))
    film = next((ROOT / "sample_data" / "studies" / "CR1").rglob("*.dcm"), None) or next(
        each for each in (ROOT / "sample_data" / "studies" / "CR1").rglob("*") if each.is_file()
    )
    for i, row in enumerate(rows):
        place = sandbox.folder / row["file"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(film.read_bytes() + bytes(i))
    file = sandbox.folder / "films.csv"
    file.write_text(block.text, encoding="utf-8")
    images = read_labels(file)
    assert len(images) == len(rows)
    assert {image.positive for image in images} == {True, False}


@pytest.mark.parametrize("block", run_at("python"))
def test_python_blocks_run(block: Block, sandbox: Sandbox) -> None:
    done = sandbox.run(sys.executable, "-c", sandbox.here(block.text))
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert (sandbox.folder / "data" / "report" / "run.json").is_file()
