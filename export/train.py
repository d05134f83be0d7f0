"""Fine-tune or train a ResNet50: one page, from data to checkpoint.

Low resolution first and 224 pixels last; AdamW with a one-cycle rate a stage; bf16 and
channels_last; class balance; label smoothing; an exponential average of the weights, which
validation judges and export takes. Data order and augmentation are drawn from (seed, step), so a
run that was killed resumes and ends the same: to the bit on a processor, but for the order of
summation on a GPU. There all pixels lie in its memory, and nothing waits for it but validation.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch import Tensor

from export.augment import augment
from export.average import follow, in_halves
from export.dataset import LabelledImage, manifest_sha256, read_labels, split_images
from export.devices import Place, find_place, has_bf16
from export.network import Network, load_initial_weights
from export.pixels import require_pixels
from export.prediction import load_network, predict, rank_auc
from export.recipe import RECIPES, Recipe, Stage, learning_rate
from export.run_log import Clock, RunLog
from export.sampling import shrink, step_order, training_pool
from screener import __version__
from screener.errors import UsageError
from screener.preprocess import PREPROCESSING

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RECIPES", "Recipe", "Stage", "load_network", "train"]

CHECKPOINT_STEPS = {"cpu": 50, "mps": 200, "cuda": 2000}
"""By device: about a minute of work, so that writing checkpoints takes little of it."""


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def train(
    data: Path,
    run: Path,
    recipe: Recipe,
    *,
    device: str = "auto",
    checkpoint_steps: int = 0,
    tell: Callable[[str], None] = _to_stderr,
) -> Path:
    """Train on `data`, keep everything in `run`, and return the best checkpoint.

    A run folder that holds `last.pt` is continued; with another recipe or data it is refused.

    Args:
        data: Labelled images, see `export.dataset`.
        run: A folder for checkpoints, log and pixel caches.
        recipe: How to train.
        device: `auto` or torch's name of one; torchrun gives each process its own.
        checkpoint_steps: What a kill may cost at most; 0 for about a minute. It does not change
            how the run ends.
        tell: Takes a line of progress each step.

    Raises:
        UsageError: bad data (before any training), no such device or weights, or a run folder of
            another recipe.
    """
    images = read_labels(data)
    parts = split_images(images, recipe.seed)
    run.mkdir(parents=True, exist_ok=True)
    with find_place(device) as place:
        pixels = _read_parts(images, parts, run, place)
        facts = {
            "finding": next(image.label for image in images if image.positive),
            "recipe": asdict(recipe),
            "data_sha256": manifest_sha256(images),
            "counts": {
                name: {"positive": sum(i.positive for i in part), "images": len(part)}
                for name, part in parts.items()
            },
            "preprocessing": PREPROCESSING,
            "software_version": __version__,
            "world": place.world,
        }
        labels = {
            name: torch.tensor([[float(image.positive)] for image in parts[name]])
            for name in pixels
        }
        trainer = _Trainer(run, recipe, facts, pixels, labels, place, tell)
        return trainer.run_all(checkpoint_steps or CHECKPOINT_STEPS[place.device.type])


def _read_parts(
    images: list[LabelledImage],
    parts: dict[str, list[LabelledImage]],
    run: Path,
    place: Place,
) -> dict[str, NDArray[np.uint8]]:
    """The pixels of training and validation; of the other parts only whether they can be read."""
    if not place.first:
        # The first process has filled the cache by then.
        place.wait()
    pixels = require_pixels(images, run / "pixels.npz")
    if place.first:
        place.wait()
    row = {image.path: number for number, image in enumerate(images)}
    return {name: pixels[[row[i.path] for i in parts[name]]] for name in ("train", "validation")}


class _Trainer:
    """The state of one run: network, its average, optimizer and step."""

    def __init__(
        self,
        run: Path,
        recipe: Recipe,
        facts: dict[str, Any],
        pixels: dict[str, NDArray[np.uint8]],
        labels: dict[str, Tensor],
        place: Place,
        tell: Callable[[str], None],
    ) -> None:
        self.run, self.recipe, self.facts, self.place = run, recipe, facts, place
        self.pixels, self.labels = pixels, labels
        self.tell = tell if place.first else lambda _: None
        torch.manual_seed(recipe.seed)
        network = Network(1, recipe.mix_style)
        self.network = network.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        load_initial_weights(self.network, recipe.weights)
        if place.world > 1 and place.device.type == "cuda":
            convert = torch.nn.SyncBatchNorm.convert_sync_batchnorm
            self.network = convert(self.network)  # type: ignore[no-untyped-call]
        self.average = copy.deepcopy(self.network).eval()
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        rest = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": rest, "weight_decay": 0.0},
            ],
            lr=1e-3,
            fused=place.device.type == "cuda",
        )
        torch.backends.cudnn.benchmark = True
        # Augmentation runs beside the network on CUDA; elsewhere the processor does it as well.
        self.source = place.device if place.device.type == "cuda" else torch.device("cpu")
        positive = float(labels["train"].mean())
        weight = math.sqrt((1 - positive) / positive) if recipe.balance == "weight" else 1.0
        self.positive_weight = torch.tensor(weight, device=place.device)
        self.pool = training_pool(
            labels["train"][:, 0] > 0.5, upsample=recipe.balance == "upsample"
        )
        self.step, self.best = 0, {"auc": 0.0, "step": 0.0}
        self._resume()
        self.module: torch.nn.Module = self.network
        if place.world > 1:
            self.module = torch.nn.parallel.DistributedDataParallel(self.network)
        self.log = RunLog(run, self.step) if place.first else None

    def _resume(self) -> None:
        last = self.run / "last.pt"
        if not last.exists():
            return
        kept = torch.load(last, map_location="cpu", weights_only=True)
        if _decisive(kept["facts"]) != _decisive(json.loads(json.dumps(self.facts))):
            raise UsageError(
                f"{str(self.run)!r} holds a run with another recipe or other data",
                mend="give another --out",
            )
        self.network.load_state_dict(kept["network"])
        self.average.load_state_dict(kept["weights"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step, self.best = kept["step"], kept["best"]
        self.tell(f"resumed at step {self.step}")

    def _save(self, name: str) -> None:
        if not self.place.first:
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
            content["weights"] = in_halves(self.average)
        temporary = self.run / f".{name}.tmp"
        torch.save(content, temporary)
        temporary.replace(self.run / name)

    def run_all(self, checkpoint_steps: int) -> Path:
        steps = [
            max(1, int(stage.epochs * len(self.pool) / (stage.batch * self.place.world)))
            for stage in self.recipe.stages
        ]
        work = [
            float(stage.size**2 * stage.batch)
            for stage, count in zip(self.recipe.stages, steps, strict=True)
            for _ in range(count)
        ]
        clock, begin = Clock(work, min(self.step, len(work))), 0
        for number, (stage, count) in enumerate(zip(self.recipe.stages, steps, strict=True)):
            if self.step < begin + count:
                last = number == len(steps) - 1
                self._stage(stage, begin, count, clock, checkpoint_steps, last=last)
            begin += count
        if not (self.run / "best.pt").exists():
            self._save("best.pt")
        return self.run / "best.pt"

    def _stage(
        self,
        stage: Stage,
        begin: int,
        count: int,
        clock: Clock,
        checkpoint_steps: int,
        *,
        last: bool,
    ) -> None:
        images = shrink(torch.from_numpy(self.pixels["train"]).to(self.source), stage.size)
        every = max(1, count // self.recipe.evaluations_per_stage)
        per_step = stage.batch * self.place.world
        started, first = time.monotonic(), self.step
        loss: Tensor | None = None
        while self.step < begin + count and not (last and self._stale(begin, every)):
            at = self.step - begin
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(at / count, stage.rate)
            order = step_order(len(self.pool), at, per_step, self.recipe.seed + begin)
            chosen = self.pool[order[self.place.rank :: self.place.world]]
            seed = (self.recipe.seed << 32) + (self.step << 8) + self.place.rank
            generator = torch.Generator(self.source).manual_seed(seed)
            torch.manual_seed(seed)
            batch = images[chosen.to(self.source)][:, None].float() / 255
            batch = augment(batch, stage.size, generator, self.recipe.exchange)
            earlier, loss = loss, self._update(batch, self.labels["train"][chosen])
            self.step += 1
            # A GPU is asked for the loss of the step before: that one it has finished.
            shown = float(loss if earlier is None or self.source.type == "cpu" else earlier)
            rate = (self.step - first) * per_step / (time.monotonic() - started)
            self.tell(
                f"step {self.step} ({at + 1}/{count} at {stage.size} px) loss {shown:.4f} "
                f"{rate:.0f} images/s, {clock.left_s(self.step) / 60:.0f} min left"
            )
            validated = (at + 1) % every == 0 or at + 1 == count
            if validated:
                self._validate(stage, float(loss), rate, last=last)
            if validated or self.step % checkpoint_steps == 0:
                self._save("last.pt")

    def _stale(self, begin: int, every: int) -> bool:
        """True where the last `patience` validations were no better than one before."""
        if not self.recipe.patience or self.best["step"] <= begin:
            return False
        return self.step - self.best["step"] >= self.recipe.patience * every

    def _update(self, batch: Tensor, labels: Tensor) -> Tensor:
        device = self.place.device
        batch = batch.to(device).contiguous(memory_format=torch.channels_last)
        labels = labels.to(device)
        s = self.recipe.smoothing
        self.module.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
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
        follow(self.average, self.network, decay)
        return loss.detach()

    def _validate(self, stage: Stage, loss: float, rate: float, *, last: bool) -> None:
        auc = 0.0
        if self.place.first:
            device = self.place.device
            logits = predict(self.average, self.pixels["validation"], stage.size, device)
            auc = rank_auc(logits[:, 0], self.labels["validation"][:, 0].numpy() > 0.5)
        auc = self.place.agree(auc)
        # Only the last stage sees what the exported network will see.
        if last and auc >= self.best["auc"]:
            self.best = {"auc": auc, "step": float(self.step)}
            self._save("best.pt")
        self.tell(f"step {self.step}: validation AUC {auc:.4f} at {stage.size} px")
        if self.log is not None:
            self.log.add(self.step, stage.size, loss, auc, rate)


def _decisive(facts: dict[str, Any]) -> dict[str, Any]:
    """What must agree for a run to go on; options that it did not know yet are as they were."""
    defaults = json.loads(json.dumps(asdict(Recipe((), exchange=0.0, mix_style=0.0))))
    return {
        "recipe": defaults | facts["recipe"],
        "data": facts["data_sha256"],
        "preprocessing": facts["preprocessing"],
        "world": facts.get("world", 1),
    }
