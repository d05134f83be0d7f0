"""Where a training runs: one processor or GPU, or several under torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch

from screener.errors import UsageError

PATIENCE = timedelta(days=1)
"""How long the others wait for the first process, which reads all films: with many DICOM, hours.

torch's own 10 to 30 minutes would end them; where a process dies, torchrun ends the rest at once.
"""


@dataclass(frozen=True, slots=True)
class Place:
    """This process: its device, its number among all processes, and how many there are."""

    device: torch.device
    rank: int
    world: int

    @property
    def first(self) -> bool:
        """True for the one process that writes and prints."""
        return self.rank == 0

    def agree(self, value: float) -> float:
        """The first process's value, on every process."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return float(shared)


@contextmanager
def find_place(wanted: str) -> Iterator[Place]:
    """Choose the device; under torchrun join the other processes, and leave them at the end.

    Args:
        wanted: `auto` (CUDA, Apple's GPU or the processor), or a device as torch names it.

    Raises:
        UsageError: there is no such device.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device = _device(wanted, int(os.environ.get("LOCAL_RANK", "0")))
    joined = world > 1 and not torch.distributed.is_initialized()
    if joined:
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Place(device, int(os.environ.get("RANK", "0")), world)
    finally:
        if joined:
            torch.distributed.destroy_process_group()


def _device(wanted: str, local_rank: int) -> torch.device:
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "cuda"
        else:
            wanted = "mps" if torch.backends.mps.is_available() else "cpu"
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    kind = wanted.split(":")[0]
    if not present.get(kind, False):
        known = ", ".join(name for name, there in present.items() if there)
        raise UsageError(f"no device {wanted!r} here", mend=f"use auto or {known}")
    if kind != "cuda":
        return torch.device(kind)
    # Under torchrun each process has a GPU of its own.
    device = torch.device(wanted if ":" in wanted else f"cuda:{local_rank}")
    torch.cuda.set_device(device)
    return device


def has_bf16(device: torch.device) -> bool:
    """True where bfloat16 is computed by the hardware; emulated it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(bool(there) for name, there in capabilities.items() if name.endswith("bf16"))
