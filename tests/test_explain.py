"""`screener explain`: one study in words and as a picture, of any model that the ledger knows."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from screener.errors import UsageError
from screener.explain import explain_study
from screener.explain_picture import SIDE, write_picture
from screener.report.pictures import COLOUR
from screener.screening import scan
from screener.settings import Settings
from tests.films import TINY, dataset, draw, night, save


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    studies = night(folder / "studies")
    # A second view of the first study: a wide film.
    wide = dataset(draw(9, severity=4)[:128], 9, StudyInstanceUID="2.25.2001", PatientID="T00001")
    save(wide, studies / "ward a" / "IM0009")
    save(dataset(draw(11), 11, PatientID="T00002"), studies / "other")
    scan([studies], folder / "out", Settings(model=TINY, workers=1, settle=0))
    return folder / "out"


@pytest.fixture
def out(scanned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scanned, tmp_path / "out"))


def test_a_second_path_of_one_film_is_told_as_a_copy(out: Path, tmp_path: Path) -> None:
    studies = night(tmp_path / "copied")
    source = studies / "ward a" / "IM0001"
    shutil.copy(source, source.with_name("IM0001 again"))
    scan([studies], tmp_path / "own", Settings(model=TINY, workers=1, settle=0))
    told = "\n".join(explain_study(tmp_path / "own", "2.25.2001"))
    assert told.count("  copy of    image 1\n") == 1
    assert told.index("Image 2 of 2") < told.index("copy of")
    assert "copy of" not in "\n".join(explain_study(out, "2.25.2001"))


def test_everything_that_decided_is_told(out: Path) -> None:
    told = "\n".join(explain_study(out, "2.25.2001"))
    for words in (
        "patient    T00001 Drawn^Number",
        "SCORE",
        "threshold",
        "operating point default",
        "SHA-256",
        "CPUExecutionProvider",
        "Image 2 of 2",
        "header     CR, PA, CHEST, MONOCHROME2, 256 x 256",
        "view from  ViewPosition",
        "age        66 years",
        "decoder    numpy",
        "VOI        NONE",
        "novelty",
        "where the score of",
    ):
        assert words in told, (words, told)


def test_a_study_that_was_not_screened_is_told_with_its_reason(out: Path) -> None:
    told = "\n".join(explain_study(out, "2.25.2005"))
    assert "NOT_SCREENED: an image could not be screened: the file ends too early" in told
    assert "outcome    FAILED: the file ends too early (TRUNCATED)" in told


def test_the_picture_shows_film_and_map(out: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    assert write_picture(path, out, "2.25.2001") == 2
    assert path.stat().st_mode & 0o777 == 0o600
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    # Two films of the longer side, each beside itself.
    assert pixels.shape[1] > 2 * SIDE
    first = pixels[34 : 34 + SIDE, 12 : 12 + SIDE]
    assert np.ptp(first, axis=2).max() == 0
    beside = pixels[34 : 34 + SIDE, 24 + SIDE : 24 + 2 * SIDE]
    coloured = np.ptp(beside, axis=2) > 60
    assert 0.02 < coloured.mean() < 0.8
    reddest = beside[coloured].mean(axis=0)
    assert reddest[0] > reddest[1] > reddest[2]
    assert COLOUR[0] > COLOUR[1] > COLOUR[2]


def test_what_cannot_be_drawn_is_refused_and_nothing_overwritten(out: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    for wanted, what in (("2.25.2005", "no picture is kept"), ("9.9.9", "no study '9.9.9'")):
        with pytest.raises(UsageError, match=what):
            write_picture(path, out, wanted)
        assert not path.exists()
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write_picture(path, out, "2.25.2001")
    assert path.read_text() == "mine"
    with pytest.raises(UsageError, match="cannot be written"):
        write_picture(tmp_path / "none" / "film.png", out, "2.25.2001")


def test_a_name_of_several_studies_is_told_in_words_but_not_drawn(
    out: Path, tmp_path: Path
) -> None:
    assert sum(line.startswith("Study ") for line in explain_study(out, "T00002")) == 2
    with pytest.raises(UsageError, match="names 2 studies"):
        write_picture(tmp_path / "film.png", out, "T00002")


def test_each_image_is_told_by_the_model_that_scored_it(out: Path, tmp_path: Path) -> None:
    """A study of an earlier model with two findings, of which the second has the higher score."""
    with closing(sqlite3.connect(out / "state.sqlite")) as db, db:
        sha256, points_id = db.execute("SELECT bundle_sha256, id FROM points").fetchone()
        content = db.execute("SELECT content FROM points").fetchone()[0]
        (point,) = json.loads(content)
        two = json.dumps([point | {"finding": "old"}, point | {"finding": "older"}])
        # A night of the present model came after it.
        db.execute("INSERT INTO points VALUES (?, ?, ?)", (points_id + 1, "present", content))
        db.execute(
            "INSERT INTO bundles VALUES ('present', 'present', '[\"covid\"]', '[0.2]')",
        )
        db.execute("UPDATE points SET content = ? WHERE id = ?", (two, points_id))
        db.execute('UPDATE bundles SET findings = \'["old", "older"]\' WHERE sha256 = ?', (sha256,))
        db.execute("UPDATE bundles SET prevalence = '[0.1, 0.1]' WHERE sha256 = ?", (sha256,))
        cam = np.zeros((2, 7, 7), "<f2")
        cam[1, 0, 0] = 1
        db.execute(
            "UPDATE scores SET scores = '[0.1, 0.8]', logits = '[-1.0, 1.0]', cam = ?",
            (cam.tobytes(),),
        )
    told = list(explain_study(out, "2.25.2002"))
    assert "  score      0.1000 of old (logit -1.000); 0.8000 of older (logit 1.000)" in told
    where = told.index("  where the score of older comes from, as the film hangs (@ most):")
    assert told[where + 1].startswith("    @@  ")
    assert write_picture(tmp_path / "film.png", out, "2.25.2002") == 1
