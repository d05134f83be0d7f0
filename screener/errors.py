"""The exceptions of the program; expected outcomes of a file are values (`domain.Rejection`).

ScreenerError                what a user is told: what, why, what to do
|- UsageError           2    wrong options, site file or model; nothing was written
|- NothingToScreenError 4    a path is missing or empty: an unmounted archive
|- GpuRequiredError     5    a GPU was required and is not usable
|- LockedError         11    another run holds the lock
|- RunError             1    the run itself failed; the last report is intact
|- InterruptedRunError  130, 143
FileRejected                 ends the way of one file; the one boundary makes it a Rejection
"""

from __future__ import annotations

from screener.domain import Rejection
from screener.outcomes import ReasonCode


class ScreenerError(Exception):
    """An error told to the user in three parts.

    Attributes:
        what: What is wrong, with the bad value quoted.
        why: The reason, and what was kept. May be empty.
        mend: What to do. May be empty.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", mend: str = "") -> None:
        super().__init__(" ".join(part for part in (what, why, mend) if part))
        self.what, self.why, self.mend = what, why, mend


class RunError(ScreenerError):
    """The run itself failed (disk full, state unreadable); the last report is intact."""


class UsageError(ScreenerError):
    """Wrong usage, site file or model. Nothing was written, which is said where `why` is empty."""

    exit_code = 2

    def __init__(self, what: str, why: str = "", mend: str = "") -> None:
        super().__init__(what, why or "nothing was written", mend)


class NothingToScreenError(ScreenerError):
    """A path is missing or empty: an unmounted archive must not replace a good report."""

    exit_code = 4


class GpuRequiredError(ScreenerError):
    """A GPU was required and is not usable."""

    exit_code = 5


class LockedError(ScreenerError):
    """Another run holds the lock on the state or on the output folder."""

    exit_code = 11


class InterruptedRunError(ScreenerError):
    """The run was told to stop; what was done is kept."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted", "what was done is kept", "run the same command again")
        self.exit_code = 128 + signal_number


class FileRejected(Exception):  # noqa: N818 - it is no error of the program
    """Raised on the way of one file; `detail` must hold no patient data and no path."""

    def __init__(self, code: ReasonCode, detail: str = "") -> None:
        super().__init__(f"{code} {detail}".strip())
        self.rejection = Rejection(code, detail)
