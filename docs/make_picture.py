"""Draw the picture of the README from a report.

python docs/make_picture.py demo-report docs/report.svg
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pandas as pd
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.table import Table

COLUMNS = ("rank", "triage", "priority", "score", "patient_name", "modality", "reason")
COLOURS = {"FLAGGED": "bold red", "NOT_SCREENED": "yellow", "NOT_APPLICABLE": "dim"}


def draw(report: Path, picture: Path) -> None:
    """Draw the first rows of `triage.csv` and the counts of `run.json`.

    The picture names no font and no address: a viewer takes its own monospaced font.
    """
    run = json.loads((report / "run.json").read_text())
    table = pd.read_csv(report / "triage.csv", dtype=str, keep_default_na=False)
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in COLUMNS:
        shown.add_column(name, no_wrap=name != "reason")
    for row in table.to_dict("records"):
        shown.add_row(*(row[name] for name in COLUMNS), style=COLOURS.get(row["triage"], ""))
    console = Console(record=True, width=132, file=io.StringIO(), force_terminal=True)
    console.print("$ screener scan sample_data/studies --out demo-report", style="green")
    console.print("$ column -s, -t demo-report/triage.csv", style="green")
    console.print(shown)
    counts = ", ".join(f"{count} {name}" for name, count in run["triage"].items())
    console.print(f"\n{run['paths']} paths: {counts}")
    template = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    template = re.sub(r"<!--.*?-->", "", template)
    console.save_svg(str(picture), title="triage.csv", code_format=template)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
