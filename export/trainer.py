"""One run: network, its average, optimizer and step, from the first batch to the last.

Low resolution first and 224 pixels last; AdamW with a one-cycle rate a stage; bf16 and
channels_last; class balance; label smoothing; an average of the weights, which validation judges
and export takes. Data order and augmentation are drawn from (seed, step), so a run that was killed
resumes and ends the same: to the bit on a processor, but for the order of summation on a GPU. There
all pixels lie in its memory, and nothing waits for it but validation.
"""

from __future__ import annotations

import copy
import json
import math
import time
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch import Tensor

from export.augment import augment
from export.average import decay_at, follow, in_halves
from export.checkpoint import BEST, LAST, read_last, save
from export.devices import Place, has_bf16
from export.initial_weights import is_bundle, load_initial_weights, measure_batch_norm
from export.mixing import make_mixer
from export.network import Network
from export.prediction import predict, rank_auc
from export.recipe import Recipe, Stage, learning_rate
from export.run_log import Clock, RunLog
from export.sampling import shrink, step_order, training_pool
from screener.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

MEASURED_FILMS = 128


class Trainer:
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
        network = Network(1, recipe.mix_style, recipe.drop_path)
        self.mix = make_mixer(recipe.mixup, recipe.cutmix)
        self.network = network.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        load_initial_weights(self.network, recipe.weights)
        if is_bundle(recipe.weights):
            measure_batch_norm(self.network, self._first_films())
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

    def _first_films(self) -> Tensor:
        """Some films as the first stage sees them, the same on every process."""
        pixels, size = self.pixels["train"], self.recipe.stages[0].size
        chosen = pixels[:: -(-len(pixels) // MEASURED_FILMS)]
        generator = torch.Generator().manual_seed(self.recipe.seed)
        films = shrink(torch.from_numpy(chosen), size)[:, None].float() / 255
        films = augment(films, size, generator, self.recipe.exchange, self.recipe.strength)
        return films.to(self.place.device)

    def _resume(self) -> None:
        kept = read_last(self.run, self.facts)
        if kept is None:
            return
        self.network.load_state_dict(kept["network"])
        self.average.load_state_dict(kept["weights"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step, self.best = kept["step"], kept["best"]
        self.tell(f"resumed at step {self.step}")

    def _save(self, name: str) -> None:
        if not self.place.first:
            return
        content: dict[str, Any] = {
            "facts": json.loads(json.dumps(self.facts)),
            "step": self.step,
            "best": self.best,
        }
        if name == BEST:
            content["weights"] = in_halves(self.average)
        else:
            content |= {
                "weights": self.average.state_dict(),
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }
        save(self.run, name, content)

    def run_all(self, checkpoint_steps: int) -> Path:
        """Train what is left of the recipe, saving every so many steps; the best checkpoint."""
        steps = [
            max(1, int(stage.epochs * len(self.pool) / (stage.batch * self.place.world)))
            for stage in self.recipe.stages
        ]
        work = [
            float(stage.size**2 * stage.batch)
            for stage, count in zip(self.recipe.stages, steps, strict=True)
            for _ in range(count)
        ]
        if self.step == 0 and self.recipe.weights != "scratch":
            self._judge_as_given()
        clock, begin = Clock(work, min(self.step, len(work))), 0
        for number, (stage, count) in enumerate(zip(self.recipe.stages, steps, strict=True)):
            if self.step < begin + count:
                last = number == len(steps) - 1
                self._stage(stage, begin, count, clock, checkpoint_steps, last=last)
            begin += count
        if not (self.run / BEST).exists():
            self._save(BEST)
        if self.log is not None:
            self.log.close()
        return self.run / BEST

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
            recipe = self.recipe
            batch = augment(
                batch, stage.size, generator, recipe.exchange, recipe.strength, recipe.flip
            )
            batch, labels = self.mix(batch, self.labels["train"][chosen])
            tail = max(0, at - int((1 - recipe.tail) * count))
            earlier, loss = loss, self._update(batch, labels, tail)
            self.step += 1
            # A GPU is asked for the loss of the step before: that one it has finished.
            shown = float(loss if earlier is None or self.source.type == "cpu" else earlier)
            rate = (self.step - first) * per_step / (time.monotonic() - started)
            self.tell(
                f"step {self.step} ({at + 1}/{count} at {stage.size} px) loss {shown:.4f} "
                f"{rate:.0f} images/s, {clock.left_s(self.step) / 60:.0f} min left"
            )
            validated = (at + 1) % every == 0 or at + 1 == count
            saved = validated or self.step % checkpoint_steps == 0
            if not math.isfinite(float(loss) if saved else shown):
                # Never saved: a run that goes on from there would never learn again.
                raise RunError(
                    f"the run diverged: its loss is no number at step {self.step}",
                    f"the rate of its stage, {stage.rate:g}, is too high for it",
                    "begin another run with a lower rate (--set stages=...)",
                )
            if validated:
                self._validate(stage, float(loss), rate, last=last)
            if saved:
                self._save(LAST)

    def _stale(self, begin: int, every: int) -> bool:
        """True where the last `patience` validations were no better than what was best before.

        The best may be what the run was given: validations count from where the stage began.
        """
        if not self.recipe.patience:
            return False
        return self.step - max(self.best["step"], begin) >= self.recipe.patience * every

    def _update(self, batch: Tensor, labels: Tensor, tail: int) -> Tensor:
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
        follow(self.average, self.network, decay_at(self.recipe.average, self.step, tail))
        return loss.detach()

    def _judge_as_given(self) -> None:
        """Weights that no step of this run betters stay the best."""
        size = self.recipe.stages[-1].size
        self.best = {"auc": self._validation_auc(size), "step": 0.0}
        self._save(BEST)
        self.tell(f"step 0: validation AUC {self.best['auc']:.4f} at {size} px, as given")

    def _validation_auc(self, size: int) -> float:
        """Of the average at that size, the first process's on every process."""
        auc = 0.0
        if self.place.first:
            device = self.place.device
            logits = predict(self.average, self.pixels["validation"], size, device)
            auc = rank_auc(logits[:, 0], self.labels["validation"][:, 0].numpy() > 0.5)
        return self.place.agree(auc)

    def _validate(self, stage: Stage, loss: float, rate: float, *, last: bool) -> None:
        auc = self._validation_auc(stage.size)
        # Only the last stage sees what the exported network will see.
        if last and auc >= self.best["auc"]:
            self.best = {"auc": auc, "step": float(self.step)}
            self._save(BEST)
        self.tell(f"step {self.step}: validation AUC {auc:.4f} at {stage.size} px")
        if self.log is not None:
            self.log.add(self.step, stage.size, loss, auc, rate)
