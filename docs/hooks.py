"""What MkDocs asks while it builds: pages made from the code, and the repository's own pages.

A page of `docs` may link to a file above it (`../CONTRIBUTING.md`) as GitHub shows it; in the site
that file is a page too, or the link leads to the repository.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parent.parent
# MkDocs is started from anywhere, and loads this file by its path.
sys.path.insert(0, str(ROOT))

from docs.reference import pages  # noqa: E402
from tests.readme_tables import tables  # noqa: E402

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ABOVE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "sample_data/README.md": "samples.md",
}


def on_config(config: Any) -> Any:
    """Give the security policy its place where the repository has one."""
    if (ROOT / "SECURITY.md").is_file():
        place = next(i for i, each in enumerate(config["nav"]) if "Security" in each)
        config["nav"].insert(place + 1, {"Security policy": ABOVE["SECURITY.md"]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file in `docs` holds."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    for source, path in ABOVE.items():
        if (ROOT / source).is_file():
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put tables where a page names one, and turn links to files above `docs`."""
    made = tables()
    markdown = re.sub(r"<!-- table: ([a-z ]+) -->", lambda found: made[found[1]], markdown)
    path = page.file.src_uri
    inverse = {target: source for source, target in ABOVE.items()}
    here = (ROOT / inverse[path]).parent if path in inverse else (ROOT / "docs" / path).parent

    def turn(found: re.Match[str]) -> str:
        words, link = found.groups()
        target, _, anchor = link.partition("#")
        full = (here / target).resolve()
        if not target or ":" in target or not full.exists():
            # One that is broken is left as it is: MkDocs says so.
            return found[0]
        inside = full.relative_to(ROOT).as_posix()
        anchor = f"#{anchor}" if anchor else ""
        if inside in ABOVE:
            up = "../" * path.count("/")
            return f"[{words}]({up}{ABOVE[inside]}{anchor})"
        if not inside.startswith("docs/"):
            return f"{words} (`{inside}` in the repository)"
        if path in inverse:
            return f"[{words}]({inside.removeprefix('docs/')}{anchor})"
        return found[0]

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", turn, markdown)
