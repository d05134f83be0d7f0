"""The bundle is checked before it runs; the session gives the same, whatever the batch."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from export.tiny import make_tiny
from screener.bundle import Bundle, graph_sha256, load_bundle, set_card, with_card
from screener.classifier import Classifier
from screener.classifier_providers import (
    BATCH,
    CPU,
    PROVIDERS,
    check_installation,
    choose_providers,
    provider_options,
)
from screener.errors import GpuRequiredError, RunError, UsageError
from screener.model_card import CARD_KEY, write_card
from screener.verify import verify_bundle, verify_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = Path(__file__).parent / "data" / "tiny.onnx"
GPU_USABLE = bool(choose_providers("auto")[0])


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(TINY)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(7).random((11, 224, 224), dtype=np.float32)


def test_the_committed_file_is_what_its_script_writes() -> None:
    assert make_tiny() == TINY.read_bytes()
    assert TINY.stat().st_size < 100_000


def test_the_hash_is_of_the_bytes_that_run(bundle: Bundle) -> None:
    assert bundle.sha256 == hashlib.sha256(TINY.read_bytes()).hexdigest()
    assert bundle.content == TINY.read_bytes()
    assert bundle.name == "tiny-test-model"


def test_scores_do_not_depend_on_the_batch(bundle: Bundle, pixels: np.ndarray) -> None:
    by_batch = [Classifier(bundle, "cpu", batch=batch).run(pixels) for batch in (1, 4, 16)]
    for outputs in by_batch[1:]:
        for name in ("cam", "logit", "score", "novelty"):
            np.testing.assert_array_equal(getattr(outputs, name), getattr(by_batch[0], name))


def test_the_identities_hold(bundle: Bundle, pixels: np.ndarray) -> None:
    outputs = Classifier(bundle, "cpu").run(pixels)
    (k,) = bundle.card.calibration
    np.testing.assert_allclose(outputs.cam.mean((2, 3)) + k.b, outputs.logit, atol=1e-5)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-(k.a * outputs.logit + k.c))), outputs.score, atol=1e-6
    )


def test_scores_are_rounded_and_plain(bundle: Bundle, pixels: np.ndarray) -> None:
    classifier = Classifier(bundle, "cpu")
    (first, *_) = classifier.score(pixels[:2])
    assert first.scores == (round(first.scores[0], 4),)
    assert type(first.scores[0]) is float
    assert type(first.logits[0]) is float
    assert type(first.novelty) is float
    assert first.cam.shape == (1, 7, 7)
    assert first.cam.dtype == np.float32


def test_no_images_give_no_scores(bundle: Bundle) -> None:
    assert Classifier(bundle, "cpu").score(np.zeros((0, 224, 224), np.float32)) == []


def test_other_shapes_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="not \\(n, 224, 224\\)"):
        Classifier(bundle, "cpu").score(np.zeros((1, 112, 112), np.float32))


def test_what_is_no_number_is_never_a_negative(bundle: Bundle) -> None:
    broken = np.full((1, 224, 224), np.nan, np.float32)
    with pytest.raises(RunError, match="not finite"):
        Classifier(bundle, "cpu").score(broken)


def _rename_operator(model: ModelProto) -> None:
    model.graph.node[0].op_type = "NonZero"


def _add_loop(model: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["looped"], body=body))


def _hide_subgraph(model: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("then_branch", body))


def _add_domain(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.evil", 1))


def _use_domain(model: ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def _add_function(model: ModelProto) -> None:
    model.functions.add(name="f", domain="x")


def _move_data_outside(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _hide_data_outside(model: ModelProto) -> None:
    tensor = TensorProto(data_type=1, data_location=TensorProto.EXTERNAL)
    model.graph.node.append(helper.make_node("Constant", [], ["extra"], value=tensor))


def _rename_input(model: ModelProto) -> None:
    model.graph.input[0].name = "image"


def _fix_batch(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _shrink_input(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 112


def _drop_output(model: ModelProto) -> None:
    del model.graph.output[-1]


def _halve_output(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def _drop_card(model: ModelProto) -> None:
    del model.metadata_props[:]


def _double_card(model: ModelProto) -> None:
    model.metadata_props.append(model.metadata_props[0])


def _change_weight(model: ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "head.b")
    tensor.raw_data = np.float32([0.5]).tobytes()


def _change_preprocessing(model: ModelProto) -> None:
    (entry,) = model.metadata_props
    entry.value = entry.value.replace('"area"', '"bilinear"')


def _change_input_text(model: ModelProto) -> None:
    (entry,) = model.metadata_props
    entry.value = entry.value.replace("MONOCHROME2, air dark", "MONOCHROME1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rename_operator, "the operator 'NonZero'"),
        (_add_loop, "the operator 'Loop'"),
        (_hide_subgraph, "a subgraph"),
        (_add_domain, "domain 'com.evil'"),
        (_use_domain, "domain 'com.microsoft'"),
        (_add_function, "functions"),
        (_move_data_outside, "outside the file"),
        (_hide_data_outside, "outside the file"),
        (_rename_input, "inputs are image, not pixels"),
        (_fix_batch, "input 'pixels' is not float32"),
        (_shrink_input, "input 'pixels' is not float32"),
        (_drop_output, "outputs are cam, logit, score, not"),
        (_halve_output, "output 'cam' is not float32"),
        (_drop_card, "0 model cards"),
        (_double_card, "2 model cards"),
        (_change_weight, "graph is not the one"),
        (_change_preprocessing, "another preprocessing.*bilinear"),
        (_change_input_text, "another input.*MONOCHROME1"),
    ],
)
def test_a_model_that_could_do_harm_is_refused(
    tmp_path: Path, change: Callable[[ModelProto], None], message: str
) -> None:
    model = onnx.load_model_from_string(make_tiny())
    change(model)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=message):
        load_bundle(path)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07", b"\x00" * 1000])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"not an ONNX file|is empty"):
        load_bundle(path)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such model"):
        load_bundle(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="no such model"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("cut", [10, 1000, 4000])
def test_a_cut_model_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_tiny()[:-cut])
    with pytest.raises(UsageError):
        load_bundle(path)


def test_a_card_can_be_replaced_and_the_graph_stays(bundle: Bundle, tmp_path: Path) -> None:
    changed = dataclasses.replace(bundle.card, name="site-model")
    path = tmp_path / "model.onnx"
    path.write_bytes(with_card(bundle, changed))
    again = load_bundle(path)
    assert again.card == changed
    assert again.sha256 != bundle.sha256
    model = onnx.load_model_from_string(again.content)
    assert [entry.key for entry in model.metadata_props] == [CARD_KEY]
    assert graph_sha256(model) == bundle.card.graph_sha256


def test_a_model_with_a_graph_that_cannot_run_is_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(make_tiny())
    for node in model.graph.node:
        if node.name == "block":
            node.input[0] = "nothing"
    card = load_bundle(TINY).card
    set_card(model, dataclasses.replace(card, graph_sha256=graph_sha256(model)))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match="ONNX Runtime refuses"):
        Classifier(load_bundle(path), "cpu")


def test_verify_finds_nothing_wrong_with_a_good_bundle(bundle: Bundle) -> None:
    checks = verify_bundle(bundle)
    assert [check for check in checks if not check.ok] == []
    assert len(checks) >= 10


def test_verify_finds_a_card_that_contradicts_the_graph(bundle: Bundle) -> None:
    (k,) = bundle.card.calibration
    lying = dataclasses.replace(bundle.card, calibration=(dataclasses.replace(k, b=k.b + 0.1),))
    failed = [c.name for c in verify_bundle(dataclasses.replace(bundle, card=lying)) if not c.ok]
    assert failed == ["mean(cam) + b = logit"]
    wrong_hash = dataclasses.replace(bundle, sha256="0" * 64)
    assert [c.name for c in verify_bundle(wrong_hash) if not c.ok] == ["hash"]


def hostile_bundle(doublings: int) -> Bundle:
    """A bundle that doubles its input's first axis so many times, and then runs on as before."""
    model = onnx.load_model_from_string(make_tiny())
    graph = model.graph
    name, nodes = "pixels", []
    for number in range(doublings):
        nodes.append(helper.make_node("Concat", [name, name], [f"double{number}"], axis=0))
        name = f"double{number}"
    for node in graph.node:
        for index, each in enumerate(node.input):
            if each == "pixels":
                node.input[index] = name
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    card = load_bundle(TINY).card
    set_card(model, dataclasses.replace(card, graph_sha256=graph_sha256(model)))
    content = model.SerializeToString()
    return Bundle(content, hashlib.sha256(content).hexdigest(), card, "hostile")


