"""Each item of both guidelines has an answer, and the site's own words come first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from export.answers import SUBJECTS
from export.checklist import CLAIM, TRIPOD_AI, items
from export.statements import STATEMENTS, read_statements
from screener.errors import UsageError

SHARE = {"value": 0.9, "low": 0.8, "high": 0.95}
FOUND: dict[str, Any] = {
    "finding": "covid",
    "software_version": "1",
    "model": {
        "kind": "onnx",
        "precision": "float",
        "sha256": "a" * 64,
        "provider": "CPU",
        "intended_use": "Research.",
        "age_range_years": [18, 120],
        "preprocessing": {"size": 224},
        "training_data_sha256": "b" * 64,
        "split_seed": 1,
        "site": None,
        "training": {"weights": "scratch", "counts": {"train": {"images": 9, "positive": 4}}},
        "novelty": {"method": "distance", "limit": 1.0},
    },
    "data": {"part": "test", "reason": "the test part", "part_sha256": "c" * 64},
    "counts": {"images": 5, "positive": 2, "negative": 3, "groups": 5, "scored": 4},
    "studies": {"count": 5, "positive": 2},
    "turned_away": {
        "positive": {"images": 2, "turned_away": 1},
        "negative": {"images": 3, "turned_away": 0},
    },
    "auc_end_to_end": SHARE,
    "operating_points": [
        {"name": "default", "threshold": 0.5, "sensitivity": SHARE, "specificity": None}
    ],
    "subgroups": {"sex": {}},
    "audit": {},
    "statements": {},
}


def test_every_item_stands_once_and_in_order() -> None:
    assert [number for number, _, _ in CLAIM] == [str(n) for n in range(1, 45)]
    numbers = [number for number, _, _ in TRIPOD_AI]
    assert len(set(numbers)) == len(numbers) == 52
    assert {int(number.rstrip("abcdefg")) for number in numbers} == set(range(1, 28))
    assert [int(number.rstrip("abcdefg")) for number in numbers] == sorted(
        int(number.rstrip("abcdefg")) for number in numbers
    )
    assert {subject for _, _, subject in (*CLAIM, *TRIPOD_AI)} == set(SUBJECTS)


@pytest.mark.parametrize("part", ["test", "all"])
def test_every_item_is_answered(part: str) -> None:
    found = json.loads(json.dumps(FOUND))
    found["data"]["part"] = part
    for item in (*items(found, CLAIM), *items(found, TRIPOD_AI)):
        assert item.answer.text.endswith((".", "radiographs")), item
        assert "None" not in item.answer.text.replace("None by design", ""), item


def test_recipe_and_thresholds_say_where_they_come_from() -> None:
    found = json.loads(json.dumps(FOUND))
    answers = {item.number: item.answer.text for item in items(found, TRIPOD_AI)}
    assert "default 0.5000, set on data that the card does not name" in answers["15"]
    assert answers["13"].startswith("Nothing was resampled")
    assert "positives of images: train 4 of 9" in answers["21"]
    found["model"]["training"]["recipe"] = {"balance": "upsample", "drop_path": 0.1}
    found["operating_points"][0]["stated_in_card"] = {"data": "calibration split, 9 images"}
    answers = {item.number: item.answer.text for item in items(found, TRIPOD_AI)}
    assert "default 0.5000, set on calibration split, 9 images" in answers["15"]
    assert "rare class was drawn as often" in answers["13"]
    assert "balance upsample; drop_path 0.1" in answers["12c"]


def test_a_checkpoint_and_bare_data_are_answered_too() -> None:
    found = json.loads(json.dumps(FOUND))
    found["model"] |= {"intended_use": "", "age_range_years": None, "preprocessing": {}}
    found["model"] |= {"training": {}, "novelty": None}
    found["subgroups"] = {}
    states = {item.topic: item.answer.state for item in items(found, CLAIM)}
    assert states["Initial parameters"] == "not known"
    assert states["Demographic and clinical characteristics, each part"] == "not known"


def test_what_only_the_site_knows_is_not_guessed() -> None:
    states = {item.number: item.answer.state for item in items(FOUND, TRIPOD_AI)}
    for number in ("3c", "5b", "6a", "6c", "8a", "17", "18a", "18b", "18d", "19"):
        assert states[number] == "not known", number


def test_statements_answer() -> None:
    found = FOUND | {"statements": {key: f"Said: {key}." for key in STATEMENTS}}
    said = [item.answer for item in (*items(found, CLAIM), *items(found, TRIPOD_AI))]
    texts = " ".join(answer.text for answer in said if answer.state == "stated by the site")
    for key in STATEMENTS:
        assert f"Said: {key}." in texts
    assert not any(answer.text.startswith("The site has not") for answer in said)


def test_reading_statements(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        'dates = "March \N{EN DASH} May"\nethics = """\nApproved.\n"""\nfunding = " "\n', "utf-8"
    )
    assert read_statements(file) == {"dates": "March \N{EN DASH} May", "ethics": "Approved."}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'etics = "x"', "unknown key 'etics'.*did you mean 'ethics'"),
        (b"dates = 2026", "'dates' in .* is no text"),
        (b"dates = ", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b'dates = "' + b"x" * 4001 + b'"', "at most 4000"),
        (b"#" * 200_001, "larger than"),
    ],
)
def test_bad_statements(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "site.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_statements(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_statements(tmp_path / "absent.toml")
