"""Measure a model on labelled radiographs: read as `scan` reads, score, count, draw, report.

Works for a bundle (no torch) and for a checkpoint alike. Every sensitivity is end to end: what
`scan` would not score is listed, and a positive among it is a miss.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from export.audit import audit, by_source
from export.dataset import SPLITS, LabelledImage, manifest_sha256, read_labels, split_images
from export.figures import Measured, figures
from export.models import ModelFacts, finding_of, open_model
from export.output import keep_apart, make_folder
from export.pixels import HEADER_COLUMNS, read_radiographs
from export.scoring import measure_images
from export.subgroups import columns_with_subgroups
from export.waiting import Site
from screener import __version__
from screener.classifier_providers import Device
from screener.domain import Rejection
from screener.durable import private_files
from screener.errors import UsageError
from screener.outcomes import Outcome

SCHEMA_VERSION = 1
SOURCE_COLUMN, HEADER_SOURCE = "source", "dicom_institution_name"
WORST = 12
NUMBERS = ("score", "log_odds", "novelty")
"""Of every image that could be read; `log_odds` are those of the score, not the raw logit."""


@dataclass(frozen=True, slots=True)
class Part:
    """The images that are measured, and why these."""

    name: str
    reason: str
    images: list[LabelledImage]
    sources_trained_on: Counter[str] | None


# Films and the names of their files lie in the folder: for no one but the account that measures.
@private_files()
def evaluate(
    model: Path | None,
    data: Path,
    out: Path,
    *,
    split: str | None = "test",
    group_by: Sequence[str] | None = None,
    site: Site | None = None,
    statements: Mapping[str, str] | None = None,
    films: bool = True,
    device: Device = "auto",
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure `model` on `data` and write metrics, predictions, plots and a report to `out`.

    Args:
        model: A bundle or checkpoint; None for the bundle that comes with the package.
        data: Labelled images, see `export.dataset`.
        out: A folder; made where it is missing.
        split: The part that is measured where `data` is what the model was trained on, None for
            all of it. Other data is measured whole.
        group_by: Columns of `data`, or of DICOM headers, whose values are measured apart; None for
            every column that divides the images into few parts.
        site: The reading room whose waiting times are reckoned; None for a usual one.
        statements: What only the site can say, see `export.statements`.
        films: Whether the report shows any.
        device: What runs the model.
        tell: Takes a line of progress now and then.

    Returns:
        What `metrics.json` holds.

    Raises:
        UsageError: no such model or data, bad data, an unknown split or column, nothing readable.
    """
    keep_apart(out, data)
    images = read_labels(data)
    opened = open_model(model, device)
    part = choose_part(images, opened.facts, split)
    _check_columns(part.images, group_by or ())
    tell(f"measuring {len(part.images)} images: {part.reason}")
    make_folder(out)
    measured = measure_images(opened, part.images, finding_of(opened.facts, part.images), tell)
    columns = columns_with_subgroups(measured.images) if group_by is None else group_by
    found: dict[str, Any] = plain(
        {
            **_all_figures(opened.facts, images, part, measured, columns, site or Site()),
            "statements": dict(statements or {}),
            "films": films,
        }
    )
    _write_predictions(out / "predictions.csv", measured, data if data.is_dir() else data.parent)
    _write_json(out / "metrics.json", found)
    _illustrate(out, measured, found)
    return found


def choose_part(images: Sequence[LabelledImage], facts: ModelFacts, split: str | None) -> Part:
    """The part of the data that may be measured: never what the model was trained on, unasked.

    Raises:
        UsageError: an unknown split.
    """
    if split is not None and split not in SPLITS:
        raise UsageError(f"no split {split!r}", mend=f"name one of {', '.join(SPLITS)}")
    if manifest_sha256(images) != facts.data_sha256:
        # A part of the training data, or a copy under other names, cannot be told from new films.
        reason = (
            "all of them: this is not the list that the model was trained on; whether the two have "
            "images in common is not known"
        )
        return Part("all", reason, list(images), None)
    parts = split_images(images, facts.seed)
    trained = Counter(image.columns.get(SOURCE_COLUMN, "") for image in parts["train"])
    if split is None:
        reason = "all of them, WITH those that the model was trained on: no measure of new images"
        return Part("all", reason, list(images), trained)
    reason = (
        f"the {split} part of the data that the model was trained on (groups apart, seed "
        f"{facts.seed})"
    )
    return Part(split, reason, parts[split], trained)


