"""Which of the shipped bundles a scan takes, and that it keeps to it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from screener import bundle as bundles
from screener import precision
from screener.bundle import load_bundle, with_card
from screener.errors import UsageError
from screener.precision import choose_bundle, int8_unit, resolve_precision
from screener.screening import scan
from screener.settings import Settings
from tests.films import TINY, dataset, draw, save

ZEN4 = "processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni sse\n"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose models are the tiny bundle and the same as int8."""
    (tmp_path / "models").mkdir()
    tiny = load_bundle(TINY)
    card = dataclasses.replace(tiny.card, name="tiny-int8", precision="int8")
    (tmp_path / "models" / bundles.SHIPPED["float"]).write_bytes(tiny.content)
    (tmp_path / "models" / bundles.SHIPPED["int8"]).write_bytes(with_card(tiny, card))
    monkeypatch.setattr(bundles, "files", lambda _: tmp_path)
    monkeypatch.setattr(precision, "has_nvidia_driver", lambda: False)
    return tmp_path / "models"


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(ZEN4)
    monkeypatch.setattr(precision, "_CPU_INFO", path)
    return path


@pytest.mark.parametrize(
    ("flags", "unit"),
    [
        ("fpu avx2 avx512_vnni", "VNNI"),
        ("avx_vnni", "VNNI"),
        ("amx_bf16 amx_int8", "AMX"),
        ("fpu avx2 avx512f", ""),
        ("avx512_vnni_not", ""),
    ],
)
def test_processor_is_known_by_its_flags(processor: Path, flags: str, unit: str) -> None:
    processor.write_text(f"vendor_id : x\nflags : {flags}\nbugs : avx512_vnni\n")
    assert int8_unit() == unit


def test_processor_that_says_nothing_has_no_unit(processor: Path) -> None:
    processor.unlink()
    assert int8_unit() == ""


def test_int8_where_the_processor_is_made_for_it(shipped: Path, processor: Path) -> None:
    choice = choose_bundle(Settings())
    assert (choice.bundle.name, choice.decided) == ("tiny-int8", True)
    assert "VNNI" in choice.why
    processor.write_text("flags : fpu\n")
    assert choose_bundle(Settings()).bundle.card.precision == "float"


def test_float_on_a_gpu(processor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_nvidia_driver", lambda: True)
    chosen = (["CUDAExecutionProvider"], [])
    monkeypatch.setattr("screener.classifier_providers.choose_providers", lambda _: chosen)
    assert resolve_precision("auto")[0] == "float"
    assert resolve_precision("cpu")[0] == "int8"


def test_what_was_decided_is_kept(shipped: Path, processor: Path) -> None:
    processor.write_text("flags : fpu\n")
    assert choose_bundle(Settings(), "int8").bundle.name == "tiny-int8"
    assert not choose_bundle(Settings(), "int8").decided


def test_what_is_asked_for_comes_before_all(shipped: Path, processor: Path) -> None:
    assert choose_bundle(Settings(precision="float"), "int8").bundle.name == "tiny-test-model"
    assert choose_bundle(Settings(precision="int8"), "float").bundle.name == "tiny-int8"
    assert choose_bundle(Settings(model=TINY)).bundle.name == "tiny-test-model"


def test_a_threshold_goes_with_its_model(shipped: Path, processor: Path) -> None:
    for name in ("float", "int8"):
        sha256 = load_bundle(precision=name).sha256  # type: ignore[arg-type]
        settings = Settings(threshold=0.3, threshold_model_sha256=sha256)
        for kept in (None, "float", "int8"):
            assert choose_bundle(settings, kept).bundle.card.precision == name
    with pytest.raises(UsageError, match="fitted to another model"):
        choose_bundle(Settings(threshold=0.3, threshold_model_sha256="0" * 64))


def test_a_package_without_int8(shipped: Path, processor: Path) -> None:
    (shipped / bundles.SHIPPED["int8"]).unlink()
    choice = choose_bundle(Settings(), "int8")
    assert (choice.bundle.name, choice.decided) == ("tiny-test-model", False)
    with pytest.raises(UsageError, match="no int8 model"):
        choose_bundle(Settings(precision="int8"))


def test_scan_says_which_and_stays_with_it(shipped: Path, processor: Path, tmp_path: Path) -> None:
    save(dataset(draw(1), 1), tmp_path / "studies" / "film")
    changes: dict[str, Any] = {"workers": 1}
    out = tmp_path / "out"
    first = scan([tmp_path / "studies"], out, Settings(**changes))
    assert first.model == "tiny-int8"
    assert any("int8" in notice and "VNNI" in notice for notice in first.notices)
    assert json.loads((out / "run.json").read_text())["precision"] == "int8"
    processor.write_text("flags : fpu\n")
    second = scan([tmp_path / "studies"], out, Settings(**changes))
    assert (second.model, second.examined) == ("tiny-int8", 0)
    assert not any("int8" in notice for notice in second.notices)
    third = scan([tmp_path / "studies"], out, Settings(precision="float", **changes))
    assert third.model == "tiny-test-model"
