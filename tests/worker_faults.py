"""What hostile files do to a decoder, on demand: the entry point of the pool's tests."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from screener.domain import Examined, FileKind, FileStamp, Instance, Rejection, Unchanged
from screener.examine_settings import ExamineSettings
from screener.outcomes import ReasonCode

STAMP = FileStamp(1, 2, 3, 4)


def act(
    path: bytes, settings: ExamineSettings, known_sha256: str, on_header: Callable[[Examined], None]
) -> Examined | Unchanged:
    """Do what the path says: a word of `ACTIONS`, and after a colon how long."""
    word, _, rest = path.decode().partition(":")
    if word in ("segv", "hang"):
        header = Instance(FileKind.DICOM, study_instance_uid="2.25.7")
        died = Rejection(ReasonCode.DECODER_CRASH)
        on_header(Examined(STAMP, "f" * 64, header, died))
    said = ACTIONS[word](rest, settings)
    return Examined(STAMP, f"{word} {os.getpid()} {said}", None, Rejection(ReasonCode.EMPTY))


def _segv(_rest: str, _settings: ExamineSettings) -> object:
    return ctypes.string_at(0)


def _abort(_rest: str, _settings: ExamineSettings) -> object:
    os.abort()


def _exit(_rest: str, _settings: ExamineSettings) -> object:
    os._exit(3)


def _killed(_rest: str, _settings: ExamineSettings) -> object:
    return os.kill(os.getpid(), signal.SIGKILL)


def _sleep(rest: str, _settings: ExamineSettings) -> object:
    return time.sleep(float(rest or 1000))


def _spin(_rest: str, _settings: ExamineSettings) -> object:
    while True:
        pass


def _bomb(_rest: str, settings: ExamineSettings) -> object:
    return len(bytearray(settings.limits.memory_bytes + (64 << 20)))


def _garbage(_rest: str, _settings: ExamineSettings) -> object:
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, b"\xff" * 4096)
    return time.sleep(1000)


def _open(_rest: str, _settings: ExamineSettings) -> object:
    return [os.readlink(f"/proc/self/fd/{name}") for name in _descriptors()]


def _once(rest: str, _settings: ExamineSettings) -> object:
    if not os.path.exists(rest):
        os.close(os.open(rest, os.O_CREAT))
        os.abort()
    return ""


def _ok(_rest: str, _settings: ExamineSettings) -> object:
    return ""


ACTIONS: dict[str, Callable[[str, ExamineSettings], object]] = {
    "ok": _ok,
    "segv": _segv,
    "abort": _abort,
    "exit": _exit,
    "killed": _killed,
    "hang": _sleep,
    "sleep": _sleep,
    "spin": _spin,
    "bomb": _bomb,
    "garbage": _garbage,
    "open": _open,
    "once": _once,
}


def _descriptors() -> list[str]:
    return [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
