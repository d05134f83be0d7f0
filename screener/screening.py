"""The main job: from folders to the report of a night.

Here the options become a bundle, operating points, locks and processes; `screener.night` does the
steps and `screener.reporting` publishes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from screener.discovery import normalise
from screener.domain import (
    OperatingPoint,
)
from screener.durable import access_for, private_files, require_group
from screener.errors import (
    NothingToScreenError,
    RunError,
    ScreenerError,
    UsageError,
)
from screener.examine_settings import ExamineSettings
from screener.identifiers import report_key
from screener.ledger import Ledger
from screener.ledger_errors import reason_and_mend, refuse_no_file
from screener.ledger_schema import kept_setting
from screener.lock import run_lock
from screener.log import EventLog
from screener.precision import KEPT, choose_bundle
from screener.settings import Settings
from screener.tombstones import BEGUN
from screener.workers import WorkerPool

if TYPE_CHECKING:
    from screener.bundle import Bundle

from screener.night import Night
from screener.summary import Progress, RunSummary, Stop

_NO_FOLDER = "a file has that name, or a folder's above it"


@private_files()
def scan(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: Stop | None = None,
    command: Sequence[str] = (),
    events: EventLog | None = None,
) -> RunSummary:
    """Screen every radiograph under `paths` and write the report into `out`.

    The same as the command `screener scan`, which calls it. Afterwards the report is in `out`, and
    what came of it in the summary; a file that fails is a row of the report, no exception.

    Args:
        paths: Folders and files, any depth and name; one of them, or several.
        out: The folder of the report and of the state; made where it is missing.
        settings: Every option of the command and the site file; `load_settings` reads one.
        progress: Called after each step, in this thread, with how far the scan is.
        stop: Set its `signal_number` from a signal handler or another thread to end the scan.
        command: What the user typed, for `run.json`.
        events: Told of each path that FAILED; None for nobody.

    Raises:
        UsageError: wrong settings or model.
        NothingToScreenError: a path is missing or empty, or fewer paths than `min_paths`.
        GpuRequiredError: a GPU was required and is not usable.
        LockedError: another run holds the lock.
        InterruptedRunError: `stop` was set; what was done is kept.
        RunError: the run itself failed; the last report is intact.
    """
    settings = settings or Settings()
    folder = Path(os.path.abspath(out))
    roots = _roots(paths, settings)
    for root in roots:
        if os.path.commonpath([root, os.fsencode(folder)]) == os.fsencode(folder):
            raise UsageError(
                f"the output folder {str(folder)!r} holds the path {os.fsdecode(root)!r}",
                "its files would be taken for the program's own and left out",
                "give a folder of its own",
            )
    state = Path(os.path.abspath(settings.state)) if settings.state else folder / "state.sqlite"
    from screener.reporting import finish_interrupted, publish, site_layout, tell_failures

    site_layout(settings.report)
    choice = choose_bundle(settings, kept_setting(state, KEPT))
    bundle = choice.bundle
    points = operating_points(bundle, settings)
    _require_state(state, settings.since)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        away = folder.is_symlink()
        raise UsageError(
            f"the output folder {str(folder)!r} cannot be made",
            f"{'it is a link to no folder' if away else _NO_FOLDER}; nothing was written",
            "mount what it leads to, or name another --out" if away else "name a folder with --out",
        ) from None
    except OSError as error:
        raise RunError(
            f"the output folder {str(folder)!r} cannot be made",
            os.strerror(error.errno or 0),
            "give the account that runs this write permission, or another --out",
        ) from error
    with ExitStack() as stack:
        stack.enter_context(run_lock(folder, state))
        finish_interrupted(folder)
        require_group(folder, access_for(settings.output.mode, settings.output.group))
        if settings.identifiers == "pseudonym":
            # Without it the whole night would be for nothing.
            report_key(folder)
        ledger = stack.enter_context(Ledger(state))
        examine_settings = ExamineSettings(
            limits=settings.limits,
            exact=settings.exact,
            age_range=bundle.card.age_range_years,
            secondary_capture=settings.secondary_capture,
        )
        # One more than cores: while a worker waits for its next file another has the core.
        workers = settings.workers or len(os.sched_getaffinity(0)) + 1
        try:
            if choice.decided:
                ledger.keep_setting(KEPT, bundle.card.precision)
            # The workers' server starts before onnxruntime is imported.
            pool = stack.enter_context(WorkerPool(workers, examine_settings))
            from screener.classifier import Classifier

            classifier = Classifier(
                bundle,
                device=settings.device,
                require_gpu=settings.require_gpu,
                threads=1,
                cache=state.parent / "tensorrt",
            )
            night = Night(
                ledger,
                state,
                classifier,
                choice,
                points,
                settings,
                examine_settings,
                roots,
                progress,
                stop or Stop(),
            )
            night.examine_all(pool, folder)
            tell_failures(night, events or EventLog())
            return _with_what_is_left(ledger, publish(night, folder, tuple(command), events))
        except (OSError, sqlite3.Error) as error:
            raise _disk_error(error, folder) from error
        except RunError:
            # A signal to the whole group ends the workers first.
            _keep_what_was_done(ledger)
            (stop or Stop()).check()
            raise
        except ScreenerError:
            # Interrupted or nothing there.
            _keep_what_was_done(ledger)
            raise


def _require_state(state: Path, since: str) -> None:
    """What can be said of a state before a lock is made beside it."""
    refuse_no_file(state)
    if since and not os.path.exists(state):
        raise UsageError(
            f"no published run {since!r}",
            f"there is no state {str(state)!r} yet; nothing was written",
            "leave --since out of a first scan",
        )


def _with_what_is_left(ledger: Ledger, summary: RunSummary) -> RunSummary:
    if ledger.setting(BEGUN) is None:
        return summary
    notice = "a purge was not finished: run that command again"
    return replace(summary, notices=(*summary.notices, notice))


def _keep_what_was_done(ledger: Ledger) -> None:
    with suppress(sqlite3.Error):
        # A disk that is full for the report is full for the state: the first error is told, and
        # what cannot be kept is examined again.
        ledger.commit()


def _disk_error(error: OSError | sqlite3.Error, folder: Path) -> RunError:
    reason, mend = reason_and_mend(error)
    return RunError(
        f"the disk of {str(folder)!r}, or of the program, failed: {reason}",
        "the last report is intact and what was examined is kept",
        mend,
    )


def operating_points(bundle: Bundle, settings: Settings) -> tuple[OperatingPoint, ...]:
    """One operating point for each finding, by name or by a threshold of the site's own.

    Raises:
        UsageError: the card has no operating point of that name.
    """
    card = bundle.card
    if settings.threshold is not None:
        # To the digits of the report: what is shown is what was compared.
        threshold = round(settings.threshold, 4)
        return tuple(OperatingPoint("custom", finding, threshold) for finding in card.findings)
    name = settings.operating_point or card.operating_points[0].name
    chosen = []
    for finding in card.findings:
        for point in card.operating_points:
            if (point.name, point.finding) == (name, finding):
                chosen.append(point)
                break
        else:
            names = sorted({point.name for point in card.operating_points})
            raise UsageError(
                f"the model has no operating point {settings.operating_point!r}",
                f"for {finding}",
                f"use {' or '.join(names)}, or give --threshold",
            )
    return tuple(chosen)


def _roots(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], settings: Settings
) -> list[bytes]:
    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    roots = sorted({normalise(os.fsencode(path)) for path in paths})
    sentinel = os.fsencode(settings.sentinel)
    required = [os.path.join(root, sentinel) for root in roots] if sentinel else []
    for root in [*roots, *required]:
        if not os.path.exists(root):
            raise NothingToScreenError(
                f"no such file or folder: {os.fsdecode(root)!r}",
                "an archive that is not mounted must not replace a good report",
                "mount it or mend the path; the last report is untouched",
            )
    return roots
