"""The command line: parse, call, print, exit code. The help texts are the documentation.

Every command imports what it needs inside its function, so that `--help` answers at once and the
commands that need no torch run without it.
"""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, NoReturn, Optional

import typer

from screener import __version__, cli_bundles, cli_models, cli_pacs, cli_pull, cli_purge, cli_site
from screener.cli_bundles import show_help_where_no_command_is_named
from screener.cli_errors import (
    WORKING_FOLDER_GONE,
    as_usage_error,
    is_working_folder_gone,
    require_no_empty_argument,
)
from screener.console import (
    ScanProgress,
    note,
    open_streams,
    print_summary,
    tell,
    tell_error,
)
from screener.errors import InterruptedRunError, RunError, ScreenerError

app = typer.Typer(
    name="screener",
    invoke_without_command=True,
    # Boxes cut long option names and turn to rubbish in a mail.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Flag = Optional[bool]  # noqa: UP045 - Typer reads it at run time


def _show_version(wanted: bool) -> None:
    if wanted:
        tell(f"screener {__version__}")
        raise typer.Exit


@app.callback()
def screener(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback is at work
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    traceback: Annotated[  # noqa: ARG001 - `main` looks for it
        bool,
        typer.Option("--traceback", help="Show where in the program an error arose; any place."),
    ] = False,
) -> None:
    """Screen chest radiographs overnight and write a triage report for the worklist.

    Research use. Not a medical device: a second look, never a diagnosis.

    Example: screener scan /data/studies --out /data/report
    """
    show_help_where_no_command_is_named(context)


@app.command()
def scan(
    paths: Annotated[
        list[Path],
        # What cannot be read is told by the scan: as exit code 4, or as a row.
        typer.Argument(
            metavar="PATH...", readable=False, help="Folders and files, any depth and name."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where the report is written.")
    ],
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--config", metavar="site.toml", help="Site file: any option below, and more."
        ),
    ] = None,
    model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="MODEL.onnx", help="Another model than the one that is shipped."),
    ] = None,
    operating_point: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="Of the model card: see `screener model show`."),
    ] = None,
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="X", help="On the calibrated score, instead of an operating point."),
    ] = None,
    device: Annotated[
        Optional[Literal["auto", "cpu", "cuda", "tensorrt"]],  # noqa: UP045
        typer.Option(help="auto takes TensorRT, then CUDA, then the processor."),
    ] = None,
    require_gpu: Annotated[
        Flag, typer.Option("--require-gpu/--no-require-gpu", help="Exit 5 where no GPU is usable.")
    ] = None,
    precision: Annotated[
        Optional[Literal["auto", "float", "int8"]],  # noqa: UP045
        typer.Option(help="Of the shipped model; auto is resolved once and kept."),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(metavar="N", min=0, help="Decoding processes; 0 for one more than cores."),
    ] = None,
    state: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="The ledger, on a local disk. [DIR/state.sqlite]"),
    ] = None,
    rescan: Annotated[
        Flag, typer.Option("--rescan/--no-rescan", help="Read every file again.")
    ] = None,
    baseline: Annotated[
        Flag,
        typer.Option("--baseline/--no-baseline", help="Take an archive in, raising nothing."),
    ] = None,
    only_new: Annotated[
        Flag,
        typer.Option("--only-new/--no-only-new", help="Leave unchanged studies out of triage.csv."),
    ] = None,
    since: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="RUN_ID", help="Compare with this run, not with the last report."),
    ] = None,
    settle: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="SECONDS", help="A cut file younger than this is being written."),
    ] = None,
    fail_on: Annotated[
        Optional[Literal["new", "any", "never"]],  # noqa: UP045
        typer.Option(help="Which FAILED paths make exit code 3."),
    ] = None,
    allow_empty: Annotated[
        Flag, typer.Option("--allow-empty/--no-allow-empty", help="An empty PATH is no error.")
    ] = None,
    identifiers: Annotated[
        Optional[Literal["full", "pseudonym", "none"]],  # noqa: UP045
        typer.Option(help="What the report says of the patient; the state keeps the originals."),
    ] = None,
    spreadsheet: Annotated[
        Flag,
        typer.Option("--spreadsheet/--no-spreadsheet", help="Add a file that Excel may open."),
    ] = None,
    quiet: Annotated[
        Flag, typer.Option("--quiet/--no-quiet", "-q", help="Print notes and the last line alone.")
    ] = None,
    log: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Append JSON lines without names and paths."),
    ] = None,
    log_phi: Annotated[
        Flag, typer.Option("--log-phi/--no-log-phi", help="Let names and paths into the log.")
    ] = None,
    exact: Annotated[
        Flag,
        typer.Option(
            "--exact/--no-exact",
            help="Decode every pixel: slower. Files that are known already need --rescan too.",
        ),
    ] = None,
    secondary_capture: Annotated[
        Flag,
        typer.Option(
            "--secondary-capture/--no-secondary-capture", help="Screen Secondary Capture too."
        ),
    ] = None,
) -> None:
    """Screen radiographs and write the report.

    Every radiograph under PATH... is screened and the triage report is written into DIR. Reads
    nothing but regular files, writes nothing but DIR, and uses no network. A second run does only
    what is new. Progress goes to stderr; the last line of stdout is one summary.

    Exit codes: 0 complete; 3 complete, and a path newly FAILED; 1 the run failed, the last report
    is intact; 2 wrong usage; 4 nothing to screen; 5 no GPU; 11 another run is at work; 130 and 143
    interrupted, what was done is kept.

    Example: screener scan /data/studies --out /data/report --config /etc/screener/site.toml
    """
    given = {name: value for name, value in locals().items() if name not in _NOT_SETTINGS}
    from screener.accounts import refuse_root
    from screener.log import EventLog
    from screener.path_count import PathCount
    from screener.settings import load_settings

    settings = load_settings(config, given)
    from screener.cli_signals import stop_on_signals
    from screener.screening import scan as run_scan

    stop = stop_on_signals("what was done is kept")
    # Before the log, which would be root's.
    refuse_root(out)
    with ExitStack() as stack:
        events = stack.enter_context(EventLog(settings.log, phi=settings.log_phi))
        # Cron's quiet run does not walk twice.
        counted = None if settings.quiet else PathCount(paths, [out, *settings.exclude])
        if counted is not None:
            stack.enter_context(counted)
        progress = stack.enter_context(
            ScanProgress(quiet=settings.quiet, total=lambda: counted.total if counted else None)
        )
        events.event("scan_started", software_version=__version__)
        try:
            summary = run_scan(
                paths,
                out,
                settings,
                progress=progress,
                stop=stop,
                command=tuple(sys.argv),
                events=events,
            )
        except ScreenerError as error:
            events.event("scan_failed", {"what": error.what}, exit_code=error.exit_code)
            raise
        events.event(
            "scan_finished",
            run_id=summary.run_id,
            exit_code=summary.exit_code,
            provider=summary.provider,
            elapsed_s=round(summary.elapsed_s, 3),
            paths=summary.paths,
            new_failures=summary.new_failures,
        )
    for number in (signal.SIGINT, signal.SIGTERM):
        # The report is out; Python would let a late signal end the process with another code.
        signal.signal(number, signal.SIG_IGN)
    print_summary(summary, quiet=settings.quiet)
    if events.lost:
        note(f"{events.lost} lines of the log could not be written")
    raise typer.Exit(summary.exit_code)


