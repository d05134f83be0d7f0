"""A site's threshold: fitted end to end, with an interval, saved with the sample's hash."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.calibrate import calibrate, fit, sample_sha256
from export.dataset import LabelledImage, manifest_sha256, read_labels, split_images
from export.figures import Measured
from export.output import write_model
from screener.bundle import load_bundle, with_card
from screener.domain import Rejection
from screener.errors import UsageError
from screener.model_card import TrainingData, write_card
from screener.outcomes import ReasonCode
from tests.films import TINY, draw, save_png

CARD = load_bundle(TINY).card


def measured(scores: list[float], positive: list[bool], groups: list[str]) -> Measured:
    """A sample whose scores are given; -1 was turned away."""
    n, score = len(scores), np.array(scores)
    away = Rejection(ReasonCode.NOVEL)
    return Measured(
        [
            LabelledImage(TINY, "covid" if p else "normal", g)
            for p, g in zip(positive, groups, strict=True)
        ],
        np.array(positive),
        score,
        score,
        score,
        np.zeros(n),
        np.zeros((n, 7, 7), np.float32),
        [away if s < 0 else None for s in scores],
        {},
    )


def test_threshold_by_hand() -> None:
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.55, 0.2, 0.1]
    positive = [True] * 5 + [False] * 3
    found = fit(measured(scores, positive, list("abcdefgh")), CARD, "covid", "site", 0.8)
    assert found.point.threshold == 0.6
    assert (found.point.sensitivity, found.point.specificity) == (0.8, 1.0)
    assert found.point.target_sensitivity == 0.8
    low, high = found.threshold_interval
    assert low <= 0.6 <= high
    assert 0.5 <= low < high <= 0.9
    assert f"{low:.4f} to {high:.4f}" in found.point.data


def test_positives_turned_away_lower_the_threshold() -> None:
    positive = [True] * 10 + [False]
    scores = [0.9 - i / 20 for i in range(10)] + [0.1]
    groups = [str(i) for i in range(11)]
    whole = fit(measured(scores, positive, groups), CARD, "covid", "site", 0.8)
    scores[0] = -1.0
    away = fit(measured(scores, positive, groups), CARD, "covid", "site", 0.8)
    assert away.point.threshold < whole.point.threshold
    assert away.point.sensitivity == 0.8
    assert "turned away 1 positive, 0 negative" in away.point.data
    with pytest.raises(UsageError, match="1 of 10 positives are turned away"):
        fit(measured(scores, positive, groups), CARD, "covid", "site", 0.95)


def test_a_study_is_judged_by_its_highest_image() -> None:
    scores = [0.9, 0.1, 0.8, 0.2, 0.3, 0.1]
    positive = [True, True, True, True, False, False]
    found = fit(measured(scores, positive, list("aabbcc")), CARD, "covid", "site", 0.5)
    assert found.point.threshold == 0.8
    assert found.point.sensitivity == 0.5
    assert found.study_point.sensitivity == 1.0
    assert found.study_point.threshold == 0.8


def test_fewer_groups_widen_the_interval() -> None:
    generator = np.random.default_rng(2)
    scores = np.sort(generator.random(200)).round(4).tolist()
    positive = [True] * 200
    alone = fit(_both(scores, positive, [str(i) for i in range(200)]), CARD, "covid", "s", 0.9)
    joined = fit(
        _both(scores, positive, [str(i // 20) for i in range(200)]), CARD, "covid", "s", 0.9
    )
    width = [found.threshold_interval[1] - found.threshold_interval[0] for found in (alone, joined)]
    assert width[1] > 1.5 * width[0]


def _both(scores: list[float], positive: list[bool], groups: list[str]) -> Measured:
    return measured([*scores, 0.0], [*positive, False], [*groups, "negative"])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    generator = np.random.default_rng(4)
    for i in range(40):
        label, mean = ("covid", -1.0) if i < 25 else ("normal", 0.5)
        film = draw(i, severity=generator.normal(mean, 0.6))
        save_png(film, folder / label / f"{i}.png")
    return folder


def test_whole_way(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "site.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", None)
        found = calibrate(TINY, sample, out, 0.9, device="cpu")
    bundle = load_bundle(out)
    card = bundle.card
    assert card.operating_point("site", "covid") == found.point
    assert card.study_operating_points[-1] == found.study_point
    assert card.operating_points[:-1] == CARD.operating_points
    assert card.graph_sha256 == CARD.graph_sha256
    assert card.site == found.sample
    assert (found.sample.images, found.sample.positive) == (40, 25)
    assert found.sample.sample_sha256 == sample_sha256(read_labels(sample))
    assert found.point.sensitivity is not None
    assert found.point.sensitivity >= 0.9
    assert found.point.sensitivity_interval is not None
    assert found.point.sensitivity_interval[0] < 0.9
    assert [path.name for path in out.parent.iterdir()] == ["site.onnx"]

    again = tmp_path / "again.onnx"
    renamed = calibrate(out, sample, again, 0.8, name="ward", device="cpu")
    card = load_bundle(again).card
    assert [point.name for point in card.operating_points] == ["default", "balanced", "ward"]
    assert [point.name for point in card.study_operating_points] == ["default", "balanced", "ward"]
    assert renamed.point.threshold > found.point.threshold


def test_a_threshold_of_another_model_is_refused(sample: Path) -> None:
    bundle = load_bundle(TINY)
    positives = [0.5 + i / 100 for i in range(10)]
    found = fit(
        measured([*positives, 0.1], [True] * 10 + [False], list("abcdefghijk")),
        bundle.card,
        "covid",
        "site",
        0.8,
    )
    points = (*bundle.card.operating_points, found.point)
    foreign = replace(found.sample, graph_sha256="5" * 64)
    card = replace(bundle.card, operating_points=points, site=foreign)
    with pytest.raises(UsageError, match="fitted to another model"):
        with_card(bundle, card)
    with pytest.raises(UsageError, match="fitted to another model"):
        write_card(card)


def test_training_data_gives_its_calibration_part(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    rows = ["file,label,split"]
    for i in range(20):
        label = "covid" if i < 12 else "normal"
        save_png(draw(i, severity=-1.0 if i < 12 else 0.5), folder / f"{i}.png")
        split = ("train", "validation", "test")[i % 3] if 8 <= i < 16 else "calibration"
        rows.append(f"{i}.png,{label},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    images = read_labels(folder)
    training = TrainingData(manifest_sha256(images), 1, "none", {})
    bundle = load_bundle(TINY)
    model = tmp_path / "model.onnx"
    model.write_bytes(with_card(bundle, replace(bundle.card, training_data=training)))
    said: list[str] = []
    found = calibrate(model, folder, tmp_path / "out.onnx", 0.6, device="cpu", tell=said.append)
    expected = split_images(images, 1)["calibration"]
    assert (found.sample.images, found.sample.positive) == (len(expected), 8)
    assert "calibration part of the data that the model was trained on" in said[0]


@pytest.mark.parametrize(
    ("target", "name", "message"),
    [
        (0.97, "site", "25 positives, too few .* at least 34"),
        (1.0, "site", "a target sensitivity of 1.0"),
        (97.0, "site", "give 0.5 to 0.999"),
        (0.9, "default", "'default' cannot be the name"),
        (0.9, "a\nb", "cannot be the name"),
    ],
)
def test_refused(sample: Path, tmp_path: Path, target: float, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        calibrate(TINY, sample, tmp_path / "out.onnx", target, name=name, device="cpu")
    assert not list(tmp_path.iterdir())


def test_folder_as_output_is_refused(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        calibrate(TINY, sample, tmp_path, 0.9)


@pytest.mark.parametrize("name", ["films.csv", "film.png", "best.pt"])
def test_a_file_that_is_no_model_is_never_replaced(sample: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"of the site")
    with pytest.raises(UsageError, match=r"is there already only a file that ends in \.onnx"):
        calibrate(TINY, sample, tmp_path / name, 0.9)
    assert (tmp_path / name).read_bytes() == b"of the site"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "site.onnx", Path("/proc/none/site.onnx")):
        with pytest.raises(UsageError, match="cannot be written"):
            write_model(out, b"model")


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / f".site.onnx.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(UsageError, match="cannot be written") as told:
        write_model(tmp_path / "site.onnx", b"model")
    assert told.value.why == "No space left on device"
    assert not list(tmp_path.iterdir())


def test_sample_hash_knows_content_label_and_group(tmp_path: Path) -> None:
    file, moved = tmp_path / "a.png", tmp_path / "moved.png"
    file.write_bytes(b"1")
    moved.write_bytes(b"1")
    one = LabelledImage(file, "covid", "g")
    other = LabelledImage(moved, "covid", "g")
    assert sample_sha256([one]) == sample_sha256([other])
    assert sample_sha256([replace(one, label="normal")]) != sample_sha256([one])
    assert sample_sha256([replace(one, group="h")]) != sample_sha256([one])
    moved.write_bytes(b"2")
    assert sample_sha256([one]) != sample_sha256([other])
    assert sample_sha256([one, other]) == sample_sha256([other, one])
