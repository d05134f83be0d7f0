"""What a repository owes those who come to it: how to cite, report and contribute, all valid."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from screener import __version__

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parent.parent
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


@pytest.mark.long
def test_the_citation_is_valid_by_its_schema() -> None:
    # In an environment of its own: the checker wants an older jsonschema than others do.
    uv = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    assert uv is not None
    done = subprocess.run(
        [uv, "tool", "run", "--isolated", "cffconvert", "--validate", "-i", "CITATION.cff"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "are valid according to schema version 1.2.0" in done.stdout


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_issue_forms_ask_for_no_patient_data(form: Path) -> None:
    content = read(form)
    assert {"name", "description", "body"} <= set(content)
    kinds = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    ids = [each["id"] for each in content["body"] if each["type"] != "markdown"]
    assert len(ids) == len(set(ids)) > 0
    for each in content["body"]:
        assert each["type"] in kinds
        assert ("value" if each["type"] == "markdown" else "label") in each["attributes"]
    first = content["body"][0]
    assert "Never attach patient data" in first["attributes"]["value"]


def test_the_bug_form_must_be_looked_through() -> None:
    body = read(ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml")["body"]
    (boxes,) = (each for each in body if each["type"] == "checkboxes")
    assert all(option["required"] for option in boxes["attributes"]["options"])


def test_the_hooks_are_local_and_run_what_make_test_runs() -> None:
    pre_commit = Path(sys.executable).with_name("pre-commit")
    if not pre_commit.exists():
        pytest.skip("pre-commit is not installed")
    config = ROOT / ".pre-commit-config.yaml"
    subprocess.run([pre_commit, "validate-config", config], check=True, capture_output=True)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for repository in read(config)["repos"]:
        assert repository["repo"] == "local", "another repository would be downloaded"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            tool = hook["entry"].split(" -m ")[1].split()[0]
            assert f"-m {tool}" in makefile


def test_the_changelog_has_a_part_for_what_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.count("\n## Unreleased\n") == 1
    assert "keepachangelog.com" in text


def test_contributing_shows_three_commands() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(text.split("```")[1].strip().splitlines()) == 3
