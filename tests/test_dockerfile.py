"""The Dockerfile: linted, harmless by default, and every RUN line run outside a container."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Every instruction, continued lines joined, comments left out."""
    lines = (line for line in TEXT.splitlines() if not line.startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(found[1], found[2].strip()) for found in re.finditer(r"(?m)^([A-Z]+)\s+(.*)$", joined)]


def last(name: str) -> str:
    return [value for each, value in instructions() if each == name][-1]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [hadolint, "--failure-threshold", "style", "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_it_is_slim_and_runs_as_no_root() -> None:
    assert all("-slim" in value for name, value in instructions() if name == "FROM")
    assert last("USER") == "10001"
    assert [name for name, _ in instructions()].index("USER") > 0
    assert json.loads(last("ENTRYPOINT")) == ["/opt/screener/bin/screener"]


def test_docs_mount_the_studies_read_only_and_take_the_network_away() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    for text in (page, TEXT):
        assert re.search(r"docker run .*--network none .*--read-only", text)
        assert ":/studies:ro" in text


def test_the_context_holds_what_is_copied_and_no_more() -> None:
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for name, value in instructions()
        if name == "COPY" and not value.startswith("--from")
        for word in value.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.long
def test_every_run_line_works_outside_a_container(tmp_path: Path) -> None:
    """Stages share one root here, a folder: `COPY --from` has nothing to do."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "opt").mkdir()
    for name in ("passwd", "group", "shadow", "login.defs"):
        shutil.copy(Path("/etc") / name, root / "etc" / name)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    environment |= {"PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    working, ran = root, 0
    for name, value in instructions():
        if name == "WORKDIR":
            working = root / value.lstrip("/")
            working.mkdir(parents=True, exist_ok=True)
        elif name == "COPY" and not value.startswith("--from"):
            *sources, target = value.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    ignore = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(ROOT / source, working / target, ignore=ignore)
                else:
                    shutil.copy(ROOT / source, working / target)
        elif name == "RUN":
            line = value.replace("/opt/", f"{root}/opt/")
            line = line.replace("useradd ", f"useradd --prefix {root} ")
            done = subprocess.run(
                ["sh", "-euc", line],
                cwd=working,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            ran += 1
    assert ran == TEXT.count("\nRUN ") > 1
    assert re.search(r"(?m)^screener:x:10001:", (root / "etc" / "passwd").read_text())
    assert "screener:x:10001" not in Path("/etc/passwd").read_text()
    # What the image then does, with its own environment and a home that cannot be written to.
    (tmp_path / "report").mkdir(mode=0o700)
    program = root / json.loads(last("ENTRYPOINT"))[0].lstrip("/")
    set_by_image = dict(each.split("=", 1) for each in last("ENV").split())
    done = subprocess.run(
        [program, "scan", ROOT / "sample_data" / "studies" / "CR1", "--out", tmp_path / "report"],
        env={"PATH": "/usr/bin:/bin", **set_by_image},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "run.json").is_file()
