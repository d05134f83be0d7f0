"""Rows and facts for tests of `report.html`: an invented night of any size."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from screener.bundle import load_bundle
from screener.domain import Triage
from screener.examine import make_thumbnail
from screener.report.columns import TRIAGE
from screener.report.html import write_html
from screener.report.page import ReportFacts
from screener.report.pictures import Picture, picture_of
from tests.films import TINY

ROOT = Path(__file__).parent.parent
STARTED = "2026-11-26T02:00:00Z"
RUN = "20261126T020000Z-000001"
REASONS = {
    "FLAGGED": "SCORE_ABOVE_THRESHOLD",
    "NOT_SCREENED": "IMAGE_FAILED",
    "NOT_FLAGGED": "SCORES_BELOW_THRESHOLD",
    "NOT_APPLICABLE": "NO_CHEST_RADIOGRAPH",
}


def row(rank: int, triage: str = "FLAGGED", **changes: Any) -> dict[str, Any]:
    """A row as `triage.csv` has it."""
    bundle = load_bundle(TINY)
    scored = triage in {"FLAGGED", "NOT_FLAGGED"}
    made: dict[str, Any] = dict.fromkeys(TRIAGE, "") | {
        "rank": rank,
        "triage": triage,
        "priority": "HIGH" if triage == "FLAGGED" else "",
        "reason_code": REASONS[triage],
        "reason": f"reason of {triage}",
        "accession_number": f"S{2600000 + rank}",
        "study_instance_uid": f"2.25.{10**30 + rank}",
        "study_key": f"2.25.{10**30 + rank}",
        "patient_id": f"P{rank:05d}",
        "patient_name": f"Invented^Person {rank}",
        "patient_birth_date": "19600131",
        "patient_sex": "O",
        "study_date": "20261125",
        "study_time": f"{rank % 24:02d}1500",
        "modality": "DX",
        "view_position": "PA",
        "images": 1,
        "images_scored": int(scored),
        "images_gone": 0,
        "finding": bundle.card.findings[0] if scored else "",
        "score": max(round(0.9 - rank / 10_000, 4), 0.0) if scored else None,
        "logit": 1.5 if scored else None,
        "threshold": 0.5 if scored else None,
        "operating_point": "default" if scored else "",
        "novelty": 0.5 + (rank * 7 % 10) / 100 if scored else None,
        "model": bundle.name,
        "model_sha256": bundle.sha256,
        "provider": "CPUExecutionProvider",
        "institution_name": "No Such Hospital",
        "station_name": "ROOM 2",
        "path": f"/data/studies/2026/11/25/{rank:06d}/IM{rank:06d}.dcm",
        "is_new": True,
        "change": "NEW",
        "screened_at": STARTED,
    }
    assert changes.keys() <= made.keys()
    return made | changes


@functools.cache
def _film() -> NDArray[np.float32]:
    with Image.open(ROOT / "sample_data" / "studies" / "exported film.png") as image:
        values = np.asarray(image, np.float32)
    return (values - values.min()) / np.ptp(values)


@functools.cache
def thumbnail(seed: int) -> bytes:
    """A thumbnail of a part of a sample film: as many bytes as a film's has."""
    film = _film()
    rows, columns = (int(side * (0.7 + seed % 5 / 20)) for side in film.shape)
    part = Image.fromarray(film[:rows, -columns:]).resize((224, 224), Image.Resampling.BOX)
    return make_thumbnail(np.asarray(part))


def picture(finding: str, seed: int = 0, **changes: Any) -> Picture | None:
    """The picture of a drawn film with a map whose strongest cell is the seed's."""
    cam = np.zeros((1, 7, 7), "<f2")
    cam[0, seed % 7, seed // 7 % 7] = 1
    facts = {
        "thumbnail": thumbnail(seed % 16),
        "rows": 2400,
        "columns": 2000,
        "cam": cam.tobytes(),
        "findings": f'["{finding}"]',
    }
    return picture_of(facts | changes, finding)


def facts(rows: Iterable[Mapping[str, Any]], **changes: Any) -> ReportFacts:
    """The head of a page about these rows."""
    bundle = load_bundle(TINY)
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("triage", "reason_code", "change", "warnings")
    }
    studies = 0
    for each in rows:
        studies += 1
        for name, counter in counts.items():
            counter.update([code for code in each[name].split(";") if code])
    made: dict[str, Any] = {
        "run_id": RUN,
        "started_at": STARTED,
        "elapsed_s": 12.0,
        "software_version": "1.0",
        "provider": "CPUExecutionProvider",
        "identifiers": "full",
        "card": bundle.card,
        "model_sha256": bundle.sha256,
        "points": bundle.card.operating_points[:1],
        "outcomes": {"SCORED": {"": studies}},
        "triage": {triage.value: counts["triage"][triage.value] for triage in Triage},
        "reasons": counts["reason_code"],
        "warnings": counts["warnings"],
        "changes": counts["change"],
        "new_failures": 0,
    }
    return ReportFacts(**(made | changes))


def write_page(
    path: Path, rows: list[dict[str, Any]], *, pictures: bool = True, **changes: Any
) -> Path:
    """Write a page about these rows."""

    def studies() -> Iterator[tuple[dict[str, Any], Picture | None]]:
        for each in rows:
            shown = pictures and each["finding"]
            yield each, picture(each["finding"], each["rank"]) if shown else None

    with path.open("wb") as stream:
        assert write_html(stream, facts(rows, **changes), studies()) <= len(rows)
    return path
