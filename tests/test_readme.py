"""What the README shows is what the program does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from screener.cli import app
from screener.errors import (
    GpuRequiredError,
    InterruptedRunError,
    LockedError,
    NothingToScreenError,
    RunError,
    UsageError,
)
from screener.settings import load_settings
from screener.site_template import cron_line, systemd_units
from tests.readme_tables import README, renewed

TEXT = README.read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_its_tables_are_those_of_the_code() -> None:
    assert renewed(TEXT) == TEXT, "run `python -m tests.readme_tables`"


def test_it_lists_the_exit_code_of_every_error() -> None:
    errors = (RunError, UsageError, NothingToScreenError, GpuRequiredError, LockedError)
    codes = {str(error.exit_code) for error in errors}
    codes |= {str(InterruptedRunError(number).exit_code) for number in (2, 15)}
    listed = set(re.findall(r"^\| ([\d, ]+) \|", TEXT, flags=re.MULTILINE))
    assert codes <= {code for each in listed for code in each.split(", ")}


def test_its_cron_line_and_units_are_those_of_init() -> None:
    cron = next(block for block in _blocks("") if block.startswith("0 2"))
    command = re.search(r"screener (/opt/.*?) \|\|", cron)
    assert command is not None
    assert cron.strip() == cron_line(command[1])
    units = systemd_units(command[1], Path("/data/studies"), Path("/data/report"))
    for block in _blocks("ini"):
        first, _, rest = block.partition("\n")
        unit = units[Path(first.removeprefix("# ")).name]
        wanted = [line for line in unit.splitlines() if not line.startswith("#")]
        assert rest.splitlines() == wanted


def test_its_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    assert {"docs/terminal.svg", "docs/report.png"} <= set(pictures)
    for picture in pictures:
        assert (README.parent / picture).stat().st_size < 300_000


def test_its_site_file_is_read(tmp_path: Path) -> None:
    (text,) = _blocks("toml")
    config = tmp_path / "site.toml"
    # The group of the example need not exist here.
    config.write_text(text.replace('"pacs-import"', '""'), encoding="utf-8")
    settings = load_settings(config)
    assert (settings.min_paths, settings.output.mode) == (1000, 0o640)


@pytest.mark.parametrize("line", re.findall(r"^(?:\S*/)?screener .*$", TEXT, flags=re.MULTILINE))
def test_its_commands_parse(line: str) -> None:
    words = shlex.split(line)[1:]
    command = get_command(app)
    with command.make_context("screener", words, resilient_parsing=False) as context:
        name, inner, rest = command.resolve_command(context, words)  # type: ignore[attr-defined]
        while hasattr(inner, "resolve_command"):
            name, inner, rest = inner.resolve_command(context, rest)
        assert inner is not None, name
        with inner.make_context(name, rest, parent=context):
            pass
