"""A checkpoint becomes a bundle that says what PyTorch says; an int8 one that decides alike."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from export.backbone import round_network
from export.bundling import LIMITS, run_model
from export.dataset import manifest_sha256, read_labels, split_images
from export.graph import Graph, add_view
from export.initial_weights import check_origin, load_initial_weights, measure_batch_norm
from export.network import Network, standardise
from export.prediction import load_network
from export.quantize import quantize
from export.to_onnx import export
from screener.bundle import Bundle, load_bundle, with_card
from screener.classifier import Classifier
from screener.errors import UsageError
from screener.preprocess import PREPROCESSING, Display, preprocess
from screener.verify import verify_bundle
from tests.films import TINY

COUNTS = {"train": 24, "validation": 8, "calibration": 16, "test": 4}


def _draw(random: np.random.Generator, positive: bool) -> np.ndarray:
    """A drawn chest: two dark fields, in one of which a positive has a bright patch."""
    row, column = np.mgrid[0:224, 0:224]
    image = 150 + 20 * np.sin((column - 112) / 60) + row / 8
    shift = random.normal(0, 5, 4)
    for side in (-1, 1):
        centre = (112 + shift[0], 112 + side * (50 + shift[1]))
        field = ((row - centre[0]) / (70 + shift[2])) ** 2 + ((column - centre[1]) / 35) ** 2 < 1
        image = np.where(field, 60 + shift[3], image)
    if positive:
        # Large: a head that must amplify a faint difference amplifies rounding too.
        patch = np.hypot(row - 150, column - 62) < 40
        image = np.where(patch, 190, image)
    return np.clip(image + random.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(3)
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "label", "group", "split"])
        for split, count in COUNTS.items():
            for number in range(count):
                name, positive = f"{split}-{number}.png", number % 2 == 0
                Image.fromarray(_draw(random, positive)).save(folder / name)
                # Two images a group: a study.
                group = f"{split}-{'p' if positive else 'n'}{number // 4}"
                writer.writerow([name, "covid" if positive else "normal", group, split])
    return folder


@pytest.fixture(scope="module")
def checkpoint(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random convolutions, and a head along the line between the classes' mean features."""
    torch.manual_seed(5)
    network = Network(1).eval()
    images = read_labels(data)
    train = split_images(images, 1)["train"]
    pixels = np.stack([np.asarray(Image.open(image.path)) for image in train]) / np.float32(255)
    positive = torch.tensor([image.positive for image in train])
    with torch.inference_mode():
        features = network.features(torch.from_numpy(pixels)[:, None])[-1].mean((2, 3))
        line = features[positive].mean(0) - features[~positive].mean(0)
        along = features @ line
        scale = float(along[positive].mean() - along[~positive].mean())
        weight = line / scale * 4
        bias = -(features @ weight).mean()
    state = network.state_dict()
    state["backbone.fc.weight"], state["backbone.fc.bias"] = (
        weight[None].clone(),
        bias[None].clone(),
    )
    facts = {
        "finding": "covid",
        "recipe": {"seed": 1, "weights": "scratch", "drop_path": 0.1},
        "data_sha256": manifest_sha256(images),
        "preprocessing": PREPROCESSING,
    }
    path = tmp_path_factory.mktemp("run") / "best.pt"
    torch.save({"weights": state, "facts": facts}, path)
    return path


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, data: Path) -> Bundle:
    out = checkpoint.parent / "drawn.onnx"
    return load_bundle(export(checkpoint, data, out, limits=["One device only."]))


def test_the_bundle_is_what_the_contract_says(bundle: Bundle) -> None:
    checks = {check.name: check for check in verify_bundle(bundle)}
    # Noise may look familiar to random convolutions; everything else must hold.
    checks.pop("novelty of black, white, noise")
    assert [check for check in checks.values() if not check.ok] == []
    assert len(bundle.content) < 50_000_000


