"""What is installed elsewhere: wheel and sdist, without a network, at once, at its lower bounds."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.snippets import ROOT, all_blocks

pytestmark = pytest.mark.long

LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv*",
    "__pycache__",
    "build",
    "dist",
    "runs",
    "demo-report",
    ".*_cache",
    ".hypothesis",
)
# The whole way and what depends on the libraries most; they need little besides pytest.
ON_LOWEST = (
    "test_scan", "test_cli", "test_golden", "test_classifier", "test_precision",
    "test_report_tables", "test_settings", "test_doctor", "test_identifiers", "test_calibrate",
    "test_metrics", "pacs/test_film", "pacs/test_transport",
)  # fmt: skip


def run(*command: str | Path, cwd: Path, timeout_s: float = 900) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as a clone has them."""
    folder = tmp_path_factory.mktemp("packaging") / "clone"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    return folder


@pytest.fixture(scope="module")
def installed(clone: Path) -> Path:
    """Installed as docs/install.md says for a machine without a network; the folder of its venv."""
    carried, hospital = (
        next(block.text for block in all_blocks() if words in block.text)
        for words in ("pip wheel --wheel-dir wheelhouse", "--no-index --find-links wheelhouse")
    )
    target = clone.parent / "hospital"
    target.mkdir()
    links = clone.parent / "bin"
    links.mkdir()
    (links / "python3").symlink_to(sys.executable)
    path = f'export PATH="{links}:$PATH"\n'
    run("bash", "-euc", path + carried, cwd=clone)
    (clone / "wheelhouse").rename(target / "wheelhouse")
    # No index, no proxy, no cache: what is not in the wheelhouse is not found.
    offline = "export PIP_CONFIG_FILE=/dev/null PIP_NO_CACHE_DIR=1\nunset PIP_FIND_LINKS\n"
    run("bash", "-euc", path + offline + hospital, cwd=target)
    return target / ".venv"


def test_wheel_and_sdist_hold_what_they_should(clone: Path) -> None:
    run(sys.executable, "-m", "build", "--outdir", "dist", cwd=clone)
    (wheel,) = (clone / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"screener/py.typed", "export/py.typed"} <= names
    assert any(name.startswith("screener/models/") and name.endswith(".onnx") for name in names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"screener", "export"}
    (sdist,) = (clone / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        inside = {name.partition("/")[2] for name in tar.getnames()}
    wanted = {
        "docs/install.md",
        "mkdocs.yml",
        "tests/test_packaging.py",
        "CITATION.cff",
        "Makefile",
    }
    assert wanted <= inside
    # The wheel of the sdist is the wheel of the clone.
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", "again", sdist, cwd=clone)
    (again,) = (clone / "again").glob("*.whl")
    with zipfile.ZipFile(again) as archive:
        assert set(archive.namelist()) == names


def test_it_works_without_a_network_and_without_torch(installed: Path, tmp_path: Path) -> None:
    python, program = installed / "bin" / "python", installed / "bin" / "screener"
    listed = run(python, "-m", "pip", "list", "--format", "freeze", cwd=tmp_path)
    assert "torch" not in {line.split("=")[0] for line in listed.splitlines()}
    assert run(program, "--version", cwd=tmp_path) == run(
        python, "-m", "screener", "--version", cwd=tmp_path
    )
    samples = ROOT / "sample_data" / "studies" / "CR1"
    run(program, "scan", samples, "--out", tmp_path / "report", cwd=tmp_path)
    assert (tmp_path / "report" / "run.json").is_file()


def test_help_answers_at_once(installed: Path, tmp_path: Path) -> None:
    program = installed / "bin" / "screener"
    took = []
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(program, "--help", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # Of the processor: what else the machine does is no part of it.
    print(f"\nscreener --help: {min(took):.2f} s")
    assert min(took) < 0.4


def test_every_lower_bound_is_one_that_works(clone: Path, tmp_path: Path) -> None:
    """The lowest versions that pyproject.toml allows, really installed, and the tests on them."""
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "--python", "3.11", "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    install = (uv, "pip", "install", "--python", python)
    run(*install, "--resolution", "lowest-direct", f"{clone}[evaluate,pacs,sign]", cwd=tmp_path)
    run(*install, "pytest", "hypothesis", "pydicom-data", cwd=tmp_path)
    code = (
        "from importlib.metadata import distributions\n"
        "for each in distributions(): print(f'{each.name}=={each.version}')"
    )
    found = {
        canonicalize_name(name): version
        for name, _, version in (
            line.partition("==") for line in run(python, "-c", code, cwd=tmp_path).splitlines()
        )
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["evaluate"], *extras["pacs"], *extras["sign"]]
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        (bound,) = requirement.specifier
        got = found[canonicalize_name(requirement.name)]
        assert bound.operator == ">="
        assert Requirement(f"x=={bound.version}").specifier.contains(got), (
            f"{requirement}: the lowest that can be installed is {got}"
        )
    files = [f"tests/{name}.py" for name in ON_LOWEST]
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, cwd=clone, timeout_s=1800)
