"""What a person sees: progress and errors on stderr, tables and one last line on stdout.

Nothing here moves, colours or wraps where there is no terminal: cron mails these lines. Text that
came from a file or its name is printed with its control characters escaped.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from screener.errors import ScreenerError
    from screener.summary import Progress, RunSummary

PLAIN_EVERY_S = 60.0
BAR_EVERY_S = 0.1
RATE_OVER_S = 30.0


def printable(text: str) -> str:
    r"""Text without effect on a terminal or a line-based reader: control characters as `\xNN`."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def tell(line: str, stream: TextIO | None = None, *, label: str = "") -> None:
    """Print one line, whatever the stream's character set, after a label where there is one."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "ascii"
    text = printable(line).encode(encoding, "backslashreplace").decode(encoding)
    _print(f"{_painted(label, stream)}: {text}" if label else text, stream)


def open_streams() -> None:
    """Give a program whose standard streams were closed something to write to."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            flags = os.O_RDONLY if mode == "r" else os.O_WRONLY
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8"))


def _print(text: str, stream: TextIO) -> None:
    """Print; a reader that is gone or a full disk behind a stream changes no report and no code."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        # Else the interpreter tries once more at its end, and fails with a code of its own.
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, stream.fileno())
        os.close(sink)


def tell_error(error: ScreenerError) -> None:
    """Print what is wrong, why, and what to do, on a line each, on stderr."""
    parts = (("error", error.what), ("why", error.why), ("help", error.mend))
    for label, text in parts:
        if text:
            tell(text, sys.stderr, label=label)


def note(text: str) -> None:
    """Print one line that a person should know of, on stderr."""
    tell(text, sys.stderr, label="note")


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout: aligned columns, no lines, nothing wrapped or cut."""
    cells = [[printable(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    encoding = sys.stdout.encoding or "ascii"
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        padded[-1] = row[-1]
        line = "  ".join(_painted(cell, sys.stdout) for cell in padded)
        _print(f"  {line}".encode(encoding, "backslashreplace").decode(encoding), sys.stdout)


_PAINT = {
    "error": "1;31",
    "help": "1;36",
    "note": "1;33",
    "FLAGGED": "1;31",
    "NOT_SCREENED": "1;33",
    "FAILED": "1;33",
    "fails": "1;31",
    "absent": "1;33",
}


def _painted(word: str, stream: TextIO) -> str:
    """The word in its colour, on a terminal that wants colours (no-color.org)."""
    code = _PAINT.get(word.strip())
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if code is None or plain or not stream.isatty():
        return word
    return f"\033[{code}m{word}\033[0m"


def print_summary(summary: RunSummary, *, quiet: bool) -> None:
    """Print what became of a scan; the last line says it all."""
    if not quiet:
        paths = [
            (outcome, code, str(count))
            for outcome, codes in sorted(summary.outcomes.items())
            for code, count in sorted(codes.items())
        ]
        print_table(("outcome", "reason", "paths"), paths)
        tell("")
        print_table(("triage", "studies"), [(t, str(n)) for t, n in summary.triage.items()])
        tell("")
        tell(f"to look at: {summary.out / 'report.html'}")
    for notice in summary.notices:
        note(notice)
    tell(summary_line(summary))


def summary_line(summary: RunSummary) -> str:
    """One line with the counts that must add up, for a person, `grep` and a mail's subject."""
    by_outcome = {name: sum(codes.values()) for name, codes in summary.outcomes.items()}
    order = ("SCORED", "INELIGIBLE", "FAILED", "NOT_AN_IMAGE")
    outcomes = " + ".join(f"{by_outcome.get(name, 0)} {name}" for name in order)
    triage = ", ".join(f"{count} {name}" for name, count in summary.triage.items())
    studies = sum(summary.triage.values())
    return (
        f"{summary.paths} paths = {outcomes}; {studies} studies: {triage}; "
        f"{summary.new_studies} new; {summary.elapsed_s:.1f} s on {summary.provider}; "
        f"{summary.out / 'triage.csv'}"
    )


class ScanProgress:
    """Shows how far a run is: a bar on a terminal, one plain line a minute without one.

    Use it as a context manager, and call it with a `Progress` as often as there is one. `total`
    tells how many there will be, None as long as that is not known; `verb` and `noun` say what is
    done with what.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        total: Callable[[], int | None] = lambda: None,
        verb: str = "screening",
        noun: str = "paths",
    ) -> None:
        self.verb, self.noun = verb, noun
        self.stream = stream or sys.stderr
        self.total = total
        self.quiet = quiet
        self.started = time.monotonic()
        self.told = self.started
        self.bar: Bar | None = None
        self.task: TaskID | None = None
        self.every_s = PLAIN_EVERY_S
        if not quiet and self.stream.isatty() and os.environ.get("TERM") != "dumb":
            self.every_s = BAR_EVERY_S

    def __enter__(self) -> Self:
        if self.every_s == BAR_EVERY_S:
            self.bar = _bar(self.stream)
            self.task = self.bar.add_task("walking", total=None)
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show it, unless that was done a moment ago."""
        now = time.monotonic()
        if self.quiet or now - self.told < self.every_s:
            return
        self.told = now
        counted = progress.found if progress.walked else self.total()
        # Files may have come since they were counted.
        total = None if counted is None else max(counted, progress.found)
        if self.bar is not None and self.task is not None:
            name = "walking" if total is None else self.verb
            self.bar.update(self.task, completed=progress.done, total=total, description=name)
            self.bar.refresh()
        else:
            tell(plain_line(progress, total, now - self.started, self.noun), self.stream)


def plain_line(progress: Progress, total: int | None, elapsed_s: float, noun: str = "paths") -> str:
    """How far a run is, in words; `total` there will be, None where that is not known."""
    rate = progress.done / elapsed_s if elapsed_s > 0 else 0.0
    known = f"{progress.found} or more" if total is None else f"{total}"
    line = f"{progress.done} of {known} {noun}, {rate:.1f} a second"
    if total is not None and rate > 0:
        line += f", {_duration((total - progress.done) / rate)} left"
    return line


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _bar(stream: TextIO) -> Bar:
    # rich is loaded for a terminal alone: cron has no use for it.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.1f}/s")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(file=stream),
        # No thread of its own: the scan refreshes it.
        auto_refresh=False,
        speed_estimate_period=RATE_OVER_S,
        transient=True,
    )
