"""A night to publish: films of fictitious patients, scanned with the tiny bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from screener.screening import scan
from screener.settings import Settings
from tests.films import TINY, dataset, draw, save, save_png

NAMES = {
    11: (["ISO_IR 100"], "Müller^Jérôme"),
    12: (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    13: (["ISO_IR 127"], "قباني^لنزار"),
    14: (["ISO_IR 126"], "Διονυσιος^Νικος"),
    15: (["ISO_IR 192"], "Wang^XiaoDong=王^小東"),
    16: (None, "Plain^Name"),
}
"""Of the flagged studies, by number: character sets and name."""
NEGATIVE, LATERAL = 21, 22
CONFLICT = 31
FLAGGED = sorted(NAMES)


def positive() -> NDArray[np.uint16]:
    """A film that the tiny bundle scores above its threshold."""
    return draw(1)


def negative() -> NDArray[np.uint16]:
    """A film that it scores below."""
    return draw(2, severity=4)


def study_uid(number: int) -> str:
    return f"2.25.{2000 + number}"


def film(number: int, pixels: NDArray[np.uint16], **changes: Any) -> Any:
    """A film whose header has what a real one has."""
    values = {
        "StudyID": f"S{number}",
        "ReferringPhysicianName": "Referrer^Some",
        "StudyDescription": "Thorax",
        "Manufacturer": "Somebody",
        "PatientOrientation": ["L", "F"],
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "RescaleType": "US",
        "PixelSpacing": [0.2, 0.2],
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "InstanceNumber": 1,
        "SeriesNumber": 1,
    }
    return dataset(pixels, number, **(values | changes))


def films(folder: Path) -> Path:
    """Six flagged studies, a negative one, a lateral, a PNG and one of two patients."""
    for number, (sets, name) in NAMES.items():
        made = film(number, positive())
        if sets is not None:
            made.SpecificCharacterSet = sets
        made.PatientName = name
        save(made, folder / f"{number}")
    save(film(NEGATIVE, negative()), folder / "negative")
    save(film(LATERAL, negative(), ViewPosition="LL"), folder / "lateral")
    save_png(positive(), folder / "film.png")
    one, other = film(CONFLICT, positive()), film(CONFLICT, positive(), PatientID="SOMEBODY ELSE")
    other.SOPInstanceUID = "2.25.99999"
    save(one, folder / "conflict 1")
    save(other, folder / "conflict 2")
    return folder


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {"model": TINY, "settle": 0, "device": "cpu", "workers": 1}
    return Settings(**(values | changes))


def scanned(studies: Path, out: Path, **changes: Any) -> Path:
    scan([studies], out, settings(**changes))
    return out


def copied(night: Path, out: Path) -> Path:
    """The output folder of a scan for one test to work on."""
    shutil.copytree(night, out)
    return out
