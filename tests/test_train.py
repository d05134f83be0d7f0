"""Training: refused before it starts where the data is bad; killed and resumed it ends the same."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from tensorboard.backend.event_processing.event_accumulator import (  # noqa: E402
    EventAccumulator,
)

from export.checkpoint import decisive, read_last  # noqa: E402
from export.devices import Place, find_place, has_bf16  # noqa: E402
from export.prediction import load_network, predict  # noqa: E402
from export.recipe import RECIPES, Recipe, Stage, learning_rate  # noqa: E402
from export.run_log import FIELDS, Clock, RunLog  # noqa: E402
from export.sampling import shrink, step_order, training_pool  # noqa: E402
from export.train import train  # noqa: E402
from export.trainer import Trainer  # noqa: E402
from screener.errors import RunError, UsageError  # noqa: E402
from tests.films import draw, save_png  # noqa: E402

RECIPE = Recipe(
    (Stage(32, 1, 1e-3, 4), Stage(48, 0.5, 5e-4, 4)),
    evaluations_per_stage=1,
    drop_path=0.3,
    mixup=0.2,
    cutmix=1.0,
    strength=0.7,
    tail=0.5,
)
"""Everything that draws at random is on, so that a resumed run proves that all of it is seeded."""
STEPS = 4 + 2
KILLED = """
import sys
from pathlib import Path
import torch
from export.train import train
from tests.test_train import RECIPE
torch.set_num_threads(1)
train(Path(sys.argv[1]), Path(sys.argv[2]), RECIPE, device="cpu", checkpoint_steps=2, tell=print)
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another are slow where other tests keep the processor busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 images to train on, 4 in each other split."""
    folder = tmp_path_factory.mktemp("data")
    rows = ["file,label,split"]
    for i in range(28):
        positive = i % 2 == 0
        save_png(draw(i, severity=-2.0 if positive else 1.0, size=128), folder / f"{i}.png")
        split = "train" if i < 16 else ("validation", "calibration", "test")[(i - 16) // 4]
        rows.append(f"{i}.png,{'covid' if positive else 'normal'},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run that nothing disturbed, and what it said."""
    run = tmp_path_factory.mktemp("whole")
    said: list[str] = []
    best = train(data, run, RECIPE, device="cpu", checkpoint_steps=2, tell=said.append)
    assert best == run / "best.pt"
    return run, said


def test_progress_line_a_step(whole: tuple[Path, list[str]]) -> None:
    steps = [line for line in whole[1] if re.match(r"step \d+ \(", line)]
    assert len(steps) == STEPS
    for line in steps:
        assert re.search(r"loss \d+\.\d{4} \d+ images/s, \d+ min left$", line)
    assert "at 32 px" in steps[0]
    assert "at 48 px" in steps[-1]


def test_log_has_a_row_a_validation(whole: tuple[Path, list[str]]) -> None:
    with (whole[0] / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["step"], row["size"]) for row in rows] == [("4", "32"), ("6", "48")]
    assert all(0 <= float(row["validation_auc"]) <= 1 for row in rows)


def test_checkpoint_says_what_it_was_made_from(whole: tuple[Path, list[str]]) -> None:
    network, facts = load_network(whole[0] / "best.pt")
    assert not network.training
    assert facts["finding"] == "covid"
    assert facts["counts"]["train"] == {"positive": 8, "images": 16}
    assert facts["recipe"]["seed"] == 1
    assert facts["preprocessing"]["size"] == 224
    pixels = np.zeros((2, 224, 224), np.uint8)
    assert predict(network, pixels, 32, torch.device("cpu")).shape == (2, 1)