def test_verify_in_a_child_says_what_it_says_here(bundle: Bundle) -> None:
    assert verify_in_child(bundle) == verify_bundle(bundle)


@pytest.mark.parametrize(("doublings", "limits"), [(16, {}), (9, {"seconds": 1})])
def test_a_model_that_eats_memory_or_time_costs_a_child(
    doublings: int, limits: dict[str, int]
) -> None:
    with pytest.raises(UsageError, match="crashed, or ran into a limit"):
        verify_in_child(hostile_bundle(doublings), **limits)


def test_a_model_that_cannot_run_is_told_from_the_child(bundle: Bundle) -> None:
    broken = dataclasses.replace(bundle, content=bundle.content[:100])
    with pytest.raises(UsageError):
        verify_in_child(broken)


@pytest.mark.skipif(GPU_USABLE, reason="a GPU is usable here")
def test_without_a_gpu_one_line_says_so_and_a_required_one_is_an_error(bundle: Bundle) -> None:
    classifier = Classifier(bundle, "auto")
    assert classifier.provider == CPU
    assert classifier.notice.startswith("runs on the processor (")
    assert "\n" not in classifier.notice
    assert Classifier(bundle, "cpu").notice == ""
    with pytest.raises(GpuRequiredError) as raised:
        Classifier(bundle, "cuda", require_gpu=True)
    assert raised.value.exit_code == 5
    assert raised.value.why
    assert "pip install" in raised.value.mend