def test_the_bundle_says_what_pytorch_says(bundle: Bundle, checkpoint: Path, data: Path) -> None:
    rounded = round_network(load_network(checkpoint)[0])
    images = split_images(read_labels(data), 1)["test"]
    pixels = np.stack([np.asarray(Image.open(i.path)) for i in images])
    ready = np.stack([preprocess(image, Display()).pixels for image in pixels])
    outputs = Classifier(bundle, "cpu").run(ready)
    with torch.inference_mode():
        expected = rounded(torch.from_numpy(ready)[:, None]).numpy()
    # Drawn films teach little: the activations of so young a network magnify every rounding.
    np.testing.assert_allclose(outputs.logit, expected, rtol=1e-3, atol=1e-3)
    assert bundle.card.parity < 1e-4


def test_a_score_does_not_depend_on_the_company(bundle: Bundle) -> None:
    pixels = np.random.default_rng(2).random((5, 224, 224), dtype=np.float32)
    classifier = Classifier(bundle, "cpu", batch=3)
    straight, turned = classifier.run(pixels), classifier.run(pixels[::-1].copy())
    for name in ("cam", "logit", "score", "novelty"):
        np.testing.assert_array_equal(getattr(straight, name), getattr(turned, name)[::-1])


def test_the_card_says_what_was_measured(bundle: Bundle) -> None:
    card = bundle.card
    assert card.name == "drawn"
    assert card.findings == ("covid",)
    assert card.prevalence == (0.5,)
    names = [point.name for point in card.operating_points]
    assert names == ["default", "seed-specificity", "balanced"]
    default = card.operating_point("default", "covid")
    assert default.target_sensitivity == 0.97
    assert default.sensitivity == 1.0
    assert "16 images, 8 positive" in default.data
    assert "8 studies, 4 positive" in card.study_operating_points[0].data
    assert card.training_data.counts["train"].images == COUNTS["train"]
    assert card.novelty.auroc.keys() >= {"upside down", "sideways", "inverted", "noise"}
    assert card.age_range_years == (18.0, 120.0)
    assert card.training_data.recipe == {"stages": "", "drop_path": 0.1}
    # What is true of the shipped model's data is not said of other data.
    assert card.limits == ("One device only.", *LIMITS)
    assert not re.search("children|source", " ".join(LIMITS))


def test_the_standardised_film_is_right_to_a_few_parts_in_a_million() -> None:
    pixels = np.random.default_rng(1).integers(90, 256, (7, 224, 224), dtype=np.uint8)
    graph = Graph()
    graph.output(add_view(graph), [1, 224, 224])
    given = run_model(graph.model(), ["standardised"], pixels)["standardised"]
    exact = standardise(torch.from_numpy(pixels)[:, None].double() / 255).numpy()
    # One sum in float32 over all pixels is wrong by 1e-4, which 53 layers make 1e-3 in the logit.
    np.testing.assert_allclose(given, exact, rtol=0, atol=1e-5)


def test_weights_are_stored_in_halves(bundle: Bundle) -> None:
    model = onnx.load_model_from_string(bundle.content)
    kinds = {
        t.name: t.data_type
        for t in model.graph.initializer
        if len(t.dims) == 4 and t.name != "field"
    }
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT16}
    assert len(kinds) == 54


def test_int8_decides_alike_and_is_half_the_size(
    bundle: Bundle, checkpoint: Path, data: Path
) -> None:
    out = checkpoint.parent / "drawn-int8.onnx"
    small = load_bundle(quantize(checkpoint.parent / "drawn.onnx", data, out))
    assert small.card.precision == "int8"
    assert small.card.limits == bundle.card.limits
    assert small.card.acceptance is not None
    assert small.card.acceptance.float_sha256 == bundle.sha256
    assert small.card.acceptance.decisions_changed <= 0.005
    assert len(small.content) < 25_000_000
    failed = [check.name for check in verify_bundle(small) if not check.ok]
    assert set(failed) <= {"novelty of black, white, noise"}
    with pytest.raises(UsageError, match="int8 already"):
        quantize(out, data, checkpoint.parent / "again.onnx")