def test_killed_and_resumed_it_ends_the_same(
    whole: tuple[Path, list[str]], data: Path, tmp_path: Path
) -> None:
    shutil.copy(whole[0] / "pixels.npz", tmp_path)
    command = [sys.executable, "-u", "-c", KILLED, str(data), str(tmp_path)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        for line in process.stdout:
            # Step 3 is done and not saved; step 2 is.
            if line.startswith("step 3 ("):
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    # What a kill in the middle of the log may leave.
    (tmp_path / "log.csv").write_text(",".join(FIELDS) + "\n4,32,0.5,0.5,1.0\n6,4")

    said: list[str] = []
    train(data, tmp_path, RECIPE, device="cpu", checkpoint_steps=2, tell=said.append)
    assert said[0] == "resumed at step 2"
    for name in ("last.pt", "best.pt"):
        kept, expected = (
            torch.load(folder / name, weights_only=True) for folder in (tmp_path, whole[0])
        )
        assert kept["step"] == expected["step"]
        assert kept["best"] == expected["best"]
        for part in {"weights", "network"} & set(expected):
            for key, value in expected[part].items():
                assert torch.equal(kept[part][key], value), (name, part, key)
    rows = [(tmp_path / "log.csv"), (whole[0] / "log.csv")]
    columns = [[line.split(",")[:4] for line in path.read_text().splitlines()] for path in rows]
    assert columns[0] == columns[1]


@pytest.mark.parametrize(("judged", "kept_step"), [((0.9, 0.5), 0), ((0.5, 0.9), 2)])
def test_given_weights_that_training_does_not_better_are_kept(
    whole: tuple[Path, list[str]],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    judged: tuple[float, float],
    kept_step: int,
) -> None:
    shutil.copy(whole[0] / "pixels.npz", tmp_path)
    given = str(whole[0] / "best.pt")
    areas = iter(judged)
    monkeypatch.setattr("export.trainer.rank_auc", lambda *_: next(areas))
    recipe = replace(RECIPE, stages=(Stage(48, 0.5, 1e-2, 4),), weights=given)
    said: list[str] = []
    best = train(data, tmp_path, recipe, device="cpu", tell=said.append)
    assert said[0] == f"step 0: validation AUC {judged[0]:.4f} at 48 px, as given"
    kept, start = (torch.load(path, weights_only=True) for path in (best, given))
    assert kept["best"] == {"auc": max(judged), "step": kept_step}
    same = [torch.equal(kept["weights"][key], value) for key, value in start["weights"].items()]
    assert all(same) is (kept_step == 0)


def test_a_finished_run_is_not_repeated_and_another_is_refused(
    whole: tuple[Path, list[str]], data: Path
) -> None:
    said: list[str] = []
    before = (whole[0] / "best.pt").stat().st_mtime_ns
    assert train(data, whole[0], RECIPE, device="cpu", tell=said.append) == whole[0] / "best.pt"
    assert said == [f"resumed at step {STEPS}"]
    assert (whole[0] / "best.pt").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"another recipe .*smoothing is 0\.05 there, 0\.1 here"):
        train(data, whole[0], replace(RECIPE, smoothing=0.1), device="cpu", tell=said.append)


def test_a_refused_run_is_told_in_what_it_differs(whole: tuple[Path, list[str]]) -> None:
    facts = torch.load(whole[0] / "last.pt", weights_only=True)["facts"]
    assert read_last(whole[0], facts) is not None
    changed = {
        "1 processes there, 2 here": {"world": 2},
        "of the data differ": {"data_sha256": "0"},
        "another preprocessing": {"preprocessing": {}},
        "other stages": {"recipe": facts["recipe"] | {"stages": []}},
    }
    for words, other in changed.items():
        with pytest.raises(UsageError, match=words):
            read_last(whole[0], facts | other)


@pytest.mark.parametrize("left", [b"", b"PK\x03\x04 cut", None])
def test_a_damaged_checkpoint_is_told_with_its_mend(
    whole: tuple[Path, list[str]], tmp_path: Path, left: bytes | None
) -> None:
    facts = torch.load(whole[0] / "last.pt", weights_only=True)["facts"]
    if left is None:
        torch.save({"facts": facts}, tmp_path / "last.pt")
    else:
        (tmp_path / "last.pt").write_bytes(left)
    with pytest.raises(UsageError, match=r"last\.pt.*remove it to begin the run anew"):
        read_last(tmp_path, facts)


def test_a_run_of_before_an_option_was_there_goes_on() -> None:
    old = asdict(RECIPE)
    del old["balance"], old["patience"]
    facts = {"data_sha256": "1", "preprocessing": {}}
    assert decisive({**facts, "recipe": old}) == decisive({**facts, "recipe": asdict(RECIPE)})
    other = asdict(replace(RECIPE, balance="none"))
    assert decisive({**facts, "recipe": old}) != decisive({**facts, "recipe": other})
    assert decisive({**facts, "recipe": old}) != decisive({**facts, "recipe": old, "world": 2})


@pytest.mark.parametrize("full", [".last.pt.tmp", ".best.pt.tmp"])
def test_a_full_disk_is_told_and_the_run_goes_on(
    whole: tuple[Path, list[str]], data: Path, tmp_path: Path, full: str
) -> None:
    (tmp_path / full).symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"cannot be written to No space left .* goes on"):
        train(data, tmp_path, RECIPE, device="cpu", checkpoint_steps=2, tell=lambda _: None)
    (tmp_path / full).unlink()
    train(data, tmp_path, RECIPE, device="cpu", checkpoint_steps=2, tell=lambda _: None)
    kept, expected = (
        torch.load(run / "best.pt", weights_only=True)["weights"] for run in (tmp_path, whole[0])
    )
    assert all(torch.equal(kept[name], value) for name, value in expected.items())


