"""What a training run leaves to read: a CSV row a validation, a line of progress, TensorBoard."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

FIELDS = ("step", "size", "loss", "validation_auc", "images_per_s")


class RunLog:
    """`log.csv` of one run folder; a run that goes on drops the rows of steps it will repeat."""

    def __init__(self, run: Path, step: int) -> None:
        self._run, self._path = run, run / "log.csv"
        rows = [row for row in self._rows() if int(row["step"]) <= step]
        with self._path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def _rows(self) -> list[dict[str, str]]:
        if not self._path.exists():
            return []
        with self._path.open(newline="") as stream:
            # A killed run may have left half a row.
            return [row for row in csv.DictReader(stream) if None not in row.values()]

    def add(self, step: int, size: int, loss: float, auc: float, images_per_s: float) -> None:
        """Append a row."""
        values = (step, size, f"{loss:.4f}", f"{auc:.5f}", f"{images_per_s:.1f}")
        with self._path.open("a", newline="") as stream:
            csv.DictWriter(stream, FIELDS, lineterminator="\n").writerow(
                dict(zip(FIELDS, values, strict=True))
            )
        self._tensorboard(step, {"validation/auc": auc, "train/loss": loss})

    def _tensorboard(self, step: int, values: Mapping[str, float]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        with SummaryWriter(self._run / "tensorboard") as writer:
            for name, value in values.items():
                writer.add_scalar(name, value, step)


class Clock:
    """Time left, from how long the work done since the start took.

    Args:
        work: Of each step of the whole run, in any unit that grows as the time it takes.
        step: Where the run begins or goes on.
    """

    def __init__(self, work: Sequence[float], step: int) -> None:
        self._total, self._done, self._begin = [0.0], 0.0, time.monotonic()
        for amount in work:
            self._total.append(self._total[-1] + amount)
        self._done = self._total[step]

    def left_s(self, step: int) -> float:
        """Seconds that the rest of the run will take after `step` steps."""
        done = self._total[step] - self._done
        if done <= 0:
            return 0.0
        return (self._total[-1] - self._total[step]) * (time.monotonic() - self._begin) / done
