"""What callers may write, for mypy alone: an ignore that is not needed is an error too."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import screener
from screener import Progress, RunSummary, ScreenerError, Settings, Stop, load_settings, scan


def tell(progress: Progress) -> None:
    print(f"{progress.done} of {progress.found}{'' if progress.walked else ' so far'}")


def night(config: Path) -> int:
    try:
        summary = scan(["studies", Path("more")], "report", load_settings(config), progress=tell)
    except ScreenerError as error:
        print(error.what, error.why, error.mend)
        return error.exit_code
    assert_type(summary, RunSummary)
    assert_type(summary.outcomes, dict[str, dict[str, int]])
    assert_type(summary.triage, dict[str, int])
    assert_type(summary.paths, int)
    assert_type(summary.triage_csv, Path)
    assert_type(summary.images_csv, Path)
    assert_type(summary.report_html, Path)
    assert_type(summary.run_json, Path)
    return summary.exit_code


def stopped(stop: Stop) -> RunSummary:
    return screener.scan(Path("film.dcm"), Path("report"), Settings(device="cpu"), stop=stop)


def mistakes() -> None:
    summary = scan("studies", "report", Settings(device="gpu"))  # type: ignore[arg-type]
    summary.exit_code = 0  # type: ignore[misc]
    summary.exitcode  # type: ignore[attr-defined]  # noqa: B018
    screener.sacn("studies", "report")  # type: ignore[attr-defined]
    scan("studies", "report", thresholds=0.5)  # type: ignore[call-arg]
    scan(1, "report")  # type: ignore[arg-type]
