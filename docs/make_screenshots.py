"""Make the pictures of the README: the report in a browser, and a scan in a terminal.

python -m docs.make_screenshots

Needs what the tests need. Scans the sample data as `make demo` does.
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from tests.browser import chromium
from tests.terminals import in_terminal

ROOT = Path(__file__).parent.parent
WINDOW = (1280, 1300)
COLUMNS = 118
_MOVEMENT = re.compile(r"\x1b\[[\d;?]*[A-HJKf-lsu]|\r")
_BAR = re.compile(r"^.*(walking|screening) .*/s.*$\n?", re.MULTILINE)


def take_report(page: Path, picture: Path) -> None:
    """The top of a report: the summary and the first studies of the worklist."""
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as browser:
        browser.view(*WINDOW)
        browser.open(page)
        shot = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
    shot.convert("RGB").save(picture, optimize=True)


def take_terminal(written: str, command: str, picture: Path) -> None:
    """What a scan wrote, without the bar that it wiped out.

    The picture names no font and no address: a viewer takes its own monospaced font.
    """
    text = _BAR.sub("", _MOVEMENT.sub("", written)).lstrip("\n")
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", style="green"))
    console.print(Text.from_ansi(text))
    template = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    template = re.sub(r"<!--.*?-->", "", template)
    console.save_svg(str(picture), title="screener", code_format=template, unique_id="scan")


def main() -> None:
    """Scan the sample data in a terminal and take both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "sample_data").symlink_to(ROOT / "sample_data")
        arguments = ("scan", "sample_data/studies", "--out", "demo-report", "--settle", "0")
        code, written = in_terminal(*arguments, cwd=place, columns=COLUMNS)
        if code not in (0, 3):
            raise SystemExit(written)
        shown = written.replace(f"{place.resolve()}/", "")
        take_terminal(shown, " ".join(("screener", *arguments)), ROOT / "docs" / "terminal.svg")
        take_report(place / "demo-report" / "report.html", ROOT / "docs" / "report.png")


if __name__ == "__main__":
    main()
