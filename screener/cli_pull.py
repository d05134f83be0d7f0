"""`screener pull`: studies from the PACS; `screener verify-pacs`: every door, tried."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from screener.console import note, print_table, tell
from screener.errors import UsageError

if TYPE_CHECKING:
    from screener.pacs.pull import PullSummary
    from screener.pacs.source import Pull

_TOLD_EVERY_S = 60.0


def pull(
    site: Annotated[
        Path,
        typer.Option("--from", metavar="site.toml", help="Site file: [pull] names the archive."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="The folder that is then scanned.")
    ],
    since: Annotated[
        str,
        typer.Option(metavar="last|DAY", help="From the stored mark, or a day like 20260131."),
    ] = "last",
    study_date: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="DAY[-DAY]", help="Repair: these days, also what is known and lost its file."
        ),
    ] = None,
    modality: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="CR,DX", help="Instead of the site file's."),
    ] = None,
    via: Annotated[
        Optional[Literal["dicomweb", "c-get", "c-move"]],  # noqa: UP045
        typer.Option(help="Instead of the site file's."),
    ] = None,
    most_gb: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="N", help="DIR may hold so much; instead of the site file's."),
    ] = None,
    state: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="What is known. [beside DIR: DIR.pull.sqlite]"),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print notes and the last line alone.")
    ] = False,
) -> None:
    """Fetch new studies from the PACS into a folder.

    By QIDO-RS and WADO-RS, or C-FIND with C-GET or C-MOVE: what the archive lists since the last
    complete pull, and two days before it again, each object once. What cannot be fetched is kept in
    a list with its reason and asked for again by the next pulls; it holds nothing else up. Then
    `screener scan DIR` as ever.

    Exit codes: 0 all fetched; 6 something is missing or could not be listed; 7 the bound of the
    disk is reached; 1 the run failed; 2 wrong usage; 11 another pull is at work; 130 and 143
    interrupted. What was fetched is kept after each of them.

    Example: screener pull --from /etc/screener/site.toml --since last --out /data/studies
    """
    from screener.settings import load_settings

    settings = load_settings(site)
    changes: dict[str, object] = {"via": via, "most_gb": most_gb}
    if modality is not None:
        changes["modality"] = tuple(each.strip() for each in modality.split(",") if each.strip())
    settings = dataclasses.replace(settings, pull=_changed(settings.pull, changes))
    from screener.pacs.extra import require_extra

    require_extra()
    from screener.cli_signals import stop_on_signals
    from screener.pacs.pull import pull as run_pull

    stop = stop_on_signals("what was fetched is kept")
    told = time.monotonic()

    def progress(stored: int) -> None:
        nonlocal told
        if not quiet and time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            tell(f"{stored} fetched", sys.stderr)

    summary = run_pull(
        out,
        settings,
        state=state,
        since=since,
        study_date=study_date or "",
        stop=stop,
        progress=progress,
    )
    _print(summary)
    raise typer.Exit(summary.exit_code)


def verify_pacs(
    config: Annotated[
        Path, typer.Option("--config", metavar="site.toml", help="Site file: names the doors.")
    ],
    with_pull: Annotated[
        bool, typer.Option("--pull", help="Try to fetch through [pull] too.")
    ] = False,
) -> None:
    """Try every door to the PACS with test objects.

    The doors that the site file names: is the server there, does it take a report and a key image
    about nobody (patient SCREENER-TEST), does it give them back, does the worklist server give the
    priority that was written. The objects are deleted where the server lets that be done. Exit
    code 0 where all works, 6 where something fails, 2 for wrong usage.

    Example: screener verify-pacs --config /etc/screener/site.toml --pull
    """
    from screener.settings import load_settings

    settings = load_settings(config)
    from screener.pacs.extra import require_extra

    require_extra()
    from screener.pacs.check import State
    from screener.pacs.verify import verify_pacs as run_verify

    checks = list(run_verify(settings, with_pull=with_pull))
    rows = [(each.door, each.step, each.state.value, each.found) for each in checks]
    print_table(("door", "step", "state", "found"), rows)
    for each in checks:
        if each.mend:
            label = "help" if each.state is State.FAILS else "note"
            tell(f"{each.door}, {each.step}: {each.mend}", label=label)
    failing = sum(each.state is State.FAILS for each in checks)
    tried = sum(each.state is not State.NOT_TRIED for each in checks)
    tell(f"{tried} tried: {failing} fail, {len(checks) - tried} not tried")
    raise typer.Exit(6 if failing else 0)


def _changed(pull: Pull, changes: dict[str, object]) -> Pull:
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return dataclasses.replace(pull, **given)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(str(error), mend="`screener pull --help`") from None


def _print(summary: PullSummary) -> None:
    from screener.pacs.publish import mend_of

    fetched = summary.fetched
    codes: set[str] = set()
    for code, days in sorted(fetched.unlisted.items()):
        codes.add(code)
        note(f"{days} days could not be listed to the end: {code}; the mark stays")
    if fetched.parted:
        note(
            f"{fetched.parted} days were listed in parts, for the server takes no offset: a study"
            " without a Study Time may be missing"
        )
    if fetched.shut:
        codes.add(fetched.shut)
        note(f"it stopped before the end: {fetched.shut}; the next pull goes on")
    for (state, code), count in sorted(summary.left.items()):
        codes.add(code)
        again = "asked for again" if state == "MISSING" else "given up"
        note(f"{count} {again}: {code}")
    for code in sorted(codes):
        note(f"{code}: {mend_of(code)}")
    if summary.removed:
        note(f"{summary.removed} files that are older than [pull] keep_days were removed")
    missing = sum(count for (state, _), count in summary.left.items() if state == "MISSING")
    tell(
        f"{fetched.studies} studies listed, {fetched.stored} objects fetched"
        f" ({fetched.stored_bytes / 1e6:.1f} MB), {fetched.known} known, {missing} missing;"
        f" {summary.elapsed_s:.1f} s"
    )
