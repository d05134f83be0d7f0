"""What a training run leaves to read: a CSV row a validation, a line of progress, TensorBoard."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FIELDS = ("step", "size", "loss", "validation_auc", "images_per_s")


class RunLog:
    """`log.csv` of one run folder, and TensorBoard's events where it is installed.

    A run that goes on drops what was logged of steps that it will repeat.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._run, self._path = run, run / "log.csv"
        rows = [row for row in self._rows() if int(row["step"]) <= step]
        with self._path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        self._board = _open_board(run / "tensorboard", step)

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
        if self._board is not None:
            curves = {"validation/auc": auc, "train/loss": loss, "images_per_s": images_per_s}
            for name, value in curves.items():
                self._board.add_scalar(name, value, step)
            # A run that is killed keeps what it logged.
            self._board.flush()

    def close(self) -> None:
        """End the log of this process."""
        if self._board is not None:
            self._board.close()


def _open_board(folder: Path, step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=step + 1)


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