app.command()(cli_pacs.publish)
app.command()(cli_pull.pull)
app.command("verify-pacs")(cli_pull.verify_pacs)
app.command()(cli_models.train)
app.command()(cli_models.export)
app.command()(cli_models.evaluate)
app.command()(cli_models.calibrate)
app.add_typer(cli_bundles.model)
app.command()(cli_site.doctor)
app.command()(cli_site.init)
app.command()(cli_site.explain)
app.command()(cli_purge.purge)

_NOT_SETTINGS = frozenset({"paths", "out", "config"})


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    arguments = [each for each in sys.argv[1:] if each != "--traceback"]
    if len(arguments) == len(sys.argv) - 1:
        sys.excepthook = _tell_bug
    open_streams()
    try:
        require_no_empty_argument(arguments)
        command = typer.main.get_command(app)
        code = command(args=arguments, prog_name="screener", standalone_mode=False)
    except (ScreenerError, typer.TyperException) as error:
        if "--traceback" in sys.argv:
            raise
        tell_error(error if isinstance(error, ScreenerError) else as_usage_error(error))
        sys.exit(error.exit_code)
    except FileNotFoundError:
        if "--traceback" in sys.argv or not is_working_folder_gone():
            raise
        tell_error(WORKING_FOLDER_GONE)
        sys.exit(WORKING_FOLDER_GONE.exit_code)
    except MemoryError:
        tell_error(
            RunError(
                "the machine, or the limit of this account, has too little memory",
                "the last report is intact",
                "see `ulimit -v`, and what else takes the memory",
            )
        )
        sys.exit(RunError.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(InterruptedRunError(signal.SIGINT).exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _tell_bug(kind: type[BaseException], _: BaseException, traceback: TracebackType | None) -> None:
    """Name a bug by its place: the words of an exception may hold a patient's name."""
    place = ""
    while traceback is not None:
        file = Path(traceback.tb_frame.f_code.co_filename)
        if file.parent.name in {"screener", "report", "export"}:
            place = f" in {file.name}, line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    tell_error(
        ScreenerError(
            f"a bug: {kind.__name__}{place}",
            "the last report is intact",
            "run it again with --traceback, and report what it says without the patient's data",
        )
    )
