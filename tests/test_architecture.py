"""The import rules of the design, read from the syntax trees, and what starting up loads."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = sorted((ROOT / "screener").rglob("*.py"))
ALL = [*PROGRAM, *sorted((ROOT / "export").rglob("*.py"))]

ONLY_IN = {
    # A module's name starts with one of these.
    "pydicom": ("screener.dicom", "screener.pacs."),
    "onnxruntime": ("screener.classifier", "export."),
    "torch": ("export.",),
    "torchvision": ("export.",),
    "matplotlib": ("export.",),
    "sklearn": ("export.",),
    "sqlite3": (
        "screener.ledger",
        "screener.report.images",
        "screener.report.paths",
        "screener.report.store",
        "screener.report.rows",
        "screener.report.sameness",
        "screener.report.verdicts",
        "screener.screening",
        "screener.purge",
        "screener.explain",
        "screener.pacs.queue",
        "screener.pacs.pull_state",
        "screener.report.page_guard",
    ),
    "pynetdicom": ("screener.pacs.",),
    "dicomweb_client": ("screener.pacs.",),
    "highdicom": ("screener.pacs.",),
    "requests": ("screener.pacs.",),
    "typer": ("screener.cli",),
    "rich": ("screener.console",),
}
PURE = (
    "domain",
    "outcomes",
    "errors",
    "eligibility",
    "triage",
    "rescan",
    "preprocess",
    "strict_json",
    "views",
)
PACS_DATA = ("screener.pacs.doors", "screener.pacs.site", "screener.pacs.source")
LONGEST = 400


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _imports(path: Path) -> tuple[tuple[str, int], ...]:
    """Every module that a file imports anywhere, also inside functions, with its line."""
    return tuple(_walk_imports(_tree(path)))


def _walk_imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _lines_for_types(path: Path) -> set[int]:
    """The lines under `if TYPE_CHECKING:`, which never run."""
    blocks = (
        node
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )
    return {line for block in blocks for line in range(block.lineno, (block.end_lineno or 0) + 1)}


def test_the_hospital_side_imports_what_makes_models_in_commands_alone() -> None:
    found = {
        _name(path)
        for path in PROGRAM
        for imported, _ in _imports(path)
        if imported.split(".")[0] == "export"
    }
    assert all(name.startswith("screener.cli") for name in found), found


def test_each_library_has_its_room() -> None:
    astray = [
        f"{_name(path)}, line {line}: {imported}"
        for path in ALL
        for imported, line in _imports(path)
        if not _name(path).startswith(ONLY_IN.get(imported.split(".")[0], ("",)))
    ]
    assert not astray


@pytest.mark.parametrize("name", PURE)
def test_what_decides_touches_no_file_process_or_network(name: str) -> None:
    impure = {"os", "io", "pathlib", "socket", "subprocess", "sqlite3", "tempfile", "time"}
    path = ROOT / f"screener/{name}.py"
    for_types = _lines_for_types(path)
    found = {each.split(".")[0] for each, line in _imports(path) if line not in for_types}
    assert not found & impure


def test_nothing_but_the_command_line_imports_the_command_line() -> None:
    for path in ALL:
        for imported, line in _imports(path):
            is_cli = imported.startswith(("screener.cli", "screener.console"))
            assert not is_cli or _name(path).startswith(
                ("screener.cli", "screener.__main__", "screener.console")
            ), f"{path}, line {line}"


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_one_boundary_catches_everything() -> None:
    broad = []
    for path in ALL:
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.ExceptHandler) or _raises_again(node):
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {each.id for each in caught if isinstance(each, ast.Name)}
            if node.type is None or names & {"Exception", "BaseException"}:
                broad.append(_name(path))
    # torch raises many unrelated types for a broken checkpoint, which is one file too; a bug in
    # drawing the page for eyes is told, and holds no worklist back.
    assert set(broad) <= {
        "screener.examine", "screener.report.page_guard", "export.initial_weights"
    }  # fmt: skip


def test_scan_has_no_way_to_the_network() -> None:
    talking = {"socket", "http", "urllib", "ssl", "ftplib", "smtplib", "requests", "httpx"}
    for path in PROGRAM:
        if _name(path) in {"screener.workers", "screener.worker_server", "screener.forkserver"}:
            # They talk over a socket pair, which has no address.
            continue
        if _name(path).startswith("screener.pacs."):
            continue
        found = {imported.split(".")[0] for imported, _ in _imports(path)}
        assert not found & talking, path


def test_only_commands_open_the_room_with_the_network() -> None:
    for path in PROGRAM:
        if _name(path).startswith(("screener.pacs", "screener.cli")):
            continue
        found = {name for name, _ in _imports(path) if name.startswith("screener.pacs.")}
        # The site file's sections, which are plain data.
        assert all(name.startswith(PACS_DATA) for name in found), path


def test_the_sections_of_the_doors_load_no_network() -> None:
    code = f"import sys, {', '.join(PACS_DATA)}; print(*{{'socket', 'ssl'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""


def test_a_module_has_a_docstring_and_one_subject() -> None:
    assert [_name(path) for path in ALL if not ast.get_docstring(_tree(path))] == []
    long = [_name(path) for path in ALL if len(path.read_text("utf-8").splitlines()) > LONGEST]
    assert long == []


def test_starting_the_command_line_loads_no_heavy_library() -> None:
    heavy = ("torch", "onnxruntime", "onnx", "pandas", "numpy", "pydicom", "PIL", "imagecodecs")
    code = f"import sys, screener.cli; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("package", ["screener", "export"])
def test_every_package_is_typed_and_says_so(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
