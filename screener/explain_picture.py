"""The film of one study beside the map of where its score comes from, as one PNG.

Drawn from what the ledger keeps, so it can be made when the film itself is gone.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from screener.durable import write_file, writer_of
from screener.errors import UsageError
from screener.explain import find_studies, findings_of, highest, open_ledger, report_of
from screener.report.pictures import COLOUR, FAINTEST, map_of
from screener.report.store import ReportStore

if TYPE_CHECKING:
    from screener.report.pictures import Map

SIDE = 480
"""The longer side of a film in the picture."""
MOST = 8
_OPAQUE = 0.55
_GAP, _LINE = 12, 22
NOTICE = "screener: the film as the model saw it. NOT FOR DIAGNOSIS"


@dataclass(frozen=True, slots=True)
class ScoredFilm:
    """What is drawn of one image: its thumbnail, shape, map (7, 7), and the words below it."""

    thumbnail: bytes
    rows: int
    columns: int
    cam: Map
    words: str


def write_picture(path: Path, out: Path, wanted: str, state: Path | None = None) -> int:
    """Write the picture of a study.

    Args:
        path: The PNG; nothing is overwritten.
        out: The output folder of the scans.
        wanted: What names one study, as for `explain_study`.
        state: The ledger, where it is not in `out`.

    Returns:
        The number of images in the picture.

    Raises:
        UsageError: no such study, or several, or no picture of it is kept; the file is there or
            cannot be written.
        RunError: the ledger cannot be read.
    """
    with open_ledger(out, state) as ledger:
        examples = find_studies(ledger, wanted)
        if len(examples) > 1:
            raise UsageError(
                f"{wanted!r} names {len(examples)} studies",
                "a picture shows one",
                "name it by its StudyInstanceUID, which is printed without --picture",
            )
        report = report_of(ledger)
        store = ReportStore(ledger)
        images = list(store.study_rows(examples))
        thumbnails = store.thumbnails(images[0]["study_key"])
        films = [
            film
            for number, image in enumerate(images, 1)
            if (film := _film(image, thumbnails, findings_of(report, image), f"image {number}"))
        ]
    if not films:
        raise UsageError(
            f"no picture is kept of {wanted!r}",
            "nothing of it was scored, or it was not flagged and is older than 30 days",
        )
    try:
        write_file(path, writer_of(draw(films[:MOST])))
    except FileExistsError:
        raise UsageError(
            f"{str(path)!r} is there already", "nothing was written", "name another file"
        ) from None
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written", error.strerror or "") from None
    return len(films[:MOST])


def _film(
    image: Mapping[str, Any], thumbnails: Mapping[bytes, bytes], findings: list[str], name: str
) -> ScoredFilm | None:
    thumbnail = thumbnails.get(image["path"])
    if image["scores"] is None or thumbnail is None:
        return None
    scores = json.loads(image["scores"])
    finding = highest(findings, scores)
    cam = map_of(image["cam"], findings, finding)
    if cam is None:
        return None
    words = f"{name}: score {max(scores):.4f} of {finding}, novelty {image['novelty']:.2f}"
    return ScoredFilm(thumbnail, image["rows"], image["columns"], cam, words)


def draw(films: list[ScoredFilm]) -> bytes:
    """A line for each film: as it is, and with the map over it; a PNG."""
    lines = [_line(film) for film in films]
    width = max(line.width for line in lines) + 2 * _GAP
    height = sum(line.height + _LINE + _GAP for line in lines) + _LINE + 2 * _GAP
    sheet = Image.new("RGB", (width, height), (16, 20, 24))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    pen.text((_GAP, _GAP // 2), NOTICE, fill=(255, 143, 133), font=font)
    top = _LINE + _GAP
    for film, line in zip(films, lines, strict=True):
        sheet.paste(line, (_GAP, top))
        # The font draws ASCII.
        words = film.words.encode("ascii", "backslashreplace").decode()
        pen.text((_GAP, top + line.height + 3), words, fill=(232, 236, 239), font=font)
        top += line.height + _LINE + _GAP
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _line(film: ScoredFilm) -> Image.Image:
    longest = max(film.rows, film.columns) or 1
    size = tuple(max(round(SIDE * side / longest), 1) for side in (film.columns, film.rows))
    plain = Image.open(io.BytesIO(film.thumbnail)).convert("L")
    grown = plain.resize((size[0], size[1]), Image.Resampling.LANCZOS).convert("RGB")
    low, high = float(film.cam.min()), float(film.cam.max())
    share = Image.fromarray((film.cam - low) / ((high - low) or 1.0))
    heat = np.asarray(share.resize(grown.size, Image.Resampling.BICUBIC))
    opacity = np.clip((heat - FAINTEST) / (1 - FAINTEST), 0, 1) * _OPAQUE
    mask = Image.fromarray(np.rint(opacity * 255).astype(np.uint8))
    line = Image.new("RGB", (2 * grown.width + _GAP, grown.height), (16, 20, 24))
    line.paste(grown, (0, 0))
    coloured = Image.composite(Image.new("RGB", grown.size, COLOUR), grown, mask)
    line.paste(coloured, (grown.width + _GAP, 0))
    return line
