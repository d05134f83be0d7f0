"""One study in words: what a radiologist asks the morning after, answered from the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screener import __version__
from screener.discovery import path_of_display
from screener.errors import UsageError
from screener.ledger import Ledger
from screener.ledger_errors import require_state
from screener.outcomes import REASONS, WARNINGS, ReasonCode, Warn
from screener.report.pictures import map_of
from screener.report.rows import shown_path
from screener.report.store import ReportStore
from screener.report.verdicts import Report, verdicts

if TYPE_CHECKING:
    from screener.report.pictures import Map

SHADES = " .:-=+*#%@"
MOST = 20
_NAMES = ("study_key", "study_instance_uid", "accession_number", "patient_id", "sop_instance_uid")


def explain_study(out: Path, wanted: str, state: Path | None = None) -> Iterator[str]:
    """Everything that is known of the studies that a name means, line by line.

    Args:
        out: The output folder of the scans.
        wanted: A StudyInstanceUID, accession number, patient id, SOPInstanceUID, study key or path.
        state: The ledger, where it is not in `out`.

    Raises:
        UsageError: no ledger there, or no such study in it.
        RunError: the ledger cannot be read.
    """
    with open_ledger(out, state) as ledger:
        examples = find_studies(ledger, wanted)
        for number, example in enumerate(examples[:MOST]):
            if number:
                yield ""
            yield from _study(ledger, example)
        if len(examples) > MOST:
            yield f"and {len(examples) - MOST} studies more"


def open_ledger(out: Path, state: Path | None) -> Ledger:
    """Open the ledger of an output folder; none is made where there is none.

    Raises:
        UsageError: no ledger there.
        RunError: it cannot be read.
    """
    path = state or out / "state.sqlite"
    require_state(path)
    return Ledger(path)


def find_studies(ledger: Ledger, wanted: str) -> list[bytes]:
    """A path of every study that is meant.

    Raises:
        UsageError: no such study.
    """
    condition = " OR ".join(f"{name} = ?" for name in _NAMES)
    # As it was typed, in whatever locale: a path may hold bytes that are no text.
    text = wanted.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    rows = ledger.db.execute(
        f"SELECT min(path) FROM images WHERE study_key != '' AND ({condition} OR path IN (?, ?))"
        " GROUP BY study_key ORDER BY study_key",
        (*[text] * len(_NAMES), *_paths_of(wanted)),
    )
    found = [row[0] for row in rows]
    if not found:
        raise UsageError(
            f"no study {wanted!r} in {str(ledger.path)!r}",
            mend="name it by UID, accession number, patient id, study key or path",
        )
    return found


def _paths_of(wanted: str) -> tuple[bytes, bytes]:
    """The path that a word is, and the one that it is in the words of `images.csv`."""
    path = os.fsencode(wanted)
    return os.path.abspath(path), os.path.abspath(path_of_display(path))


def _study(ledger: Ledger, example: bytes) -> Iterator[str]:
    store = ReportStore(ledger)
    report = report_of(ledger)
    images = list(store.study_rows([example]))
    for verdict in verdicts(store, iter(images), report):
        row = verdict.row
        yield f"Study {row['study_key']}"
        yield from _fields(
            ("patient", f"{row['patient_id']} {row['patient_name']}".strip()),
            ("born, sex", f"{row['patient_birth_date']} {row['patient_sex']}".strip()),
            ("accession", row["accession_number"]),
            ("taken", f"{row['study_date']} {row['study_time']}".strip()),
            ("triage", f"{row['triage']}: {row['reason']} ({row['reason_code']})"),
            ("score", _score(row)),
            ("model", _model(row)),
            ("warnings", _warnings(row["warnings"])),
            ("reported", _reported(store, row["study_key"], row["patient_key"])),
        )
    first: dict[str, int] = {}
    for number, image in enumerate(images, 1):
        yield f"Image {number} of {len(images)}: {shown_path(image['path'])}"
        same = first.setdefault(image["sha256"], number) if image["sha256"] else number
        yield from _fields(("copy of", f"image {same}" if same != number else ""))
        yield from _image(image, findings_of(report, image))


def report_of(ledger: Ledger) -> Report:
    """What the last run judged by; a study that it did not judge keeps the points of its time."""
    points = ledger.points()
    bundles = ledger.bundles()
    points_id = max(points)
    sha256, _ = points[points_id]
    return Report(
        run_id="",
        base_run=0,
        findings=tuple(json.loads(bundles[sha256]["findings"])),
        points_id=points_id,
        points=points,
        bundles=bundles,
        model=bundles[sha256]["name"],
        model_sha256=sha256,
        provider="",
        software_version=__version__,
        priorities={},
        baseline=False,
    )


def _model(row: Mapping[str, Any]) -> str:
    parts = (row["model"], f"SHA-256 {row['model_sha256'][:12]}", row["provider"])
    return ", ".join(part for part in parts if part)


def findings_of(report: Report, image: Mapping[str, Any]) -> list[str]:
    """The findings of the model that scored an image, in the order of its scores."""
    bundle = report.bundles.get(image["bundle_sha256"])
    found: list[str] = json.loads(bundle["findings"]) if bundle is not None else []
    return found


def _score(row: dict[str, object]) -> str:
    if row["score"] is None:
        return ""
    return (
        f"{row['score']:.4f} of {row['finding']}, threshold {row['threshold']:.4f} "
        f"(operating point {row['operating_point']}), on a scale of 0 to 1"
    )


def _reported(store: ReportStore, study_key: str, patient_key: str) -> str:
    last = store.last_reported(study_key, patient_key, 2**62)
    if last is None:
        return "never"
    priority = f"priority {last['priority']}" if last["priority"] else "no priority"
    return f"as {last['triage']}, {priority}, first in run {last['run']}"


def _image(image: Mapping[str, Any], findings: list[str]) -> Iterator[str]:
    code = image["reason_code"]
    outcome = image["outcome"]
    if code:
        outcome += f": {REASONS[ReasonCode(code)][1]} ({code})"
    size = f"{image['rows']} x {image['columns']}" if image["rows"] else ""
    header = [image["modality"], image["view_position"], image["body_part_examined"]]
    header += [image["anatomic_region"], image["photometric_interpretation"], size]
    age = image["age_years"]
    yield from _fields(
        ("outcome", outcome),
        ("detail", image["detail"]),
        ("file", "gone" if image["gone"] else ""),
        ("header", ", ".join(part for part in header if part)),
        ("view from", image["view_source"]),
        ("age", f"{int(age)} years" if isinstance(age, int | float) else ""),
        ("intent", image["presentation_intent"]),
        ("image UID", image["sop_instance_uid"] or ""),
        ("syntax", image["transfer_syntax_uid"] or ""),
        ("decoder", image["decoder"]),
        ("VOI", image["voi_source"]),
        ("halved", f"{image['levels_dropped']} times" if image["levels_dropped"] else ""),
        ("warnings", _warnings(image["warnings"])),
        ("SHA-256", image["sha256"]),
    )
    if image["scores"] is None:
        return
    scores, logits = json.loads(image["scores"]), json.loads(image["logits"])
    told = [
        f"{score:.4f} of {finding} (logit {logit:.3f})"
        for finding, score, logit in zip(findings, scores, logits, strict=True)
    ]
    yield from _fields(
        ("score", "; ".join(told)),
        ("novelty", f"{image['novelty']:.2f}; beyond 1.00 the model does not judge"),
        ("scored", f"{image['scored_at']} on {image['provider']}"),
    )
    finding = highest(findings, scores)
    cam = map_of(image["cam"], findings, finding)
    if cam is not None:
        yield f"  where the score of {finding} comes from, as the film hangs (@ most):"
        yield from _shaded(cam)


def highest(findings: list[str], scores: list[float]) -> str:
    """The finding with the highest score."""
    return max(zip(scores, findings, strict=True), default=(0.0, ""))[1]


def _shaded(cam: Map) -> Iterator[str]:
    """A class activation map, float32 (7, 7), as seven lines of text."""
    low, high = float(cam.min()), float(cam.max())
    scale = (len(SHADES) - 1) / (high - low) if high > low else 0.0
    for line in cam:
        yield "    " + "".join(SHADES[round((float(cell) - low) * scale)] * 2 for cell in line)


def _warnings(codes: str) -> str:
    return "; ".join(f"{WARNINGS[Warn(code)]} ({code})" for code in codes.split(";") if code)


def _fields(*fields: tuple[str, str]) -> Iterator[str]:
    for name, value in fields:
        if value:
            yield f"  {name:<10} {value}"
