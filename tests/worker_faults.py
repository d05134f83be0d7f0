"""What hostile files do to a decoder, on demand: the entry point of the pool's tests."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable

from screener.domain import (
    Examined,
    FileKind,
    FileStamp,
    Instance,
    ReasonCode,
    Rejection,
    Unchanged,
)
from screener.examine import ExamineSettings

STAMP = FileStamp(1, 2, 3, 4)


def act(
    path: bytes, settings: ExamineSettings, known_sha256: str, on_header: Callable[[Examined], None]
) -> Examined | Unchanged:
    """Do what the path says."""
    word, _, rest = path.decode().partition(":")
    header = Examined(
        STAMP, "f" * 64, Instance(FileKind.DICOM, study_instance_uid="2.25.7"),
        Rejection(ReasonCode.DECODER_CRASH),
    )  # fmt: skip
    if word == "segv":
        on_header(header)
        ctypes.string_at(0)
    elif word == "abort":
        os.abort()
    elif word == "exit":
        os._exit(3)
    elif word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "hang":
        on_header(header)
        time.sleep(1000)
    elif word == "spin":
        while True:
            pass
    elif word == "bomb":
        held = bytearray(settings.limits.memory_bytes + (64 << 20))
        return Examined(None, str(len(held)), None, Rejection(ReasonCode.BOMB))
    elif word == "sleep":
        time.sleep(float(rest))
    elif word == "garbage":
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"\xff" * 4096)
            except OSError:
                continue
        time.sleep(1000)
    elif word == "open":
        names = [os.readlink(f"/proc/self/fd/{name}") for name in _descriptors()]
        return Examined(None, ";".join(names), None, Rejection(ReasonCode.EMPTY))
    return Examined(STAMP, f"{word} {os.getpid()}", None, Rejection(ReasonCode.EMPTY))


def _descriptors() -> list[str]:
    return [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
