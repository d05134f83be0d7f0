"""The files of random nights: films of three studies, cut ones, pictures, texts."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from screener.screening import scan
from screener.settings import Settings
from tests.faults.model import Content
from tests.faults.nights import OLD
from tests.films import TINY, dataset, draw, save, save_png

# Name, number, seed and severity of the drawing, what the header says.
FILMS: tuple[tuple[str, int, int, float, dict[str, str]], ...] = (
    ("a1", 1, 1, 0, {}),
    ("a1 of another accession", 1, 1, 0, {"AccessionNumber": "A99"}),
    ("a1 of another patient", 1, 1, 0, {"PatientID": "P9"}),
    ("a1 with other pixels", 1, 3, 4, {}),
    ("a2", 2, 2, 4, {}),
    ("a3 lateral", 3, 4, 0, {"ViewPosition": "LL"}),
    ("b1", 11, 5, 0, {}),
    ("b2", 12, 6, 5, {}),
    ("b3 lateral", 13, 6, 5, {"ViewPosition": "LL"}),
    ("c1", 21, 7, 3, {}),
    ("c2", 22, 8, 0, {}),
)
CUT = ("a1", "b2", "c1")


def draw_contents(folder: Path) -> Iterator[Content]:
    """What may lie at a path, before it is known what becomes of it."""
    nobody = ("", "", "")
    for name, number, seed, severity, changes in FILMS:
        own = {"StudyInstanceUID": f"2.25.7{number // 10}", "PatientID": f"P{number // 10}"}
        film = dataset(draw(seed, severity=severity, size=160), number, **own | changes)
        data = save(film, folder / "film").read_bytes()
        identity = (str(film.AccessionNumber), str(film.PatientID), str(film.ViewPosition))
        pixels = f"{seed} {severity}"
        yield Content(name, data, "", identity[1], film.SOPInstanceUID, pixels, identity)
        for part in (2, 3) if name in CUT else ():
            cut = data[: len(data) // part]
            yield Content(f"{name} 1:{part}", cut, "", identity[1], "", pixels, identity)
    for seed, severity in ((31, 0.0), (32, 4.0)):
        data = save_png(draw(seed, severity=severity, size=160), folder / "film.png").read_bytes()
        yield Content(f"png {seed}", data, "", "", "", f"{seed} {severity}", nobody)
    yield Content("png 1:2", data[: len(data) // 2], "", "", "", "", nobody)
    for number in range(2):
        yield Content(f"text {number}", f"notes {number}\n".encode(), "", "", "", "", nobody)


def learn(folder: Path) -> list[Content]:
    """Contents, and what becomes of each where it lies alone."""
    films, out = folder / "films", folder / "out"
    films.mkdir()
    contents = list(draw_contents(folder))
    for number, content in enumerate(contents):
        (films / f"{number:02}").write_bytes(content.data)
        os.utime(films / f"{number:02}", (OLD, OLD))
    scan([films], out, Settings(model=TINY, workers=1, settle=0))
    with (out / "images.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    learnt = [
        replace(
            content,
            study="path" if row["study_key"].startswith("path:") else row["study_key"],
            sop=row["sop_instance_uid"],
            pixels=content.pixels if row["outcome"] == "SCORED" else "",
            outcome=row["outcome"],
            reason=row["reason_code"],
            score=float(row["score"] or 0),
            sha=sha256(content.data).hexdigest(),
        )
        for content, row in zip(contents, rows, strict=True)
    ]
    assert [each.sha for each in learnt] == [row["sha256"] for row in rows]
    assert {each.outcome for each in learnt} == {"SCORED", "INELIGIBLE", "FAILED", "NOT_AN_IMAGE"}
    return learnt