def test_a_run_that_is_no_folder_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UsageError, match="nothing can be written to the folder"):
        train(data, tmp_path / "run", RECIPE, device="cpu")


def test_a_run_in_the_class_folders_is_refused(tmp_path: Path) -> None:
    for label in ("covid", "normal"):
        (tmp_path / label).mkdir()
    for inside in (tmp_path, tmp_path / "run", tmp_path / "covid" / ".." / "normal"):
        with pytest.raises(UsageError, match="lies in the data"):
            train(tmp_path, inside, RECIPE, device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["covid", "normal"]


def test_a_run_that_diverges_is_told_and_not_saved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Trainer._update

    def diverge(self: Trainer, *args: Any) -> Any:
        return update(self, *args) * (float("nan") if self.step == 3 else 1)

    monkeypatch.setattr(Trainer, "_update", diverge)
    with pytest.raises(RunError, match=r"diverged.* at step 4 .*rate .*0\.001.* is too high"):
        train(data, tmp_path, RECIPE, device="cpu", checkpoint_steps=1, tell=lambda _: None)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 3


def test_a_checkpoint_with_a_flipped_bit_is_refused(
    whole: tuple[Path, list[str]], tmp_path: Path
) -> None:
    content = bytearray((whole[0] / "best.pt").read_bytes())
    content[len(content) // 2] ^= 0x70
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(UsageError, match="is not a readable checkpoint"):
        load_network(tmp_path / "best.pt")


def test_bad_data_is_told_before_training(data: Path, tmp_path: Path) -> None:
    bad = tmp_path / "data"
    shutil.copytree(data, bad)
    (bad / "27.png").write_bytes((data / "27.png").read_bytes()[:500])
    with pytest.raises(UsageError, match=r"1 of 28 images .*27\.png.*TRUNCATED"):
        train(bad, tmp_path / "run", RECIPE, device="cpu")
    (bad / "27.png").write_bytes((data / "0.png").read_bytes())
    with pytest.raises(UsageError, match="the same file with two labels"):
        train(bad, tmp_path / "run", RECIPE, device="cpu")
    (bad / "27.png").write_bytes((data / "1.png").read_bytes())
    with pytest.raises(UsageError, match="in two splits"):
        train(bad, tmp_path / "run", RECIPE, device="cpu")
    with pytest.raises(UsageError, match="no device 'gpu'"):
        train(data, tmp_path / "run", RECIPE, device="gpu")
    assert not (tmp_path / "run" / "last.pt").exists()


def test_rate_rises_once_and_falls() -> None:
    rates = [learning_rate(i / 100, 1.0) for i in range(101)]
    peak = rates.index(max(rates))
    assert 0.19 <= peak / 100 <= 0.21
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert (rates[0], rates[-1]) == (pytest.approx(0.05), pytest.approx(0.02))
    assert max(rates) == pytest.approx(1.0)


def test_order_is_whole_shuffles_of_seed_and_step() -> None:
    stream = torch.cat([step_order(10, at, 4, seed=3) for at in range(5)]).tolist()
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))
    assert stream[:10] != stream[10:]
    assert step_order(10, 2, 4, seed=3).tolist() == stream[8:12]
    assert step_order(10, 2, 4, seed=4).tolist() != stream[8:12]


def test_pool_balances_by_repeating_the_rare_class() -> None:
    positive = torch.tensor([True] + [False] * 5 + [True])
    assert training_pool(positive, upsample=False).tolist() == list(range(7))
    pool = training_pool(positive, upsample=True)
    assert len(pool) == 10
    assert positive[pool].sum() == 5
    assert set(pool.tolist()) == set(range(7))
    assert len(training_pool(~positive, upsample=True)) == 10


def test_shrink_leaves_room_for_the_affine() -> None:
    images = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8)
    assert shrink(images, 64).shape == (3, 80, 80)
    assert shrink(images, 64).dtype == torch.uint8
    assert shrink(images, 224) is images
    # 1.25 * 112 = 140 = 224 * 5 / 8: the mean is kept.
    assert float(shrink(images, 112).float().mean()) == pytest.approx(
        float(images.float().mean()), abs=0.5
    )


