"""The site is built without a warning, its links lead somewhere, and it fetches nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from screener.cli import app
from screener.errors import UsageError
from screener.outcomes import REASONS, WARNINGS
from screener.report.columns import IMAGE, TRIAGE
from screener.settings import Settings

pytest.importorskip("material")

ROOT = Path(__file__).parent.parent
LOADING = {
    ("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"),
    ("object", "data"), ("embed", "src"), ("video", "src"), ("audio", "src"), ("use", "href"),
}  # fmt: skip


class Page(HTMLParser):
    """The links, ids and loaded things of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"id", "name"} and value:
                self.ids.add(value)
            if tag == "a" and name == "href" and value:
                self.links.add(value)
            if (tag, name) in LOADING and value:
                self.loaded.add(value)


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_every_link_leads_to_a_page_and_its_anchor(pages: dict[Path, Page]) -> None:
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                # One that leaves the site is only looked at: a test asks no foreign server.
                assert parts.scheme in {"https", "http", "mailto"}, (path, link)
                assert parts.netloc.count(".") or parts.path.count("@"), (path, link)
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), (path.name, link)
            if parts.fragment and target in pages:
                wanted = unquote(parts.fragment)
                assert wanted in pages[target].ids | {"__top"}, (path.name, link)
            checked += 1
    assert checked > 200


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for each in page.loaded:
            parts = urlsplit(each)
            assert not parts.netloc, (path, each)
            assert parts.scheme in {"", "data"}, (path, each)
        # Only the diagrams of mermaid would be fetched, and there are none.
        assert 'class="mermaid"' not in path.read_text(encoding="utf-8")
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", text), path
    names = {path.suffix for path in site.rglob("*") if path.is_file()}
    assert not names & {".py", ".pyc"}


def test_the_reference_names_all_that_there_is(site: Path) -> None:
    def text(name: str) -> str:
        return (site / name).read_text(encoding="utf-8")

    for column in (*TRIAGE, *IMAGE):
        assert f"<code>{column}</code>" in text("reference/columns.html")
    for code in (*REASONS, *WARNINGS):
        assert f"<code>{code}</code>" in text("reason-codes.html")
    for field in Settings.__dataclass_fields__:
        assert field in text("reference/site-file.html")
    commands = text("reference/commands.html")
    for info in app.registered_commands:
        assert info.callback is not None
        assert f">screener {info.callback.__name__.replace('_', '-')}<" in commands
    assert "--require-gpu" in commands
    assert f"<td>{UsageError.exit_code}</td>" in text("reference/exit-codes.html")


def test_a_broken_link_or_anchor_stops_the_build(tmp_path: Path) -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    kept = text[text.index("validation:") : text.index("nav:\n")]
    (tmp_path / "docs").mkdir()
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"site_name: x\nstrict: true\n{kept}", encoding="utf-8")
    page = tmp_path / "docs" / "index.md"
    for content, passes in (("# A\n[a](#a)", 1), ("[a](b.md)", 0), ("# A\n[a](#b)", 0)):
        page.write_text(content, encoding="utf-8")
        assert (build(config, tmp_path / "site").returncode == 0) == bool(passes), content
    shutil.rmtree(tmp_path / "site", ignore_errors=True)
