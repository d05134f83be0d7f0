"""What lies around a scan: models and checkpoints of strangers, the network, words that get out."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, external_data_helper

from screener.errors import UsageError
from tests.conftest import Run
from tests.faults.nights import TABLES, Scene, command, environment, make_scene, normal, run
from tests.faults.seeds import CANARY, NAMES, seed
from tests.faults.test_runs import IN_A_NAMESPACE, needs_mount
from tests.films import TINY, dataset, draw, save

WORD = CANARY.partition("^")[0]


def test_weights_beside_a_model_are_not_read(run_screener: Run, tmp_path: Path) -> None:
    """ONNX Runtime itself loads what a hard link leads to."""
    (tmp_path / "secret").write_bytes(bytes(1 << 20))
    os.link(tmp_path / "secret", tmp_path / "weights")
    model = onnx.load(TINY)
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    assert tensor.data_type == TensorProto.FLOAT
    external_data_helper.set_external_data(tensor, "weights", 0, len(tensor.raw_data))
    tensor.ClearField("raw_data")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "studies").mkdir()
    done = run_screener("scan", "studies", "--out", "out", "--model", "model.onnx")
    assert done.returncode == 2
    assert "data outside the file" in done.stderr
    assert not (tmp_path / "out").exists()


class Command:
    """What a pickle of a stranger does when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed: extra `train`")
def test_a_checkpoint_runs_nothing(tmp_path: Path) -> None:
    import torch

    from export.initial_weights import read_state

    torch.save({"weights": Command(tmp_path / "ran")}, tmp_path / "last.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Command(tmp_path / "ran")))
    for name in ("last.pt", "bare.pt"):
        with pytest.raises(UsageError, match="not a readable checkpoint"):
            read_state(tmp_path / name)
        assert not (tmp_path / "ran").exists()
    # The same file does run its command where nobody asks for weights alone.
    torch.load(tmp_path / "last.pt", weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("nights"))


@needs_mount
@pytest.mark.parametrize(
    "words",
    [
        ("explain", "{out}", "{odd}"),
        ("purge", "--patient", "{odd}", "--out", "{out}"),
        ("purge", "--patient", "1", "--issuer", "{odd}", "--out", "{out}"),
        ("scan", "{studies}", "--out", "{out}", "--since", "{odd}"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_words_that_are_no_text(words: tuple[str, ...], scene: Scene, tmp_path: Path) -> None:
    out, odd = scene.start(tmp_path / "out"), os.fsdecode(b"\x1b[31m\xff")
    command = [each.format(out=out, odd=odd, studies=scene.studies) for each in words]
    done = subprocess.run(
        [sys.executable, "-m", "screener", *command],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "a bug" not in done.stderr
    assert "\x1b" not in done.stderr


def test_what_is_typed_in_another_locale_is_meant(tmp_path: Path) -> None:
    studies, out, who = tmp_path / "studies", tmp_path / "out", "J\u00fcrg 1"
    film = dataset(draw(1, size=160), 1, SpecificCharacterSet="ISO_IR 192", PatientID=who)
    save(film, studies / "a")
    assert run(studies, out).returncode == 0
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for words in (("explain", str(out), who), ("purge", "--patient", who, "--out", str(out))):
        done = subprocess.run(
            [sys.executable, "-m", "screener", *words],
            capture_output=True, check=False, env=environment() | plain,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert b"forgot 1 image of 1 study;" in done.stdout


def test_a_scan_needs_no_network(scene: Scene, tmp_path: Path) -> None:
    """In a namespace that has no interface at all, not even the loopback."""
    out = scene.start(tmp_path / "out")
    done = subprocess.run(
        [*IN_A_NAMESPACE, "--net", *command(scene.studies, out)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    for name in TABLES:
        assert normal((out / name).read_bytes()) == scene.expected[name]


def test_no_word_of_a_file_and_no_path_gets_out(run_screener: Run, tmp_path: Path) -> None:
    """Canaries in the texts, names and folders of whole and of cut files."""
    folder = tmp_path / "studies" / f"{WORD} ward"
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / f"{WORD} {name}").write_bytes(seed(name))
        (folder / f"{WORD} cut {name}").write_bytes(seed(name)[:700])
    done = run_screener("scan", "studies", "--out", "out", "--model", TINY, "--log", "log")
    assert done.returncode == 3, done.stderr
    log = (tmp_path / "log").read_text(encoding="ascii")
    assert len(log.splitlines()) >= 2
    for text in (log, done.stdout, done.stderr):
        assert WORD not in text
    assert WORD in (tmp_path / "out" / "triage.csv").read_text(encoding="utf-8")
