"""Fine-tune or train a ResNet50: one page, from data to checkpoint.

Low resolution first and 224 pixels last; AdamW with a one-cycle rate a stage; bf16 and
channels_last; class-balanced loss; label smoothing; an exponential average of the weights, which
validation judges and export takes. Data order and augmentation are drawn from (seed, step), so a
run that was killed resumes and ends the same.
"""

from __future__ import annotations

import copy
import csv
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from export.augment import augment
from export.dataset import LabelledImage, load_pixels, manifest_sha256, read_labels, split_images
from export.network import Network, load_initial_weights, read_state
from screener import __version__
from screener.errors import UsageError
from screener.preprocess import PREPROCESSING


@dataclass(frozen=True, slots=True)
class Stage:
    """One resolution: `size` pixels, for `epochs` passes over the training part."""

    size: int
    epochs: float
    rate: float
    batch: int


RECIPES: dict[str, tuple[Stage, ...]] = {
    "scratch": (Stage(64, 12, 1e-3, 64), Stage(128, 4, 4e-4, 48), Stage(224, 2, 2e-4, 32)),
    "fine-tune": (Stage(128, 3, 3e-4, 32), Stage(224, 5, 1e-4, 32)),
    "smoke": (Stage(32, 1, 1e-3, 8), Stage(64, 1, 5e-4, 8)),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides how a run ends, beside the data."""

    stages: tuple[Stage, ...]
    weights: str = "scratch"
    seed: int = 1
    smoothing: float = 0.05
    weight_decay: float = 0.05
    average: float = 0.995
    evaluations_per_stage: int = 4


def learning_rate(position: float, peak: float) -> float:
    """One cycle: linear warm-up over the first fifth, then a cosine to a fiftieth of the peak."""
    if position < 0.2:
        return peak * (0.05 + 0.95 * position / 0.2)
    falling = (position - 0.2) / 0.8
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * falling)))


def train(data: Path, run: Path, recipe: Recipe, *, device: str = "auto") -> Path:
    """Train on `data`, keep everything in `run`, and return the best checkpoint.

    A run folder that holds `last.pt` is continued; with another recipe or data it is refused.

    Raises:
        UsageError: bad data, or a run folder of another recipe.
    """
    images = read_labels(data)
    parts = split_images(images, recipe.seed)
    run.mkdir(parents=True, exist_ok=True)
    chosen, local_rank, world = _device(device)
    part_pixels = {
        name: _pixels(parts[name], run / f"{name}.npz") for name in ("train", "validation")
    }
    finding = next(image.label for image in images if image.positive)
    facts = {
        "finding": finding,
        "recipe": asdict(recipe),
        "data_sha256": manifest_sha256(images),
        "counts": {
            name: {"positive": sum(i.positive for i in part), "images": len(part)}
            for name, part in parts.items()
        },
        "preprocessing": PREPROCESSING,
        "software_version": __version__,
    }
    trainer = _Trainer(run, recipe, facts, part_pixels, parts, chosen, local_rank, world)
    return trainer.run_all()


def _pixels(part: Sequence[LabelledImage], cache: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels, rejections = load_pixels(part, cache)
    bad = [(i, r) for i, r in zip(part, rejections, strict=True) if r is not None]
    if bad:
        raise UsageError(
            f"{len(bad)} images cannot be used; the first is {bad[0][0].path.name!r}",
            f"{bad[0][1].code}: scan would not score it",
            "remove them from the data",
        )
    return pixels


def _device(wanted: str) -> tuple[torch.device, int, int]:
    """The device, and under torchrun this process's rank and the number of processes."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if wanted == "auto":
        wanted = "cpu"
        if torch.cuda.is_available():
            wanted = f"cuda:{rank}"
        elif torch.backends.mps.is_available():
            wanted = "mps"
    if world > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if wanted.startswith("cuda") else "gloo")
    return torch.device(wanted), rank, world


