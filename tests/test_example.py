"""The example runs from a shell as it stands, and shows what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "morning.py"


def test_it_is_cut_into_cells() -> None:
    cells = EXAMPLE.read_text(encoding="utf-8").split("\n# %% ")
    assert len(cells) >= 4
    assert all(cell.partition("\n")[2].strip() for cell in cells)


def test_it_shows_table_and_picture_of_the_samples(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), str(ROOT / "sample_data" / "studies"), "out"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(tmp_path / "mpl")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("17 paths", "1 +FLAGGED", "FAILED +TRUNCATED", "NOT_AN_IMAGE +OTHER_KIND"):
        assert re.search(words, done.stdout), done.stdout
    with Image.open(tmp_path / "out-scores.png") as picture:
        assert len(picture.getcolors(1 << 20) or ()) > 20
