"""The card: what goes in comes out, and nothing that breaks the schema comes in."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from export.tiny import make_tiny
from screener.bundle import load_bundle
from screener.domain import OperatingPoint
from screener.errors import UsageError
from screener.model_card import (
    MAX_CARD_BYTES,
    ModelCard,
    SiteSample,
    read_card,
    write_card,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    path = tmp_path_factory.mktemp("card") / "tiny.onnx"
    path.write_bytes(make_tiny())
    return load_bundle(path).card


def test_a_card_survives_the_way_through_json(card: ModelCard) -> None:
    assert read_card(write_card(card).encode()) == card


def test_a_card_with_every_option_survives_too(card: ModelCard) -> None:
    site = OperatingPoint("site", "covid", 0.3, 0.97, 0.98, (0.9, 1.0), 0.9, (0.8, 0.95), "own")
    full = dataclasses.replace(
        card,
        age_range_years=None,
        operating_points=(*card.operating_points, site),
        site=SiteSample("site", card.graph_sha256, "0" * 64, 10, 5),
    )
    assert read_card(write_card(full).encode()) == full


def test_the_operating_point_of_a_name(card: ModelCard) -> None:
    assert card.operating_point("default", "covid").threshold == 0.5
    with pytest.raises(UsageError, match=r"'defualt'.*balanced, default"):
        card.operating_point("defualt", "covid")


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(card: dict[str, Any]) -> None:
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
        inner: Any = card
        for part in parents:
            inner = inner[part]
        inner[last] = value

    return change


def _drop(name: str) -> Callable[[dict[str, Any]], None]:
    def change(card: dict[str, Any]) -> None:
        del card[name]

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_set("mood", "good"), r"card\.mood: unknown"),
        (_set("novelty.mood", 1), r"card\.novelty\.mood: unknown"),
        (_drop("limits"), r"card\.limits: missing"),
        (_drop("acceptance"), r"card\.acceptance: missing"),
        (_set("name", 3), r"card\.name: 3 is no str"),
        (_set("name", "a\nb"), r"card\.name: text with control"),
        (_set("name", "\ud800"), r"card\.name: text with control"),
        (_set("precision", "fp4"), r"card\.precision: 'fp4'"),
        (_set("findings", "covid"), r"card\.findings: 'covid' is no list"),
        (_set("findings", []), r"card\.findings: empty"),
        (_set("findings", ["covid", "covid"]), r"card\.findings: .*twice"),
        (_set("calibration", []), r"card\.calibration: not one"),
        (_set("calibration.0.a", True), r"card\.calibration\[0\]\.a: True is no number"),
        (_set("calibration.0.a", 0), r"card\.calibration\[0\]\.a: not above 0"),
        (_set("calibration.0.a", 10**400), r"card\.calibration\[0\]\.a: not a finite"),
        (_set("calibration.0.b", None), r"card\.calibration\[0\]\.b: None is no number"),
        (_set("prevalence", [2]), r"card\.prevalence\[0\]: 2"),
        (_set("age_range_years", [18]), r"card\.age_range_years: 1 values, not 2"),
        (_set("age_range_years", [90, 18]), r"card\.age_range_years: not from"),
        (_set("operating_points.0.threshold", 1.5), r"operating_points\[0\]\.threshold: 1\.5"),
        (_set("operating_points.0.finding", "flu"), r"operating_points\[0\]\.finding: 'flu'"),
        (_set("operating_points.1.name", "default"), r"operating_points\[1\]\.name: .*twice"),
        (_set("study_operating_points", []), r"card\.study_operating_points: no operating"),
        (_set("novelty.limit", 2), r"card\.novelty\.limit"),
        (_set("novelty.auroc", {"ct": 7}), r"card\.novelty\.auroc\.ct: 7"),
        (_set("training_data.counts.train.images", 1.0), r"train\.images: 1\.0 is no int"),
        (_set("training_data.recipe", {"strength": True}), r"recipe\.strength: True is no"),
        (_set("schema_version", 2), r"card\.schema_version: 2"),
        (_set("limits", [["deep"]]), r"card\.limits\[0\]: \['deep'\] is no str"),
        (_set("preprocessing.version", 1.5), r"card\.preprocessing\.version: 1\.5"),
    ],
)
def test_a_broken_card_is_refused_by_the_name_of_its_field(
    card: ModelCard, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    value = json.loads(write_card(card))
    change(value)
    with pytest.raises(UsageError, match=named):
        read_card(json.dumps(value).encode())


def test_a_recipe_stands_in_the_card_and_older_cards_do_without(card: ModelCard) -> None:
    recipe: dict[str, str | int | float] = {
        "stages": "64:1:0.001:8",
        "strength": 0.5,
        "patience": 3,
    }
    told = dataclasses.replace(
        card, training_data=dataclasses.replace(card.training_data, recipe=recipe)
    )
    assert read_card(write_card(told).encode()) == told
    assert "recipe" not in json.loads(write_card(card))["training_data"]
    assert read_card(write_card(card).encode()).training_data.recipe is None


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", r"card: \[\] is no dict"),
        (b"null", "is no dict"),
        (b'{"name": "a", "name": "b"}', "name: stands there twice"),
        (b'{"parity": NaN}', "NaN is no number"),
        (b'{"parity": -Infinity}', "-Infinity is no number"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"name":' * 100 + b"1" + b"}" * 100, "nested deeper"),
        (b"1" * 10_000, "not JSON"),
        (b" " * (MAX_CARD_BYTES + 1), "bytes, more than"),
    ],
)
def test_hostile_json_is_refused(content: bytes, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        read_card(content)


def test_brackets_inside_text_are_no_nesting(card: ModelCard) -> None:
    odd = dataclasses.replace(card, intended_use='"[[[[[[[[[[[[[[[[[\\"{{{{{{{{{{{{{{{')
    assert read_card(write_card(odd).encode()) == odd


def test_an_infinite_number_is_refused(card: ModelCard) -> None:
    text = write_card(card).replace('"parity": 0.0', '"parity": 1e999')
    assert "1e999" in text
    with pytest.raises(UsageError, match=r"card\.parity: not a finite"):
        read_card(text.encode())


def test_a_card_that_could_not_be_read_is_not_written(card: ModelCard) -> None:
    with pytest.raises(UsageError, match=r"card\.name"):
        write_card(dataclasses.replace(card, name="a\x00b"))


def test_a_threshold_of_another_model_is_refused(card: ModelCard) -> None:
    foreign = SiteSample("site", "f" * 64, "0" * 64, 10, 5)
    with pytest.raises(UsageError, match="fitted to another model"):
        write_card(dataclasses.replace(card, site=foreign))
