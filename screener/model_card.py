"""The model card: what a model is, was made from and was measured to give. Card <-> JSON.

The card stands in the ONNX file's own metadata, so it cannot be parted from the weights. It comes
from outside, so it is read strictly: the dataclasses below are the schema, and a key that is
unknown, missing or double, a value of another type, a number that is not finite, too much or too
deeply nested text are refused with the name of the field.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from screener.domain import OperatingPoint
from screener.errors import UsageError
from screener.preprocess import PREPROCESSING, SIZE
from screener.strict_json import OPTIONAL, InvalidValueError, quote, read_strictly

CARD_KEY = "screener.model_card"
SCHEMA_VERSION = 1
MAX_CARD_BYTES = 256 * 1024
INPUT = {
    "name": "pixels",
    "type": "float32",
    "shape": f"N,1,{SIZE},{SIZE}",
    "range": "0 to 1",
    "polarity": "MONOCHROME2, air dark",
}


@dataclass(frozen=True, slots=True)
class Calibration:
    """`score = sigmoid(a * logit + c)`, `logit = mean(cam) + b`, for one finding (Platt 1999)."""

    a: float
    b: float
    c: float


@dataclass(frozen=True, slots=True)
class SplitCount:
    """How many images one split held, and how many of them were positive."""

    images: int
    positive: int


@dataclass(frozen=True, slots=True)
class TrainingData:
    """`manifest_sha256` over names, labels and groups; the split is drawn from `seed`.

    `recipe`: how it was trained, as `screener train --set` takes it; cards of before have none.
    """

    manifest_sha256: str
    seed: int
    weights: str
    counts: dict[str, SplitCount]
    recipe: dict[str, str | int | float] | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True)
class Novelty:
    """How novelty was fitted and what it turns away; rates in [0, 1], 1.0 is the limit.

    The limit was set on the calibration split; the other rates are of the validation split, which
    had no part in it. `auroc`: for each kind of image that is no frontal chest radiograph, against
    the validation split.
    """

    method: str
    limit: float
    target_rejected: float
    calibration_rejected: float
    validation_rejected_positive: float
    validation_rejected_negative: float
    auroc: dict[str, float]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An int8 model against the float model that it was made from, on the calibration split."""

    float_sha256: str
    images: int
    auc_float: float
    auc_int8: float
    decisions_changed: float


