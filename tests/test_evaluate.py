"""Measuring whole: drawn films with known outcomes, the tiny bundle, and a checkpoint.

Figures are compared with counts made from `predictions.csv`, which is another way to the same.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from export import plot_style
from export.audit import (
    blank_border,
    blank_centre,
    by_source,
    keep_border,
    share_inside_lung_box,
)
from export.dataset import manifest_sha256, read_labels, split_images
from export.evaluate import choose_part, evaluate, plain
from export.evaluation_report import write_report
from export.models import ModelFacts, finding_of, open_model
from export.plot_style import drawing
from export.score_plots import draw_confusion, draw_subgroups
from export.waiting import Site, waiting
from screener.errors import UsageError
from tests.films import TINY, dataset, draw, save, save_png

POSITIVES, NEGATIVES = 24, 30


@dataclass(frozen=True)
class Run:
    data: Path
    out: Path
    found: dict[str, Any]
    rows: list[dict[str, str]]

    def scores(self, label: str) -> list[float]:
        """End to end: -1 where the row says that nothing was scored."""
        return [
            float(row["score"]) if row["outcome"] == "SCORED" else -1.0
            for row in self.rows
            if row["label"] == label
        ]


def draw_data(folder: Path) -> Path:
    """Overlapping classes; one positive each is cut, noise, a lateral, a child."""
    generator = np.random.default_rng(7)
    rows = []
    for i in range(POSITIVES + NEGATIVES):
        label = "covid" if i < POSITIVES else "normal"
        severity = generator.normal(-1 if i < POSITIVES else 0.4, 0.7)
        save_png(draw(i, severity=severity), folder / f"{i}.png")
        source = "one" if i < POSITIVES // 2 else "two" if i < POSITIVES + 20 else "three"
        rows.append((f"{i}.png", label, f"patient {i // 2}", source, "F" if i % 3 else "M"))
    noise = generator.integers(0, 255, (256, 256)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:2000])
    save(dataset(draw(90), 90, ViewPosition="LL"), folder / "lateral.dcm")
    save(dataset(draw(91), 91, PatientAge="009Y", PatientBirthDate=None), folder / "child.dcm")
    away = ("noise.png", "cut.png", "lateral.dcm", "child.dcm")
    rows += [(name, "covid", name, "two", "F") for name in away]
    with (folder / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("file", "label", "group", "source", "sex"), *rows])
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = tmp_path_factory.mktemp("data")
    out = tmp_path_factory.mktemp("out") / "new" / "folder"
    with pytest.MonkeyPatch.context() as patch:
        # A bundle is measured without torch: any import of it fails here.
        patch.setitem(sys.modules, "torch", None)
        patch.setitem(sys.modules, "torchvision", None)
        found = evaluate(TINY, draw_data(data), out, device="cpu")
    with (out / "predictions.csv").open(newline="") as stream:
        return Run(data, out, found, list(csv.DictReader(stream)))


def test_what_scan_would_not_score_is_listed_and_missed(run: Run) -> None:
    away = {row["file"]: row["reason_code"] for row in run.rows if row["outcome"] != "SCORED"}
    assert away == {
        "noise.png": "NOVEL",
        "cut.png": "TRUNCATED",
        "lateral.dcm": "VIEW",
        "child.dcm": "AGE",
    }
    positive = run.found["turned_away"]["positive"]
    assert (positive["images"], positive["turned_away"]) == (POSITIVES + 4, 4)
    assert positive["share"]["value"] == pytest.approx(4 / (POSITIVES + 4), abs=1e-6)
    assert positive["share_by_novelty"]["value"] == pytest.approx(1 / (POSITIVES + 4), abs=1e-6)
    assert run.found["turned_away"]["negative"]["turned_away"] == 0
    assert run.found["counts"]["scored"] == POSITIVES + NEGATIVES


def test_operating_points_are_end_to_end(run: Run) -> None:
    positives, negatives = run.scores("covid"), run.scores("normal")
    assert len(positives) == POSITIVES + 4
    for point in run.found["operating_points"]:
        flagged = [score >= point["threshold"] for score in positives]
        false = [score >= point["threshold"] for score in negatives]
        assert point["confusion"] == {
            "true_positive": sum(flagged),
            "false_negative": len(flagged) - sum(flagged),
            "false_positive": sum(false),
            "true_negative": len(false) - sum(false),
        }
        assert point["sensitivity"]["value"] == pytest.approx(np.mean(flagged), abs=1e-6)
        assert point["specificity"]["value"] == pytest.approx(1 - np.mean(false), abs=1e-6)
        assert 0 < point["sensitivity"]["low"] < point["sensitivity"]["high"] < 1
    assert [point["name"] for point in run.found["operating_points"]] == ["default", "balanced"]
    assert run.found["operating_points"][0]["stated_in_card"]["sensitivity"] == 0.5
    assert run.found["operating_points"][0]["missed_turned_away"] == 4


def test_waiting_times_are_of_studies(run: Run) -> None:
    told = run.found["waiting"]
    assert told["site"] == {"reading_minutes": 10, "load": 0.8, "prevalence": 0.1}
    for point, study in zip(
        told["operating_points"], run.found["studies"]["operating_points"], strict=True
    ):
        expected = waiting(Site(), study["sensitivity"]["value"], study["specificity"]["value"])
        assert point["waiting"]["saved"] == pytest.approx(expected.saved, abs=1e-3)
        assert point["waiting_at_lower_ends"]["saved"] < expected.saved


def test_targets(run: Run) -> None:
    at = run.found["at_specificity_0.956"]
    assert at["specificity"]["value"] >= 0.956
    # Four of 28 were turned away: no threshold reaches 0.97.
    assert run.found["at_sensitivity_0.97"]["threshold"] is None


def test_areas(run: Run) -> None:
    positive = [row["label"] == "covid" for row in run.rows]
    whole = run.scores("covid") + run.scores("normal")
    labels = [True] * (POSITIVES + 4) + [False] * NEGATIVES
    assert run.found["auc_end_to_end"]["value"] == pytest.approx(
        roc_auc_score(labels, whole), abs=2e-3
    )
    read = [
        (float(row["log_odds"]), p)
        for row, p in zip(run.rows, positive, strict=True)
        if row["log_odds"]
    ]
    assert len(read) == POSITIVES + NEGATIVES + 1
    expected = roc_auc_score([p for _, p in read], [odds for odds, _ in read])
    for odds, score in ((float(r["log_odds"]), float(r["score"])) for r in run.rows if r["score"]):
        assert 1 / (1 + np.exp(-odds)) == pytest.approx(score, abs=2e-4)
    assert run.found["auc"]["value"] == pytest.approx(expected, abs=2e-3)
    assert run.found["auc"]["value"] > run.found["auc_end_to_end"]["value"]
    low, high = run.found["auc_interval_by_group"]
    assert low < run.found["auc_end_to_end"]["value"] < high


def test_calibration_is_of_scored_images(run: Run) -> None:
    calibration = run.found["calibration"]
    assert calibration["images"] == POSITIVES + NEGATIVES
    scored = [row for row in run.rows if row["outcome"] == "SCORED"]
    squares = [(float(row["score"]) - (row["label"] == "covid")) ** 2 for row in scored]
    assert calibration["brier"] == pytest.approx(np.mean(squares), abs=1e-4)
    assert calibration["slope"]["low"] < calibration["slope"]["value"]


def test_subgroups_and_studies(run: Run) -> None:
    assert set(run.found["subgroups"]) == {"source", "sex"}
    sources = run.found["subgroups"]["source"]
    assert sources["two"]["turned_away"] == 4
    assert sources["one"]["specificity"] is None
    assert sources["one"]["auc_end_to_end"] is None
    assert sources["three"]["sensitivity"] is None
    total = sum(value["images"] for value in run.found["subgroups"]["sex"].values())
    assert total == len(run.rows)
    studies = run.found["studies"]
    assert (studies["count"], studies["positive"]) == ((POSITIVES + NEGATIVES) // 2 + 4, 12 + 4)
    with_novel = studies["operating_points"][0]["confusion"]
    assert sum(with_novel.values()) == studies["count"]


def test_audit_is_measured_without_novelty(run: Run) -> None:
    audit = run.found["audit"]
    assert audit["images"] == POSITIVES + NEGATIVES + 1
    # The films differ in the lower lungs alone: what tells them apart is gone with the centre,
    # but for the parts at the edge; the border has little of it.
    areas = {name: value["value"] for name, value in audit["auc"].items()}
    assert areas["border_only"] < areas["whole"]
    assert areas["whole"] == pytest.approx(run.found["auc"]["value"])
    assert 0 < audit["positive_cam_inside_lung_box"]["mean"] < 1
    held = audit["source_held_out"]
    assert held["one"]["images"] == 12
    assert held["one"]["training_images"] is None
    assert held["two"]["both_labels"]
    assert not held["one"]["both_labels"]


def test_metrics_json_is_what_was_returned(run: Run) -> None:
    text = (run.out / "metrics.json").read_text()
    assert json.loads(text) == run.found
    assert "NaN" not in text
    assert run.found["data"]["part"] == "all"
    assert run.found["model"]["kind"] == "onnx"


def test_plots_and_report_are_whole(run: Run) -> None:
    names = {path.name for path in run.out.iterdir()}
    pngs = {"roc", "precision", "reliability", "confusion", "decision_curve", "scores"}
    pngs |= {"waiting", "subgroups", "audit"}
    assert names == {f"{name}.png" for name in pngs} | {
        *("worst_errors.jpg", "report.html", "metrics.json", "predictions.csv")
    }
    assert {path.stat().st_mode & 0o777 for path in run.out.iterdir()} == {0o600}
    for name in pngs:
        with Image.open(run.out / f"{name}.png") as image:
            extrema = image.convert("L").getextrema()
            assert extrema[0] < 100 < extrema[1]
    text = (run.out / "report.html").read_text()
    assert text.count("data:image/") == 10
    assert "http" not in text.replace("http-equiv", "")
    assert f"{run.found['auc']['value']:.3f}" in text
    for heading in (
        "Summary",
        "1 Intro",
        "2 Meth",
        "3 Res",
        "4 Disc",
        "5 Other",
        "A Items",
        "B Items",
    ):
        assert f">{heading}" in text
    assert "{{" not in text
    _Balanced().feed(text)


class _Balanced(HTMLParser):
    """Fails where a tag is closed that is not the open one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_same_input_same_figures(run: Run, tmp_path: Path) -> None:
    found = evaluate(TINY, run.data, tmp_path, device="cpu", group_by=["sex"])
    assert set(found["subgroups"]) == {"sex"}
    changing = {"measured_at", "subgroups"}
    assert {k: v for k, v in found.items() if k not in changing} == {
        k: v for k, v in run.found.items() if k not in changing
    }
    for name in ("predictions.csv", "roc.png", "worst_errors.jpg"):
        assert (tmp_path / name).read_bytes() == (run.out / name).read_bytes()


