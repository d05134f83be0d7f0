"""The command that forgets a patient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from screener.console import note, tell
from screener.errors import RunError, UsageError

if TYPE_CHECKING:
    from screener.purge import PurgeSummary


def purge(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="The output folder of the scans.")
    ],
    patient: Annotated[str, typer.Option(metavar="ID", help="Patient ID (0010,0020).")],
    issuer: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Issuer of Patient ID, where one number means several patients."),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="site.toml", help="The site file of the scans."),
    ] = None,
    state: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="The ledger, where it is not in DIR."),
    ] = None,
    pulled: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="DIR", help="A folder that `pull` fills. [found where it was scanned last]"
        ),
    ] = None,
    pull_state: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="What is known of it. [beside it: DIR.pull.sqlite]"),
    ] = None,
) -> None:
    """Forget a patient.

    In the state, the published report and the kept ones, the queue and the worklist, what `pull`
    fetched and what it knows; what is left is a keyed hash, by which files of the patient that
    still lie in the folders stay INELIGIBLE (PURGED) and are not fetched again. The report is
    published anew without the patient. Untouched are the studies that others laid there, what a
    PACS or an importer was given, logs written with --log-phi, and backups.

    Exit codes: 0 forgotten; 1 the disk failed, run the same command again; 2 wrong usage; 11 a
    scan, a publish or a pull is at work.

    Example: screener purge --patient 4711 --out /data/report --config /etc/screener/site.toml
    """
    from screener.cli_errors import text_of
    from screener.pacs.forget_pulled import forgetting_pulled
    from screener.purge import purge as run_purge
    from screener.settings import load_settings

    patient = text_of(patient, "--patient")
    issuer = None if issuer is None else text_of(issuer, "--issuer")
    settings = load_settings(config)

    def withdraw(entries: Sequence[tuple[str, str]]) -> None:
        folder = settings.worklist.folder
        if folder is None:
            raise UsageError(
                f"{len(entries)} entries of the patient stand in a worklist",
                "the site file does not say where; nothing was changed",
                "give the --config that `screener publish` is run with",
            )
        from screener.pacs.worklist import WorklistError, file_name, locked, remove_entry

        try:
            with locked(folder):
                for study_key, patient_key in entries:
                    remove_entry(folder, file_name(study_key, patient_key))
        except WorklistError as error:
            raise RunError(
                f"the worklist {str(folder)!r} cannot be changed: {error.code}",
                mend="look who holds it, then run the same command again",
            ) from None

    if pull_state is not None and pulled is None:
        raise UsageError("--pull-state needs --pulled", mend="name the folder that `pull` fills")
    folders: list[Path] = []
    unfetch = partial(forgetting_pulled, pulled, pull_state, folders.append)
    summary = run_purge(out, patient, issuer, settings, withdraw, unfetch=unfetch, state=state)
    for folder in folders:
        note(f"looked through what was fetched into {str(folder)!r}")
    for door in settings.csv.values():
        note(f"files for an importer in {str(door.folder)!r} are not touched")
    _tell_summary(summary)


def _tell_summary(summary: PurgeSummary) -> None:
    for other in summary.others:
        note(f"reports in {str(other)!r} come from this state too: purge with --out there as well")
    if summary.again:
        note("this patient was purged from this state before")
    elif not (summary.images or summary.fetched):
        note("nothing of this patient was known: check the number; files that come stay out")
    from screener.report.words import counted

    if summary.sent:
        note(f"a PACS was sent {counted(summary.sent, 'object')} and has to delete them itself")
    studies = counted(summary.studies, "study", "studies")
    entries = counted(summary.withdrawn, "worklist entry", "worklist entries")
    tell(
        f"forgot {counted(summary.images, 'image')} of {studies};"
        f" {counted(summary.reports, 'report')}, {entries} and"
        f" {counted(summary.fetched, 'fetched file')} went"
        + (f"; {summary.run_id} is published without them" if summary.run_id else "")
    )
