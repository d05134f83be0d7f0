"""The model card: what a model is, was made from and was measured to give. Card <-> JSON.

The card stands in the ONNX file's own metadata, so it cannot be parted from the weights. It comes
from outside, so it is read strictly: the dataclasses below are the schema, and a key that is
unknown, missing or double, a value of another type, a number that is not finite, too much or too
deeply nested text are refused with the name of the field.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from screener.domain import OperatingPoint  # noqa: TC001 - the schema reads it
from screener.errors import UsageError
from screener.preprocess import PREPROCESSING, SIZE

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

CARD_KEY = "screener.model_card"
SCHEMA_VERSION = 1
MAX_CARD_BYTES = 256 * 1024
MAX_DEPTH = 12
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
    """`manifest_sha256` over names, labels and groups; the split is drawn from `seed`."""

    manifest_sha256: str
    seed: int
    weights: str
    counts: dict[str, SplitCount]


@dataclass(frozen=True, slots=True)
class Novelty:
    """How novelty was fitted and what it turned away; rates in [0, 1], 1.0 is the limit.

    `auroc`: for each kind of image that is no frontal chest radiograph, against the test split.
    """

    method: str
    limit: float
    target_rejected: float
    calibration_rejected: float
    test_rejected_positive: float
    test_rejected_negative: float
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
    """

    operating_point: str
    graph_sha256: str
    sample_sha256: str
    images: int
    positive: int


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
    text = json.dumps(dataclasses.asdict(card), allow_nan=True, ensure_ascii=True)
    read_card(text.encode())
    return text


def read_card(content: bytes) -> ModelCard:
    """Read and check a card.

    Args:
        content: UTF-8 JSON of at most 256 KB.

    Raises:
        UsageError: it breaks the schema; the message names the field.
    """
    if len(content) > MAX_CARD_BYTES:
        _refuse("card", f"{len(content)} bytes, more than {MAX_CARD_BYTES}")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        _refuse("card", "not UTF-8")
    _check_depth(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=lambda name: _refuse("card", f"{name} is no number"),
        )
    except ValueError as error:
        # Covers JSONDecodeError and integers of thousands of digits.
        raise _error("card", f"not JSON ({type(error).__name__})") from error
    card = typing.cast("ModelCard", _read(ModelCard, value, "card"))
    _check(card)
    return card


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the recursive parser sees it."""
    depth, quoted, escaped = 0, False, False
    for character in text:
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                _refuse("card", f"nested deeper than {MAX_DEPTH}")
        elif character in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        _refuse(next(name for name in names if names.count(name) > 1), "stands there twice")
    return found


def _read(kind: Any, value: Any, path: str) -> Any:  # noqa: PLR0911 - one for each type
    """Build a value of the annotated type `kind` out of parsed JSON."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, path)
    if origin is types.UnionType:
        return _read_union(arguments, value, path)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            _refuse(path, f"{_quote(value)} is none of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        items = _of_type(value, list, path)
        kinds = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(items):
            _refuse(path, f"{len(items)} values, not {len(kinds)}")
        pairs = enumerate(zip(kinds, items, strict=True))
        return tuple(_read(inner, item, f"{path}[{i}]") for i, (inner, item) in pairs)
    if origin is dict:
        items = _of_type(value, dict, path)
        return {
            _text(key, path): _read(arguments[1], item, f"{path}.{key}")
            for key, item in items.items()
        }
    if kind is float:
        return _number(value, path)
    return _text(_of_type(value, kind, path), path) if kind is str else _of_type(value, kind, path)


def _read_dataclass(kind: Any, value: Any, path: str) -> Any:
    items = _of_type(value, dict, path)
    hints = typing.get_type_hints(kind)
    for name in items:
        if name not in hints:
            _refuse(f"{path}.{name}", "unknown")
    for name in hints:
        if name not in items:
            _refuse(f"{path}.{name}", "missing")
    return kind(
        **{name: _read(hint, items[name], f"{path}.{name}") for name, hint in hints.items()}
    )


def _read_union(kinds: Iterable[Any], value: Any, path: str) -> Any:
    """A union is `X | None`, or of plain types that JSON tells apart."""
    kinds = list(kinds)
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    matching = [kind for kind in others if kind is type(value)]
    return _read((matching or others)[0], value, path)


def _of_type(value: Any, kind: type, path: str) -> Any:
    # Exact: True is an int to isinstance.
    if type(value) is not kind:
        _refuse(path, f"{_quote(value)} is no {kind.__name__}")
    return value


def _number(value: Any, path: str) -> float:
    if type(value) not in (int, float):
        _refuse(path, f"{_quote(value)} is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        _refuse(path, "not a finite number")
    return number


def _text(value: str, path: str) -> str:
    if any(character < " " or "\ud800" <= character <= "\udfff" for character in value):
        _refuse(path, "text with control characters")
    return value


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
    if card.site is not None and card.site.graph_sha256 != card.graph_sha256:
        _refuse("card.site.graph_sha256", "the site's threshold was fitted to another model")


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
            _refuse(f"{path}.finding", f"{_quote(point.finding)} is no finding of this model")
        if (point.name, point.finding) in seen:
            _refuse(f"{path}.name", f"{_quote(point.name)} stands there twice")
        seen.add((point.name, point.finding))
        for name in ("threshold", "target_sensitivity", "sensitivity", "specificity"):
            _check_share(getattr(point, name), f"{path}.{name}")
        for name in ("sensitivity_interval", "specificity_interval"):
            for end in getattr(point, name) or ():
                _check_share(end, f"{path}.{name}")
    missing = [f for f in card.findings if ("default", f) not in seen]
    if missing:
        _refuse(f"card.{level}", f"no operating point 'default' for {_quote(missing[0])}")


def _check_share(value: float | None, path: str) -> None:
    if value is not None and not 0 <= value <= 1:
        _refuse(path, f"{value} is not between 0 and 1")


def _quote(value: Any) -> str:
    return ascii(value)[:60]


def _error(path: str, why: str) -> UsageError:
    return UsageError(f"the model card is not valid: {ascii(path)[1:-1][:120]}: {why}")


def _refuse(path: str, why: str) -> NoReturn:
    raise _error(path, why)
