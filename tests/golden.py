"""Reports without what differs from run to run, for golden files.

Remake them, after looking at every difference, with: python -m tests.golden
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path
from typing import Literal

from screener.screening import scan
from screener.settings import Settings

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "sample_data" / "studies"
TINY = ROOT / "tests" / "data" / "tiny.onnx"
EXPECTED = ROOT / "sample_data" / "expected"
GOLDEN = ROOT / "tests" / "golden"
TABLES = ("triage.csv", "images.csv")
DIFFERENT = frozenset({"run_id", "screened_at", "decode_ms", "decoder", "software_version"})


def report(out: Path, model: Path | None) -> None:
    """Scan the sample studies as the demo does."""
    precision: Literal["auto", "float"] = "auto" if model else "float"
    settings = Settings(model=model, settle=0, device="cpu", precision=precision)
    scan([STUDIES], out, settings)


def rows(table: Path) -> list[dict[str, str]]:
    """The rows of a report or golden file; paths below the sample data, the rest dropped."""
    with table.open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    return [
        {
            name: value.replace(str(ROOT) + "/", "")
            for name, value in row.items()
            if name not in DIFFERENT
        }
        for row in found
    ]


def write(table: list[dict[str, str]], path: Path) -> None:
    """Write a golden file."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, table[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def main() -> None:
    """Remake the golden files of both bundles."""
    for model, folder in ((None, EXPECTED), (TINY, GOLDEN)):
        with tempfile.TemporaryDirectory() as out:
            report(Path(out), model)
            for name in TABLES:
                write(rows(Path(out) / name), folder / name)


if __name__ == "__main__":
    sys.exit(main())
