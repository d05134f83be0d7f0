"""The commands around a nightly scan: does it work here, how is it set up, why this verdict."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from screener.console import note, print_table, tell
from screener.errors import UsageError

if TYPE_CHECKING:
    from screener.doctor import Line


def doctor(
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", metavar="DIR", help="Try this output folder too."),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--config", metavar="site.toml", help="Read this site file too."),
    ] = None,
    model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="MODEL.onnx", help="Another model than the one that is shipped."),
    ] = None,
    require_gpu: Annotated[
        bool, typer.Option("--require-gpu", help="Take a missing GPU for a failure.")
    ] = False,
) -> None:
    """Try what a scan needs on this machine.

    What fails is printed with the command that mends it. Every decoder decodes an image of its own,
    the model is run, the folder and what the site file names are written to: call it as the account
    that scans. Exit code 0 where a scan can run, 1 where something fails, 5 where only a required
    GPU does.

    Example: screener doctor --out /data/report --config /etc/screener/site.toml
    """
    from screener.doctor import State, examine_machine
    from screener.settings import load_settings
    from screener.site_checks import check_site

    settings = load_settings(config)
    out = None if out is None else out.absolute()
    lines = list(
        examine_machine(
            model or settings.model,
            out,
            require_gpu=require_gpu or settings.require_gpu,
            state_elsewhere=settings.state is not None,
        )
    )
    lines += check_site(settings, out)
    _print_lines(lines)
    failing = [line for line in lines if line.state is State.FAILS]
    absent = sum(line.state is State.ABSENT for line in lines)
    tell(f"{len(lines)} tried: {len(failing)} fail, {absent} absent and not needed")
    if failing:
        raise typer.Exit(5 if all(line.subject == "GPU" for line in failing) else 1)


def _print_lines(lines: Sequence[Line]) -> None:
    """A table of what was tried, and below it what mends each line that does not work."""
    from screener.doctor import State

    rows = [(line.subject, line.state.value, line.found) for line in lines]
    print_table(("what", "state", "found"), rows)
    for line in lines:
        if line.mend and line.state is not State.WORKS:
            label = "help" if line.state is State.FAILS else "note"
            tell(f"{line.subject}: {line.mend}", label=label)


def init(
    file: Annotated[Path, typer.Argument(metavar="site.toml", help="The site file to write.")],
    studies: Annotated[
        Path, typer.Option(metavar="PATH", help="The folder that is scanned every night.")
    ] = Path("/data/studies"),
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the report is written.")
    ] = Path("/data/report"),
    systemd: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Write a service and a timer here, too."),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Send to the PACS after each scan, too.")
    ] = False,
    pull: Annotated[
        bool, typer.Option("--pull", help="Fetch from the PACS before each scan, too.")
    ] = False,
) -> None:
    """Write a site file and a cron line.

    The file names every key with its default; nothing that exists is overwritten. Then what the
    nightly run will need is tried: program, account, folders, cron line or units; what fails is
    printed with the command that mends it.

    Example: screener init site.toml --studies /data/studies --out /data/report
    """
    from screener.settings import load_settings
    from screener.setup_checks import check_setup
    from screener.site_template import (
        command_line,
        cron_line,
        publish_line,
        publish_units,
        pull_line,
        pull_units,
        site_file,
        systemd_units,
    )

    # `python -m screener` is no program that cron could start; the script beside that Python is.
    beside = Path(sys.executable).with_name("screener")
    program = Path(shutil.which(sys.argv[0]) or beside).absolute()
    studies, out, config = studies.absolute(), out.absolute(), file.absolute()
    command = command_line(program, studies, out, config)
    sending = publish_line(program, out, config) if publish else ""
    fetching = pull_line(program, studies, config) if pull else ""
    files = {file: site_file()}
    if systemd is not None:
        units = systemd_units(command, studies, out)
        units |= publish_units(sending, out) if publish else {}
        units |= pull_units(fetching, studies) if pull else {}
        files |= {systemd / name: content for name, content in units.items()}
    for path in files:
        if os.path.lexists(path):
            raise UsageError(f"{str(path)!r} is there already", "nothing was written")
    for path, content in files.items():
        try:
            if path != file:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{str(path)!r} cannot be written", error.strerror or "") from None
        tell(f"wrote {path}")
    load_settings(file)
    line = "" if systemd is not None else cron_line(command, sending, fetching)
    made = [path for path in files if path.suffix in {".service", ".timer"}]
    python = Path(sys.executable)
    _print_lines(list(check_setup(program, python, studies, out, line, made, config)))
    if publish:
        note("publish needs a door in the site file: [publish], [worklist] or [csv.NAME]")
    if pull:
        note("pull needs an archive in the site file: [pull] with [dicomweb] or [dimse]")
    if line:
        tell("for /etc/cron.d/screener:")
        tell(line)
    else:
        tell("have the units in /etc/systemd/system, then:")
        tell("systemctl daemon-reload && systemctl enable --now screener.timer")


def explain(
    out: Annotated[
        Path, typer.Argument(metavar="DIR", help="The output folder of the nightly scan.")
    ],
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="UID, accession number, patient id, study key or path."
        ),
    ],
    state: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="The ledger, where it is not in DIR."),
    ] = None,
    picture: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.png", help="Draw the film and the map over it into this file."),
    ] = None,
) -> None:
    """Tell everything that is known of one study.

    Which rule decided, score and threshold, model, what was reported; of each image the tags that
    were used, decoder, VOI, novelty, and where on the film the score comes from. It shows the
    patient's identifiers, whatever the report does.

    Example: screener explain /data/report 1.2.840.113619.2.1 --picture film.png
    """
    from screener.explain import explain_study

    for line in explain_study(out, study, state):
        tell(line)
    if picture is not None:
        from screener.explain_picture import write_picture
        from screener.report.words import counted

        count = write_picture(picture, out, study, state)
        tell(f"wrote {picture}: {counted(count, 'image')}")