def test_patience_ends_the_last_stage() -> None:
    trainer = Trainer.__new__(Trainer)
    trainer.recipe, trainer.best = replace(RECIPE, patience=2), {"auc": 0.9, "step": 30.0}
    for step, stale in ((30, False), (49, False), (50, True)):
        trainer.step = step
        assert trainer._stale(begin=20, every=10) is stale
    # What the run was given is still the best: two validations of this stage were no better.
    trainer.best = {"auc": 0.9, "step": 0.0}
    for step, stale in ((30, False), (40, True)):
        trainer.step = step
        assert trainer._stale(begin=20, every=10) is stale
    trainer.recipe = RECIPE
    trainer.best = {"auc": 0.9, "step": 21.0}
    assert not trainer._stale(begin=20, every=10)


def test_log_drops_what_will_be_repeated(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0)
    for step in (10, 20, 30):
        log.add(step, 64, 0.5, 0.9, 100.0)
    log.close()
    # TensorBoard orders its files by the second, within one by a count as text: 10 before 9.
    time.sleep(1 - time.time() % 1)
    log = RunLog(tmp_path, 20)
    log.add(25, 64, 0.4, 0.91, 100.0)
    log.close()
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines == [
        "step,size,loss,validation_auc,images_per_s",
        "10,64,0.5000,0.90000,100.0",
        "20,64,0.5000,0.90000,100.0",
        "25,64,0.4000,0.91000,100.0",
    ]
    # TensorBoard shows the same.
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = board.Scalars("validation/auc")
    assert [(event.step, round(event.value, 5)) for event in shown] == [
        (10, 0.9),
        (20, 0.9),
        (25, 0.91),
    ]


def test_clock_weighs_the_work_that_is_left() -> None:
    clock = Clock([1.0] * 10 + [4.0] * 10, 5)
    assert clock.left_s(5) == 0
    clock._begin -= 10
    # Five units took ten seconds; forty are left.
    assert clock.left_s(10) == pytest.approx(80, rel=0.01)
    assert clock.left_s(20) == 0


def test_place_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with find_place("cpu") as place:
        assert place == Place(torch.device("cpu"), 0, 1)
        assert place.first
        assert place.agree(0.25) == 0.25
    assert not has_bf16(torch.device("mps"))
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no device 'cuda:1' here"), find_place("cuda:1"):
            pass


def test_recipes_end_at_the_size_of_the_model() -> None:
    for name, recipe in RECIPES.items():
        sizes = [stage.size for stage in recipe.stages]
        assert sizes == sorted(sizes)
        assert sizes[-1] == 224 or name == "smoke"


def test_the_log_needs_no_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = RunLog(tmp_path, 0)
    log.add(10, 64, 0.5, 0.9, 100.0)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_the_others_wait_long_for_the_films_and_end_where_they_cannot_be_used(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    joined: dict[str, Any] = {}
    distributed = "torch.distributed."
    monkeypatch.setattr(
        distributed + "init_process_group", lambda backend, **kw: joined.update(kw, backend=backend)
    )
    monkeypatch.setattr(distributed + "destroy_process_group", lambda: None)
    # The first process says that it cannot go on.
    monkeypatch.setattr(distributed + "broadcast", lambda shared, _: shared.zero_())
    with pytest.raises(UsageError, match="the first process cannot use the data"):
        train(data, tmp_path / "run", RECIPE, device="cpu")
    assert joined["backend"] == "gloo"
    # A hundred thousand DICOM files on four cores.
    assert joined["timeout"] >= timedelta(hours=12)
    assert not (tmp_path / "run" / "pixels.npz").exists()


@pytest.mark.long
def test_two_processes_under_torchrun(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # As the README gives it.
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, "-m", *launcher, "-m", "screener", "train", str(data)]
    options = ["--out", str(run), "--recipe", "smoke", "--device", "cpu"]
    stages = "stages=32:1:1e-3:4,48:0.5:5e-4:4"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [*command, *options, "--set", stages, "--set", "mixup=0.2"],
        capture_output=True,
        text=True,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # Twice the images a step, half the steps; one process speaks and writes.
    steps = [line for line in done.stderr.splitlines() if re.match(r"step \d+ \(", line)]
    assert [line.split(" loss")[0] for line in steps] == [
        "step 1 (1/2 at 32 px)",
        "step 2 (2/2 at 32 px)",
        "step 3 (1/1 at 48 px)",
    ]
    facts = load_network(run / "best.pt")[1]
    assert (facts["world"], facts["recipe"]["mixup"]) == (2, 0.2)
    assert done.stdout.count("checkpoint ") == 1