def test_a_bundle_starts_a_network_that_gives_what_it_gave(
    bundle: Bundle, checkpoint: Path, data: Path
) -> None:
    network = Network(1)
    load_initial_weights(network, str(checkpoint.parent / "drawn.onnx"))
    images = split_images(read_labels(data), 1)["train"][::3]
    pixels = np.stack([np.asarray(Image.open(i.path)) for i in images]) / np.float32(255)
    films = torch.from_numpy(pixels)[:, None]
    before = network.backbone.layer2[1].bn2.weight.clone()
    measure_batch_norm(network, films)
    with torch.inference_mode():
        given = network.eval()(films).numpy()
        # The very films whose statistics were taken: training sees the same network.
        trained = network.train()(films).numpy()
    expected = Classifier(bundle, "cpu").run(pixels).logit
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(trained, expected, rtol=1e-2, atol=1e-2)
    # The norms are real ones again.
    assert not torch.allclose(network.backbone.layer2[1].bn2.weight, before, rtol=0.1)


def test_a_bundle_of_the_same_data_divided_otherwise_is_refused(
    bundle: Bundle, checkpoint: Path
) -> None:
    data_sha256 = bundle.card.training_data.manifest_sha256
    for source in (str(checkpoint.parent / "drawn.onnx"), str(checkpoint)):
        check_origin(source, data_sha256, seed=1)
        check_origin(source, "0" * 64, seed=2)
        with pytest.raises(UsageError, match="divided by seed 1, not 2"):
            check_origin(source, data_sha256, seed=2)
    check_origin("scratch", data_sha256, seed=2)


def test_the_shipped_bundle_starts_a_network() -> None:
    network = Network(1)
    load_initial_weights(network, "shipped")
    bundle = load_bundle()
    pixels = np.random.default_rng(1).random((1, 224, 224), dtype=np.float32)
    with torch.inference_mode():
        given = network.eval()(torch.from_numpy(pixels)[:, None]).numpy()
    np.testing.assert_allclose(given, Classifier(bundle, "cpu").run(pixels).logit, atol=1e-3)
    training = bundle.card.training_data
    check_origin("shipped", training.manifest_sha256, training.seed)
    with pytest.raises(UsageError, match="'shipped' was trained on this data"):
        check_origin("shipped", training.manifest_sha256, training.seed + 1)


def test_only_a_float_bundle_of_a_resnet50_starts_a_network(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no ResNet50 weights"):
        load_initial_weights(Network(1), str(TINY))
    small = tmp_path / "small.onnx"
    small.write_bytes(with_card(bundle, dataclasses.replace(bundle.card, precision="int8")))
    with pytest.raises(UsageError, match=r"small\.onnx' is int8"):
        load_initial_weights(Network(1), str(small))


def test_a_file_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file" / "model.onnx"):
        # Nothing else is looked at before: there is neither a checkpoint nor data.
        with pytest.raises(UsageError, match=r"is a folder|nothing can be written"):
            export(tmp_path / "none.pt", tmp_path / "none", out)
        with pytest.raises(UsageError, match=r"is a folder|nothing can be written"):
            quantize(tmp_path / "none.onnx", tmp_path / "none", out)


def test_other_data_is_refused(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    rows = (data / "manifest.csv").read_text().splitlines()
    other = data / "other.csv"
    other.write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(UsageError, match="not the data that the checkpoint was trained on"):
        export(checkpoint, other, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_halves_cannot_hold_are_refused(checkpoint: Path) -> None:
    network, _ = load_network(checkpoint)
    with torch.no_grad():
        network.backbone.layer3[2].conv2.weight[0, 0, 0, 0] = 1e9
    with pytest.raises(UsageError, match=r"layer3\.2\.conv2\.weight"):
        round_network(network)
