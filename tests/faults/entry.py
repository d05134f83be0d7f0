"""The workers' real entry, but for files whose name says what a decoder does to its process."""

from __future__ import annotations

import os
from collections.abc import Callable
from unittest import mock

from screener import examine as module
from screener.domain import Examined, Unchanged
from screener.examine_settings import ExamineSettings
from tests.worker_faults import ACTIONS


class PanicException(BaseException):
    """As PyO3 names a panic of Rust. No Exception: it passes every `except Exception`."""


def examine(
    path: bytes,
    settings: ExamineSettings,
    known_sha256: str,
    on_header: Callable[[Examined], None],
) -> Examined | Unchanged:
    """Examine a file; `act-segv` and its like come to their end when the header has been told."""
    name = os.path.basename(path).decode("utf-8", "replace")
    kind, _, action = name.partition("-")
    if kind != "act":
        return module.examine(path, settings, known_sha256, on_header)
    if action == "panic":
        with mock.patch.object(module, "read_stored", _panic):
            return module.examine(path, settings, known_sha256, on_header)

    def told(header: Examined) -> None:
        on_header(header)
        ACTIONS[action]("", settings)

    return module.examine(path, settings, known_sha256, told)


def _panic(*_arguments: object, **_options: object) -> None:
    raise PanicException