@pytest.mark.parametrize("listed", [True, False])
def test_films_of_one_name_can_be_told_apart(tmp_path: Path, listed: bool) -> None:
    data, rows = tmp_path / "data", ["file,label"]
    for i in range(12):
        label = "covid" if i % 2 else "normal"
        name = f"{label}/patient {i}/IM000001.png"
        (data / name).parent.mkdir(parents=True)
        save_png(draw(i, severity=-1.5 if i % 2 else 0.8), data / name)
        rows.append(f"{name},{label}")
    (data / "films.csv").write_text("\n".join(rows))
    if not listed:
        (data / "films.csv").unlink()
    out = tmp_path / "out"
    evaluate(TINY, data / "films.csv" if listed else data, out, device="cpu", films=False)
    with (out / "predictions.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert {f"{row['path']},{row['label']}" for row in found} == set(rows[1:])


def test_labels_cannot_write_html(run: Run, tmp_path: Path) -> None:
    found = json.loads(json.dumps(run.found))
    hostile = "<script>alert(1)</script>"
    found["finding"] = found["model"]["name"] = found["data"]["reason"] = hostile
    found["subgroups"][hostile] = {hostile: found["subgroups"]["sex"]["F"]}
    found["statements"]["ethics"] = hostile
    found["not_scored"][0]["label"] = os.fsdecode(b"caf\xe9")
    write_report(tmp_path / "report.html", found, {})
    text = (tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 5


def facts(data: Path, seed: int) -> ModelFacts:
    sha256 = manifest_sha256(read_labels(data))
    return ModelFacts("m", "onnx", "0" * 64, "CPU", ("covid",), sha256, seed)


def test_only_the_test_part_of_the_training_data(run: Run) -> None:
    images = read_labels(run.data)
    seed = next(s for s in range(200) if _splits(images, s))
    known = facts(run.data, seed)
    part = choose_part(images, known, "test")
    assert part.images == split_images(images, seed)["test"]
    assert part.name == "test"
    assert part.sources_trained_on is not None
    assert sum(part.sources_trained_on.values()) == len(split_images(images, seed)["train"])
    assert len(choose_part(images, known, "calibration").images) < len(images) / 2
    whole = choose_part(images, known, None)
    assert len(whole.images) == len(images)
    assert "trained on" in whole.reason
    with pytest.raises(UsageError, match="no split 'tset'"):
        choose_part(images, known, "tset")
    other = choose_part(images, replace(known, data_sha256="1" * 64), "test")
    assert (other.name, len(other.images)) == ("all", len(images))


def _splits(images: list[Any], seed: int) -> bool:
    try:
        return bool(split_images(images, seed))
    except UsageError:
        return False


def test_names_from_outside_are_drawn_as_they_are(run: Run, tmp_path: Path) -> None:
    """A dollar begins a formula in matplotlib, and a broken one would stop the plots."""
    found = json.loads(json.dumps(run.found))
    odd, group = "$\\frac{\a\N{CJK UNIFIED IDEOGRAPH-75C5}", found["subgroups"]["sex"]["F"]
    found["subgroups"] = {odd: {odd: group, "x" * 99: group}}
    found["operating_points"][0]["name"] = odd
    with drawing():
        figures = [draw_subgroups(found), draw_confusion(found["operating_points"])]
        for number, figure in enumerate(figures):
            assert figure is not None
            path = plot_style.save(figure, tmp_path / f"{number}.png")
            assert path.stat().st_size > 5000


def test_errors_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column 'centre'"):
        evaluate(TINY, run.data, tmp_path / "out", group_by=["centre"], device="cpu")
    with pytest.raises(UsageError, match="no such model"):
        evaluate(tmp_path / "absent.onnx", run.data, tmp_path / "out")
    (tmp_path / "zip.pt").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(UsageError, match="not a readable checkpoint"):
        evaluate(tmp_path / "zip.pt", run.data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        with pytest.raises(UsageError, match="nothing can be written to the folder"):
            evaluate(TINY, run.data, out, device="cpu")


def test_finding_by_name(run: Run) -> None:
    images, known = read_labels(run.data), facts(run.data, 1)
    assert finding_of(replace(known, findings=("a", "COVID")), images) == 1
    assert finding_of(replace(known, findings=("a",)), images) == 0
    with pytest.raises(UsageError, match="knows no finding 'covid'"):
        finding_of(replace(known, findings=("a", "b")), images)


def test_blanked_parts() -> None:
    image = np.random.default_rng(1).random((1, 224, 224), dtype=np.float32)
    median = np.median(image)
    centre, border, rest = blank_centre(image), keep_border(image), blank_border(image)
    assert (centre[0, 34:190, 34:190] == median).all()
    assert (centre[0, :34] == image[0, :34]).all()
    assert (border[0, 13:211, 13:211] == median).all()
    assert (border[0, :13] == image[0, :13]).all()
    assert (rest[0, 13:211, 13:211] == image[0, 13:211, 13:211]).all()
    assert (rest[0, :, 211:] == median).all()
    assert centre.dtype == np.float32


def test_share_inside_lung_box_by_hand() -> None:
    cam = np.zeros((4, 7, 7), np.float32)
    cam[0] = 1
    cam[1, 3, 3] = 5
    cam[2, 0, 0] = 5
    cam[3] = -1
    cam[2, 3, 3] = -9
    # The first cell ends at 1/7 = 0.143, before the box begins.
    assert share_inside_lung_box(cam) == pytest.approx([0.49, 1, 0, np.nan], nan_ok=True)


def test_a_source_of_one_label_meets_the_others() -> None:
    logit = np.array([3.0, 1.0, 2.0, 0.0])
    positive = np.array([True, False, True, False])
    held = by_source(logit, positive, ["a", "b", "a", "c"], {"a": 5})
    assert held["a"]["auc_on_it"].value == 1
    assert held["a"]["auc_without_it"] is None
    assert (held["a"]["training_images"], held["b"]["training_images"]) == (5, 0)
    assert held["b"]["auc_on_it"].value == 1
    assert held["b"]["auc_without_it"].value == 1


def test_plain_values() -> None:
    assert plain({1: (float("nan"), 1 / 3, True, None, "a")}) == {
        "1": [None, 0.333333, True, None, "a"]
    }


def test_a_checkpoint_is_measured_alike(run: Run, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from export.network import Network

    torch.manual_seed(1)
    torch.set_num_threads(1)
    network = Network(1)
    kept = {
        "weights": network.state_dict(),
        "facts": {"finding": "covid", "recipe": {"seed": 3}, "data_sha256": "2" * 64},
    }
    checkpoint = tmp_path / "best.pt"
    torch.save(kept, checkpoint)
    model = open_model(checkpoint, "cpu")
    pixels = np.random.default_rng(0).random((2, 224, 224), dtype=np.float32)
    outputs = model.run(pixels)
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(pixels)[:, None]).numpy()
    assert outputs.logit == pytest.approx(logits, abs=1e-4)
    assert outputs.cam.shape == (2, 1, 7, 7)
    assert (model.facts.kind, model.facts.novelty_limit, model.facts.seed) == (
        "checkpoint",
        None,
        3,
    )

    few = tmp_path / "few.csv"
    lines = (run.data / "manifest.csv").read_text().splitlines()
    chosen = [f"{run.data}/{lines[1]}", f"{run.data}/{lines[-5]}"]
    few.write_text("\n".join([lines[0], *chosen]))
    found = evaluate(checkpoint, few, tmp_path / "out", device="cpu")
    assert found["counts"] == {"images": 2, "positive": 1, "negative": 1, "groups": 2, "scored": 2}
    assert found["model"]["kind"] == "checkpoint"
    assert (tmp_path / "out" / "report.html").exists()
