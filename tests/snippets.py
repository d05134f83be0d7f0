"""Every fenced block of README and docs, and the sandbox in which a shell block is run as it is.

Absolute paths of the examples (`/data`, `/etc/screener`, ...) are led into the sandbox, and
`screener` is the program under test. A block is executed unless a table here says otherwise.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from tests.films import draw

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "sample_data" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
FOREIGN_PATHS = re.compile(
    r"(?<![\w./-])/(?=(?:data|etc/screener|opt/screener|var/lib|var/log/screener|tmp/screener)\b)"
)

NOT_RUN = {
    # First words of a block: why it is not executed. Its syntax and its screener commands are
    # checked all the same.
    "make demo": "installs everything: test_packaging.py installs, CI runs make test",
    "make test": "this is it",
    "useradd": "needs root and makes an account; the commands of screener in it are run elsewhere",
    "docker build": "needs a container engine; test_dockerfile.py runs every RUN line without one",
    "findscu": "needs a worklist server: tests/pacs/test_worklist.py asks one",
    "python3 -m venv": "downloads the dependencies: test_packaging.py does the same steps",
    ".venv/bin/pip": "downloads the dependencies: test_packaging.py does the same steps",
    "screener publish": "needs a PACS: tests/pacs publishes to real ones",
    "screener pull": "needs a PACS: tests/pacs/test_pull.py fetches from a real one",
    "screener verify-pacs": "needs a PACS: tests/pacs/test_verify.py tries a real one",
    "pip install '.[pacs]'": "needs a PACS: tests/pacs publishes to real ones",
}
LONG = {
    # First words of a block that is run with the long tests.
    "pip install '.[train]'": "trains",
    "screener train": "trains",
    "screener evaluate": "measures eighty films",
    "screener calibrate": "measures eighty films",
    "screener scan /data/studies --out /data/report --baseline": "another scan",
    "screener scan /data/studies --out /data/report --spreadsheet": "another scan",
    "screener scan /data/studies --out /data/report\n": "another scan",
    "test -n": "another scan",
    "screener explain": "another scan",
    "code=0": "another scan",
    "import pandas": "another scan",
}
INSTEAD = {
    # What is put in place of words that would take hours, and the lower target that the model of
    # such a trial can reach; all else is run as written.
    "screener calibrate MODEL.onnx": "screener calibrate MODEL.onnx --target-sensitivity 0.5",
    "screener train DATA": "screener train DATA --recipe smoke --length 5 --device cpu",
}


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its page, line, language and text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def kind(self) -> str:
        """Its language; one without is a cron line or shell."""
        if self.language:
            return self.language
        return "cron" if re.match(r"[\d*]+ [\d*]+ \S+ \S+ \S+ \w+ ", self.text) else "sh"

    def listed(self, table: dict[str, str]) -> str:
        """What a table says of it, by its first words."""
        return next((why for words, why in table.items() if self.text.startswith(words)), "")

    def commands(self) -> Iterator[str]:
        """The command lines of the program in it, continued lines joined."""
        text = self.text.replace("\\\n", " ")
        yield from re.findall(r"^(?:\S*/)?screener [^#|;\n]*", text, flags=re.MULTILINE)


def read_blocks(name: str, text: str) -> list[Block]:
    """Every fenced block of a page; an unclosed one is an error."""
    blocks, opened = [], None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"\s*```(\S*)", line)
        if fence is None:
            lines.append(line)
        elif opened is None:
            opened, lines = (number, fence[1]), []
        else:
            blocks.append(Block(name, opened[0], opened[1], "\n".join(lines) + "\n"))
            opened = None
    if opened is not None:
        raise ValueError(f"{name}: the block in line {opened[0]} has no end")
    return blocks


def all_blocks() -> list[Block]:
    """The blocks of all pages that are there."""
    return [
        block
        for page in PAGES
        if page.is_file()
        for block in read_blocks(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))
    ]


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


FILMS = 80
SPLITS = ("train", "train", "train", "validation", "calibration", "calibration", "test", "test")


def _write_films(folder: Path, draw_one: Callable[[int], Image.Image]) -> None:
    """A CSV of films, and a folder DATA of the same with their splits; each other one a positive.

    That is no finding: it is something that can be measured and learnt.
    """
    listed = ["file,label,group,ward"]
    manifest = ["file,label,split"]
    (folder / "films").mkdir()
    (folder / "DATA").mkdir()
    for i in range(1, FILMS + 1):
        label = "covid" if i % 2 else "normal"
        film = draw_one(i)
        for place in ("films", "DATA"):
            film.save(folder / place / f"{i:04}.png")
        ward = "icu" if i % 3 else "ambulatory"
        listed.append(f"films/{i:04}.png,{label},patient-{i},{ward}")
        manifest.append(f"{i:04}.png,{label},{SPLITS[i // 2 % len(SPLITS)]}")
    (folder / "films.csv").write_text("\n".join(listed) + "\n", encoding="utf-8")
    (folder / "DATA" / "manifest.csv").write_text("\n".join(manifest) + "\n", encoding="utf-8")


def _sample_film() -> Image.Image:
    with Image.open(ROOT / "sample_data" / "studies" / "exported film.png") as image:
        levels = np.asarray(image, dtype=np.float64)
    return Image.fromarray((levels / levels.max() * 255).astype(np.uint8)).resize((320, 320))


class Sandbox:
    """A folder that looks like the machine of the examples."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shim = f'#!/bin/sh\nexec "{sys.executable}" -m screener "$@"\n'
        for place in ("bin/screener", "work/.venv/bin/screener", "opt/screener/.venv/bin/screener"):
            _program(folder / place, shim)
        # The extras are installed where tests run; an unknown one is an error.
        _program(
            folder / "bin" / "pip", f'#!/bin/sh\nexec "{sys.executable}" -m tests.has_extras "$@"\n'
        )
        for place in ("etc/screener", "data/report", "var/log/screener", "var/lib/screener"):
            (folder / place).mkdir(parents=True, mode=0o700)
        samples = ROOT / "sample_data" / "studies"
        shutil.copytree(samples / "CR1", folder / "data" / "studies" / "CR1")
        (folder / "data" / "studies" / ".mounted").touch()
        (folder / "etc" / "screener" / "site.toml").write_text("workers = 1\n", encoding="utf-8")

    def add_variants(self) -> None:
        """Labelled variants of a sample film, which the shipped model takes for chests."""
        grey = _sample_film()

        def variant(i: int) -> Image.Image:
            light = 0.9 + 0.005 * i if i % 2 else 0.9 - 0.002 * i
            turned = grey.rotate(i % 7 - 3, fillcolor=0)
            return ImageEnhance.Brightness(turned).enhance(light)

        _write_films(self.folder / "work", variant)

    def add_drawings(self) -> None:
        """Labelled drawings that a model can be trained on: no two of them are near-duplicates."""
        _write_films(
            self.folder / "work",
            lambda i: Image.fromarray(draw(i, severity=-2.0 if i % 2 else 1.0, size=128)),
        )

    def here(self, text: str) -> str:
        """The text with the paths of the examples led into the sandbox."""
        for words, others in INSTEAD.items():
            text = text.replace(words, others)
        return FOREIGN_PATHS.sub(f"{self.folder}/", text)

    def run(self, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the working folder of the sandbox."""
        return subprocess.run(
            command,
            cwd=self.folder / "work",
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "HOME": str(self.folder),
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
