"""The commands with a network: what the report says, into the PACS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from screener.console import ScanProgress, note, print_table, tell
from screener.errors import UsageError

if TYPE_CHECKING:
    from screener.pacs.publish import PublishSummary

_LONGEST_LIST = 64 * 1024**2


def publish(
    out: Annotated[
        Path, typer.Argument(metavar="DIR", help="The output folder of the nightly scan.")
    ],
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="site.toml", help="Site file: names the doors."),
    ] = None,
    state: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="The ledger, where it is not in DIR."),
    ] = None,
    done: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Accession numbers that were read, one a line."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print notes and the last line alone.")
    ] = False,
) -> None:
    """Send what the report says to the PACS.

    What the published reports say and the doors of the site file do not know yet: structured
    reports and key images by DICOMweb or C-STORE, entries of a modality worklist, files for an
    importer. Whatever cannot be delivered stays queued in the state and is sent by the next run;
    nothing is sent twice. A study whose images name different patients is never sent.

    Exit codes: 0 all delivered; 6 something stays queued; 1 the run failed; 2 wrong usage; 11 a
    scan or another publish is at work; 130 and 143 interrupted.

    Example: screener publish /data/report --config /etc/screener/site.toml
    """
    from screener.settings import load_settings

    settings = load_settings(config)
    read = _read_done(done) if done is not None else frozenset[str]()
    from screener.pacs.extra import require_extra

    require_extra()
    from screener.cli_signals import stop_on_signals
    from screener.pacs.publish import publish as run_publish
    from screener.summary import Progress

    stop = stop_on_signals("what was sent is marked")
    with ScanProgress(quiet=quiet, verb="sending", noun="sent") as shown:

        def progress(position: int, total: int) -> None:
            shown(Progress(found=total, done=position, walked=True))

        summary = run_publish(out, settings, state=state, done=read, stop=stop, progress=progress)
    _print(summary, quiet=quiet)
    raise typer.Exit(summary.exit_code)


def _read_done(path: Path) -> frozenset[str]:
    """The accession numbers in a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_LONGEST_LIST).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read", error.strerror or "") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"{str(path)!r} is not UTF-8", mend="one accession number a line"
        ) from None
    return frozenset(line.strip() for line in text.splitlines() if line.strip())


def _print(summary: PublishSummary, *, quiet: bool) -> None:
    from screener.pacs.publish import mend_of

    plan = summary.plan
    codes: set[str] = set()
    rows = []
    for each in summary.delivered:
        left = each.left + each.impossible
        codes |= set(left)
        why = ", ".join(f"{count} {code}" for code, count in sorted(left.items()))
        rows.append((each.kind, each.door, str(each.sent), str(each.withdrawn), why))
    if not quiet:
        print_table(("what", "door", "sent", "withdrawn", "left"), rows)
    for code in sorted(codes):
        note(f"{code}: {mend_of(code)}")
    if plan.conflicts:
        note(f"{plan.conflicts} rows of studies with different patients are held back")
    if plan.too_old:
        note(f"{plan.too_old} studies were told of longer than [publish] days ago and not sent")
    sent = sum(each.sent for each in summary.delivered)
    queued = sum(sum(each.left.values()) for each in summary.delivered)
    impossible = sum(sum(each.impossible.values()) for each in summary.delivered)
    tell(
        f"{plan.studies} studies, {sent} sent, {queued} queued, {impossible} cannot be made;"
        f" {summary.elapsed_s:.1f} s"
    )