def test_a_required_gpu_contradicts_the_processor(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="contradicts"):
        Classifier(bundle, "cpu", require_gpu=True)


def test_nothing_is_written_to_stderr() -> None:
    code = (
        "import sys, numpy; from pathlib import Path; from screener.bundle import load_bundle;"
        "from screener.classifier import Classifier;"
        "c = Classifier(load_bundle(Path(sys.argv[1])));"
        "c.score(numpy.zeros((1, 224, 224), 'float32'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(TINY)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def _distribution(folder: Path, name: str) -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")


def test_two_distributions_of_onnx_runtime_are_refused(tmp_path: Path) -> None:
    check_installation([str(tmp_path)])
    _distribution(tmp_path, "onnxruntime-gpu")
    check_installation([str(tmp_path)])
    _distribution(tmp_path, "onnxruntime")
    with pytest.raises(UsageError, match=r"pip uninstall -y onnxruntime onnxruntime-gpu.*install"):
        check_installation([str(tmp_path)])


def test_importing_the_module_loads_no_onnxruntime() -> None:
    code = (
        "import sys, screener.classifier, screener.verify, screener.bundle;"
        "print([m for m in ('onnxruntime', 'onnx', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_card_is_in_the_file_as_text(bundle: Bundle) -> None:
    assert write_card(bundle.card).encode() in bundle.content


def test_each_provider_has_a_batch_and_its_options(tmp_path: Path) -> None:
    cuda, tensorrt = PROVIDERS["cuda"], PROVIDERS["tensorrt"]
    assert BATCH.keys() == {CPU, cuda, tensorrt}
    assert provider_options(CPU, tmp_path, "a" * 64, "1.24.0") == {}
    assert provider_options(cuda, tmp_path, "a" * 64, "1.24.0") == provider_options(
        cuda, None, "b" * 64, "1.25.0"
    )
    plain = provider_options(tensorrt, None, "a" * 64, "1.24.0")
    assert plain == {"trt_fp16_enable": "True"}
    folders = {
        provider_options(tensorrt, tmp_path, sha256, runtime)["trt_engine_cache_path"]
        for sha256 in ("a" * 64, "b" * 64)
        for runtime in ("1.24.0", "1.25.0")
    }
    # An engine of another model or runtime is never taken.
    assert len(folders) == 4
    assert all(Path(folder).parent == tmp_path for folder in folders)
    cached = provider_options(tensorrt, tmp_path, "a" * 64, "1.24.0")
    assert cached.keys() > plain.keys()
    assert {name for name, value in cached.items() if value == "True"} == {
        "trt_fp16_enable", "trt_engine_cache_enable", "trt_timing_cache_enable",
    }  # fmt: skip


def test_a_bound_session_gives_what_an_unbound_one_gives(bundle: Bundle) -> None:
    pixels = np.random.default_rng(4).random((7, 224, 224), dtype=np.float32)
    plain, bound = Classifier(bundle, "cpu", batch=3), Classifier(bundle, "cpu", batch=3)
    bound._binding = bound._bind("cpu")
    for ours, theirs in zip(
        dataclasses.astuple(plain.run(pixels)), dataclasses.astuple(bound.run(pixels)), strict=True
    ):
        assert np.array_equal(ours, theirs)