def _check_columns(images: Sequence[LabelledImage], wanted: Sequence[str]) -> None:
    known = {name for image in images for name in image.columns}
    for name in wanted:
        if name not in known and name not in HEADER_COLUMNS:
            raise UsageError(
                f"the data has no column {name!r}",
                f"its further columns are {', '.join(sorted(known)) or 'none'}; of DICOM files "
                f"{', '.join(HEADER_COLUMNS)}",
                "name one of them",
            )


def _all_figures(
    facts: ModelFacts,
    images: Sequence[LabelledImage],
    part: Part,
    measured: Measured,
    columns: Sequence[str],
    site: Site,
) -> dict[str, Any]:
    name = facts.findings[finding_of(facts, part.images)]
    points = [point for point in facts.operating_points if point.finding == name]
    study_points = [point for point in facts.study_operating_points if point.finding == name]
    read = measured.read
    audited = {key: values[read] for key, values in measured.variants.items()}
    found = {
        "schema_version": SCHEMA_VERSION,
        "measured_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "software_version": __version__,
        "finding": name,
        "model": _model_figures(facts),
        "data": {
            "sha256": manifest_sha256(images),
            "part": part.name,
            "reason": part.reason,
            "part_sha256": manifest_sha256(part.images),
        },
        **figures(measured, points, study_points, columns, site),
        "audit": audit(measured.logit[read], audited, measured.cam[read], measured.positive[read]),
    }
    for column, trained_on in ((SOURCE_COLUMN, part.sources_trained_on), (HEADER_SOURCE, None)):
        sources = [image.columns.get(column, "") for image in measured.images]
        if len(set(sources)) > 1:
            known = [name for name, here in zip(sources, read, strict=True) if here]
            found["audit"]["source_held_out"] = by_source(
                measured.logit[read], measured.positive[read], known, trained_on
            )
            break
    return found


def _model_figures(facts: ModelFacts) -> dict[str, Any]:
    card = facts.card
    return {
        "name": facts.name,
        "kind": facts.kind,
        "sha256": facts.sha256,
        "provider": facts.provider,
        "findings": facts.findings,
        "training_data_sha256": facts.data_sha256,
        "split_seed": facts.seed,
        "novelty_limit": facts.novelty_limit,
        "intended_use": card.intended_use if card else "",
        "limits": card.limits if card else (),
        "precision": card.precision if card else "",
        "age_range_years": facts.age_range,
        "preprocessing": card.preprocessing if card else {},
        "training": asdict(card.training_data) if card else {},
        "novelty": asdict(card.novelty) if card else None,
        "site": asdict(card.site) if card and card.site else None,
        "acceptance": asdict(card.acceptance) if card and card.acceptance else None,
    }


def plain(value: Any) -> Any:
    """What JSON can hold: dataclasses as objects, numbers to 6 decimals, no number as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _write_json(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _write_predictions(path: Path, measured: Measured, home: Path) -> None:
    """One row an image; where nothing was scored, why. `path` is as the list names it."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        names = ("number", "file", "label", "group", "outcome", "reason_code")
        writer.writerow((*names, *NUMBERS, "path"))
        for at, image in enumerate(measured.images):
            rejection = measured.rejections[at]
            numbers = (measured.probability[at], measured.logit[at], measured.novelty[at])
            writer.writerow(
                (
                    *(at, image.path.name, image.label, image.group),
                    Outcome.SCORED if rejection is None else rejection.outcome,
                    "" if rejection is None else rejection.code,
                    *("" if math.isnan(number) else f"{number:.4f}" for number in numbers),
                    # Each folder of an export may hold an IM000001.
                    image.path.relative_to(home) if home in image.path.parents else image.path,
                )
            )


def _illustrate(out: Path, measured: Measured, found: dict[str, Any]) -> None:
    """Plots, the worst errors with their maps, and the report around them."""
    from export.evaluation_report import write_report
    from export.film_plots import Case, worst_errors
    from export.plots import draw_plots

    points = found["operating_points"]
    threshold = points[0]["threshold"] if points else 0.5
    chosen = worst_errors(measured, threshold, WORST) if found["films"] else []
    if not found["films"]:
        measured = replace(measured, mean_films=None)
    cases = []
    for at, result in read_radiographs([measured.images[i] for i in chosen]):
        if not isinstance(result, Rejection):
            cases.append(Case.of(measured, chosen[at], result.pixels))
    cases.sort(key=lambda case: chosen.index(case.number))
    plots = draw_plots(out, measured, found, cases)
    write_report(out / "report.html", found, plots)