class _Trainer:
    """The state of one run: network, its average, optimizer and step."""

    def __init__(
        self,
        run: Path,
        recipe: Recipe,
        facts: dict[str, Any],
        pixels: dict[str, np.ndarray[Any, np.dtype[np.uint8]]],
        parts: dict[str, list[LabelledImage]],
        device: torch.device,
        rank: int,
        world: int,
    ) -> None:
        self.run, self.recipe, self.facts, self.device = run, recipe, facts, device
        self.rank, self.world = rank, world
        self.pixels = pixels
        self.labels = {
            name: torch.tensor([[float(image.positive)] for image in parts[name]])
            for name in pixels
        }
        torch.manual_seed(recipe.seed)
        self.network = Network(1).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        load_initial_weights(self.network, recipe.weights)
        self.average = copy.deepcopy(self.network).eval()
        self.module: torch.nn.Module = self.network
        if world > 1:
            self.module = torch.nn.parallel.DistributedDataParallel(self.network)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        rest = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": rest, "weight_decay": 0.0},
            ],
            lr=1e-3,
        )
        positive = float(self.labels["train"].mean())
        self.positive_weight = torch.tensor(math.sqrt((1 - positive) / positive), device=device)
        self.step, self.best = 0, {"auc": 0.0, "step": 0.0}
        self._resume()

    def _resume(self) -> None:
        last = self.run / "last.pt"
        if not last.exists():
            return
        kept = torch.load(last, map_location="cpu", weights_only=True)
        if kept["facts"] != json.loads(json.dumps(self.facts)):
            raise UsageError(
                f"{str(self.run)!r} holds a run with another recipe or other data",
                mend="give another --out",
            )
        self.network.load_state_dict(kept["network"])
        self.average.load_state_dict(kept["weights"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step, self.best = kept["step"], kept["best"]
        print(f"resumed at step {self.step}", flush=True)

    def _save(self, name: str) -> None:
        if self.rank != 0:
            return
        content = {
            "facts": json.loads(json.dumps(self.facts)),
            "weights": self.average.state_dict(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        if name == "best.pt":
            content = {key: content[key] for key in ("facts", "weights", "step", "best")}
        temporary = self.run / f".{name}.tmp"
        torch.save(content, temporary)
        temporary.replace(self.run / name)

    def run_all(self) -> Path:
        steps = [
            max(1, int(stage.epochs * len(self.pixels["train"]) / (stage.batch * self.world)))
            for stage in self.recipe.stages
        ]
        begin = 0
        for number, (stage, count) in enumerate(zip(self.recipe.stages, steps, strict=True)):
            if self.step < begin + count:
                self._stage(stage, begin, count, last=number == len(steps) - 1)
            begin += count
        if not (self.run / "best.pt").exists():
            self._save("best.pt")
        return self.run / "best.pt"

    def _stage(self, stage: Stage, begin: int, count: int, *, last: bool) -> None:
        # Shrink once to a little above the stage's size; the random affine does the rest.
        images = torch.from_numpy(self.pixels["train"])
        side = min(224, int(stage.size * 1.25))
        if side < images.shape[-1]:
            images = torch.cat(
                [
                    F.interpolate(chunk[:, None].float(), (side, side), mode="area")[:, 0]
                    .round()
                    .byte()
                    for chunk in images.split(512)
                ]
            )
        every = max(1, count // self.recipe.evaluations_per_stage)
        started, first = time.monotonic(), self.step
        while self.step < begin + count:
            at = self.step - begin
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(at / count, stage.rate)
            chosen = _order(len(images), at, stage.batch, self.recipe.seed + begin, self.world)
            chosen = chosen[self.rank :: self.world]
            generator = torch.Generator().manual_seed(
                (self.recipe.seed << 32) + (self.step << 8) + self.rank
            )
            batch = augment(images[chosen][:, None].float() / 255, stage.size, generator)
            loss = self._update(batch, self.labels["train"][chosen])
            self.step += 1
            rate = (self.step - first) * stage.batch * self.world / (time.monotonic() - started)
            if self.step % 20 == 0 and self.rank == 0:
                left = (begin + count - self.step) * stage.batch * self.world / rate
                print(
                    f"step {self.step} ({at + 1}/{count} at {stage.size} px) loss {loss:.4f} "
                    f"{rate:.0f} images/s, {left / 60:.0f} min left in this stage",
                    flush=True,
                )
            if (at + 1) % every == 0 or at + 1 == count:
                self._validate(stage, loss, rate, last=last)
                self._save("last.pt")

    def _update(self, batch: Tensor, labels: Tensor) -> float:
        batch = batch.to(self.device).contiguous(memory_format=torch.channels_last)
        labels = labels.to(self.device)
        s = self.recipe.smoothing
        self.module.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type != "mps"):
            logits = self.module(batch)
        loss = F.binary_cross_entropy_with_logits(
            logits.float(), labels * (1 - s) + s / 2, pos_weight=self.positive_weight
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        # A short memory at first, or the random start would linger in the average.
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(
                self.average.state_dict().values(), self.network.state_dict().values(), strict=True
            )
            for kept, new in pairs:
                if kept.dtype.is_floating_point:
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)
        return float(loss.detach())

    def _validate(self, stage: Stage, loss: float, rate: float, *, last: bool) -> None:
        logits = predict(self.average, self.pixels["validation"], stage.size, self.device)
        labels = self.labels["validation"][:, 0].numpy() > 0.5
        auc = rank_auc(logits[:, 0], labels)
        # Only the last stage sees what the exported network will see.
        if last and auc >= self.best["auc"]:
            self.best = {"auc": auc, "step": float(self.step)}
            self._save("best.pt")
        row = {
            "step": self.step,
            "size": stage.size,
            "loss": f"{loss:.4f}",
            "validation_auc": f"{auc:.5f}",
            "images_per_s": f"{rate:.1f}",
        }
        if self.rank != 0:
            return
        print(f"step {self.step}: validation AUC {auc:.4f} at {stage.size} px", flush=True)
        log = self.run / "log.csv"
        fresh = not log.exists()
        with log.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        _tensorboard(self.run, {"validation/auc": auc, "train/loss": loss}, self.step)


def _tensorboard(run: Path, values: dict[str, float], step: int) -> None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return
    with SummaryWriter(run / "tensorboard") as writer:  # type: ignore[no-untyped-call]
        for name, value in values.items():
            writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]


def _order(images: int, at: int, batch: int, seed: int, world: int) -> Tensor:
    """The indices of step `at`: a stream of whole shuffles, found without replaying the past."""
    wanted = torch.arange(at * batch * world, (at + 1) * batch * world)
    epochs = (wanted // images).tolist()
    shuffles = {
        epoch: torch.randperm(images, generator=torch.Generator().manual_seed(seed * 1009 + epoch))
        for epoch in set(epochs)
    }
    return torch.stack([shuffles[e][i] for e, i in zip(epochs, (wanted % images).tolist(), strict=True)])


@torch.inference_mode()
def predict(
    network: Network,
    pixels: np.ndarray[Any, np.dtype[np.uint8]],
    size: int,
    device: torch.device,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Logits float32 (N, K) of uint8 (N, 224, 224), shrunk to `size` by area first."""
    network.eval()
    out = []
    for chunk in torch.from_numpy(pixels).split(64):
        batch = chunk[:, None].float() / 255
        if size != batch.shape[-1]:
            batch = F.interpolate(batch, (size, size), mode="area")
        batch = batch.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "mps"):
            out.append(network(batch).float().cpu())
    return torch.cat(out).numpy()


def rank_auc(scores: np.ndarray[Any, Any], positive: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Area under the ROC curve by scikit-learn."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, scores))


def load_network(checkpoint: Path) -> tuple[Network, dict[str, Any]]:
    """The averaged network of a checkpoint, in eval mode, and the facts of its run."""
    state = read_state(checkpoint)
    if "backbone.fc.weight" not in state:
        raise UsageError(f"{str(checkpoint)!r} is no checkpoint of `screener train`")
    network = Network(state["backbone.fc.weight"].shape[0])
    network.load_state_dict(state)
    facts = torch.load(checkpoint, map_location="cpu", weights_only=True)["facts"]
    return network.eval(), facts
