"""The log: one JSON object a line, ASCII, without a name, a path or a library's own words.

Whoever writes to it gives facts of the program (counts, codes, versions) as keywords, and what may
identify a patient as `private`, which is left out unless the user asked for it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from screener.errors import UsageError

LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""How a log is opened: not through a link, and without waiting for who reads a pipe."""
Fact = int | float | bool | str | StrEnum | None


def holds_another(path: Path) -> bool:
    """Whether a regular file is there that does not begin as a log does."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as stream:
            return stream.read(1) not in {b"", b"{"}
    except OSError:
        # It is not there yet, or only writing is allowed: opening it tells.
        return False


class EventLog:
    """Appends events to a file; without a path it takes them and writes nothing.

    A log that can no longer be written (a full disk) does not cost the report: `lost` counts the
    events that were not written.
    """

    def __init__(self, path: Path | None = None, *, phi: bool = False) -> None:
        """Open the file for appending, 0600 where it is new.

        Raises:
            UsageError: it cannot be opened, or is no log: a study would be changed.
        """
        self.lost = 0
        self.phi = phi
        self._descriptor: int | None = None
        self._is_cut = False
        if path is None:
            return
        if holds_another(path):
            raise UsageError(
                f"{str(path)!r} is no log of this program",
                "nothing was written to it",
                "name a file that is not there yet",
            )
        try:
            self._descriptor = os.open(path, LOG_FLAGS | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError(
                f"the log {str(path)!r} cannot be written",
                error.strerror or "",
                "name a file in a folder that exists and may be written",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def is_open(self) -> bool:
        """Whether anything is written at all."""
        return self._descriptor is not None

    def event(self, name: str, private: Mapping[str, str] | None = None, **facts: Fact) -> None:
        """Write one line.

        Args:
            name: What happened: `scan_started`, `path_failed`.
            private: Paths, names, identifiers, a library's words: only written where `phi` is set.
            facts: What identifies nobody.
        """
        if self._descriptor is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "event": name, "pid": os.getpid(), **facts}
        if self.phi and private:
            line |= private
        content = json.dumps(line, ensure_ascii=True, default=str).encode("ascii") + b"\n"
        content = b"\n" * self._is_cut + content
        try:
            # One write a line: lines of two runs never mix.
            written = os.write(self._descriptor, content)
        except OSError:
            written = 0
        self.lost += written < len(content)
        # The next line must not be lost with one that was cut.
        self._is_cut = 0 < written < len(content) or (self._is_cut and not written)