@dataclass(frozen=True, slots=True)
class SiteSample:
    """A site's own labelled sample that an operating point was fitted on.

    `graph_sha256` is that of the model then: a threshold of another model is refused.
    `threshold_interval`: 95 %, from drawing the sample's groups again.
    """

    operating_point: str
    graph_sha256: str
    sample_sha256: str
    images: int
    positive: int
    threshold_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything that a user of the model must know.

    `operating_points` judge an image, `study_operating_points` a study by its highest image; a
    study is a `group` of the data. Sensitivity is end to end: a positive that novelty turns away
    counts as missed. `prevalence`: of each finding in the calibration split. `graph_sha256`: of
    the graph without this card. `parity`: largest score difference from PyTorch.
    """

    name: str
    precision: Literal["float", "int8"]
    findings: tuple[str, ...]
    calibration: tuple[Calibration, ...]
    operating_points: tuple[OperatingPoint, ...]
    study_operating_points: tuple[OperatingPoint, ...]
    prevalence: tuple[float, ...]
    age_range_years: tuple[float, float] | None
    novelty: Novelty
    training_data: TrainingData
    graph_sha256: str
    parity: float
    intended_use: str
    limits: tuple[str, ...]
    software_version: str
    acceptance: Acceptance | None = None
    site: SiteSample | None = None
    preprocessing: dict[str, str | int] = field(default_factory=lambda: dict(PREPROCESSING))
    input: dict[str, str] = field(default_factory=lambda: dict(INPUT))
    schema_version: int = SCHEMA_VERSION

    def operating_point(self, name: str, finding: str) -> OperatingPoint:
        """The image operating point of that name.

        Raises:
            UsageError: there is none.
        """
        for point in self.operating_points:
            if (point.name, point.finding) == (name, finding):
                return point
        names = ", ".join(sorted({point.name for point in self.operating_points}))
        raise UsageError(
            f"no operating point {name!r} for {finding!r}", f"the model has {names}", "name one"
        )


def write_card(card: ModelCard) -> str:
    """The card as JSON, keys in the order of the schema.

    Raises:
        UsageError: a value that `read_card` would refuse.
    """
    value = dataclasses.asdict(card)
    if card.training_data.recipe is None:
        del value["training_data"]["recipe"]
    text = json.dumps(value, allow_nan=True, ensure_ascii=True)
    read_card(text.encode())
    return text


def read_card(content: bytes) -> ModelCard:
    """Read and check a card.

    Args:
        content: UTF-8 JSON of at most 256 KB.

    Raises:
        UsageError: it breaks the schema; the message names the field.
    """
    try:
        card = read_strictly(ModelCard, content, "card", MAX_CARD_BYTES)
        _check(card)
    except InvalidValueError as error:
        raise UsageError(
            f"the model card is not valid: {error}",
            mend="use a model that `screener export` of this version wrote",
        ) from error
    return card


def _check(card: ModelCard) -> None:
    """What types cannot say: versions, counts, ranges, references."""
    if card.schema_version != SCHEMA_VERSION:
        _refuse("card.schema_version", f"{card.schema_version}, this program reads 1")
    if not card.findings or len(set(card.findings)) < len(card.findings):
        _refuse("card.findings", "empty or with a name twice")
    _check_findings(card)
    if card.novelty.limit != 1.0:
        _refuse("card.novelty.limit", "not 1.0")
    for kind, area in card.novelty.auroc.items():
        _check_share(area, f"card.novelty.auroc.{kind}")
    ages = card.age_range_years
    if ages is not None and not 0 <= ages[0] < ages[1]:
        _refuse("card.age_range_years", "not from a lower to a higher age")
    for level in ("operating_points", "study_operating_points"):
        _check_points(card, level)
    _check_site(card)


def _check_site(card: ModelCard) -> None:
    if card.site is None:
        return
    if card.site.graph_sha256 != card.graph_sha256:
        _refuse("card.site.graph_sha256", "the site's threshold was fitted to another model")
    for end in card.site.threshold_interval or ():
        _check_share(end, "card.site.threshold_interval")


def _check_findings(card: ModelCard) -> None:
    for name in ("calibration", "prevalence"):
        if len(getattr(card, name)) != len(card.findings):
            _refuse(f"card.{name}", f"not one for each of {len(card.findings)} findings")
    for i, calibration in enumerate(card.calibration):
        if calibration.a <= 0:
            _refuse(f"card.calibration[{i}].a", "not above 0: the score would fall with the logit")
    for i, share in enumerate(card.prevalence):
        _check_share(share, f"card.prevalence[{i}]")


def _check_points(card: ModelCard, level: str) -> None:
    seen = set()
    for i, point in enumerate(getattr(card, level)):
        path = f"card.{level}[{i}]"
        if point.finding not in card.findings:
            _refuse(f"{path}.finding", f"{quote(point.finding)} is no finding of this model")
        if (point.name, point.finding) in seen:
            _refuse(f"{path}.name", f"{quote(point.name)} stands there twice")
        seen.add((point.name, point.finding))
        for name in ("threshold", "target_sensitivity", "sensitivity", "specificity"):
            _check_share(getattr(point, name), f"{path}.{name}")
        for name in ("sensitivity_interval", "specificity_interval"):
            for end in getattr(point, name) or ():
                _check_share(end, f"{path}.{name}")
    missing = [f for f in card.findings if ("default", f) not in seen]
    if missing:
        _refuse(f"card.{level}", f"no operating point 'default' for {quote(missing[0])}")


def _check_share(value: float | None, path: str) -> None:
    if value is not None and not 0 <= value <= 1:
        _refuse(path, f"{value} is not between 0 and 1")


def _refuse(path: str, why: str) -> NoReturn:
    raise InvalidValueError(path, why)
