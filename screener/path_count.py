"""How many paths there will be: counted ahead of the scan, which cannot know it before its end.

The scan walks as slowly as it screens, so that memory stays flat. Where someone watches, a second
walk that only counts makes of its rate a time that is left.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from screener.discovery import normalise, walk


class PathCount:
    """Counts paths in a thread of its own; nothing waits for it. Use it as a context manager."""

    def __init__(self, paths: Sequence[Path], exclude: Sequence[str | os.PathLike[str]]) -> None:
        # Here: what cannot be resolved is the caller's to tell.
        self._paths = [normalise(os.fsencode(path)) for path in paths]
        self._exclude = [normalise(os.fsencode(path)) for path in exclude]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count, name="path count", daemon=True)
        self.total: int | None = None
        """The number of paths; None until all are counted."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _count(self) -> None:
        count = 0
        for _ in walk(self._paths, self._exclude):
            count += 1
            if self._ended.is_set():
                return
        self.total = count
