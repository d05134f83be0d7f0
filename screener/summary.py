"""What the caller of a scan sees: how far it is, how it is stopped, and what it says in the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from screener.errors import InterruptedRunError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is: paths found, paths finished, and whether the walk has ended."""

    found: int
    done: int
    walked: bool


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a scan says when it ends.

    Attributes:
        run_id: The run, as in the reports.
        out: The folder of the report.
        exit_code: The command's: 0 complete; 3 complete, and a path FAILED (`fail_on`).
        outcomes: Outcome -> reason code (empty where there is none) -> paths.
        triage: Triage -> studies, in the order of the report.
        new_studies: Studies of which the last report did not say the same.
        provider: What really computed the scores, of ONNX Runtime's names.
        model: Name of the bundle.
        operating_point: Its name in the model card, or custom.
        elapsed_s: Seconds from the start to the report.
        examined: Paths that were read; the others were known and unchanged.
        new_failures: Paths that FAILED and had not failed so in the last report.
        notices: What the reader of the summary should know, in words.
    """

    run_id: str
    out: Path
    exit_code: int
    outcomes: dict[str, dict[str, int]]
    triage: dict[str, int]
    new_studies: int
    provider: str
    model: str
    operating_point: str
    elapsed_s: float
    examined: int
    new_failures: int
    notices: tuple[str, ...] = ()

    @property
    def paths(self) -> int:
        """The number of paths seen."""
        return sum(sum(codes.values()) for codes in self.outcomes.values())

    @property
    def triage_csv(self) -> Path:
        """One row a study, most urgent first."""
        return self.out / "triage.csv"

    @property
    def images_csv(self) -> Path:
        """One row a path, whatever became of it."""
        return self.out / "images.csv"

    @property
    def report_html(self) -> Path:
        """The same for eyes: one file that loads nothing."""
        return self.out / "report.html"

    @property
    def run_json(self) -> Path:
        """Counts, versions, model card and the SHA-256 of the other files."""
        return self.out / "run.json"


@dataclass(slots=True)
class Stop:
    """Set by a signal handler; the scan looks at it between two steps."""

    signal_number: int = 0

    def check(self) -> None:
        """Raise InterruptedRunError where a signal came."""
        if self.signal_number:
            raise InterruptedRunError(self.signal_number)
