"""The commands that make and measure models. Those that need torch say which extra brings it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, Optional

import typer

from screener.cli_extra import require_extra
from screener.cli_figures import with_interval
from screener.console import note, print_table, tell
from screener.errors import UsageError


def train(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="DATA/<Class>/*.png, or a CSV: file,label,group.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Checkpoints and the log go here.")
    ],
    weights: Annotated[
        str,
        typer.Option(
            metavar="scratch|imagenet|shipped|FILE",
            help="Where the network starts from: FILE is a checkpoint or a float bundle.",
        ),
    ] = "scratch",
    recipe: Annotated[
        Optional[Literal["scratch", "scratch-gpu", "fine-tune", "smoke"]],  # noqa: UP045
        typer.Option(help="Stages and rates; fine-tune where --weights brings some."),
    ] = None,
    length: Annotated[
        float, typer.Option(metavar="X", min=0.01, help="Times the passes of every stage.")
    ] = 1.0,
    settings: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change the recipe: drop_path=0.1, strength=0.5, mixup=0.2; repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split, the order and the augmentation.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train a network on labelled radiographs.

    A ResNet50 with one linear head. Images of one group (a patient, duplicates) stay in one split.
    A run that was interrupted goes on where it was when the same command is given again. Needs the
    extra train.

    Example: screener train covid-radiography --out runs/1 --weights imagenet
    """
    require_extra("train", "torch", "torchvision", "sklearn")
    from dataclasses import replace

    from export.recipe import RECIPES
    from export.train import train as run_training

    name = recipe or ("scratch" if weights == "scratch" else "fine-tune")
    chosen = RECIPES[name].changed(settings or ()).lengthened(length)
    chosen = replace(chosen, weights=weights, seed=seed)
    checkpoint = run_training(data, out, chosen, device=device)
    # Under torchrun one of the processes speaks.
    if os.environ.get("RANK", "0") == "0":
        tell(f"checkpoint {checkpoint}")


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT", help="RUN/best.pt of train; with --int8 a float bundle, too."
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            "--calibration",
            metavar="DATA",
            help="What it was trained on: calibration and novelty are fitted on its own parts.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="MODEL.onnx", help="The bundle to write.")
    ],
    negatives: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER", help="Folders of images that novelty should turn away."),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the model; the file's by default.")] = "",
    target_sensitivity: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="X", help="Of the operating point default, end to end; else 0.97."),
    ] = None,
    limits: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--limit", metavar="TEXT", help="Of the data, for the card and reports; repeatable."
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise; refused where it decides otherwise.")
    ] = False,
) -> None:
    """Write a checkpoint as a bundle that scan takes.

    One ONNX file with calibrated score, class activation map and novelty inside, its card with what
    it was measured to give, compared with PyTorch before it is written. Needs the extra train.

    Example: screener export runs/1/best.pt --data covid-radiography --out site.onnx
    """
    require_extra("train", "torch", "torchvision", "sklearn")
    with ExitStack() as stack:
        source = checkpoint
        if int8 and checkpoint.suffix == ".onnx":
            if name or limits or target_sensitivity is not None:
                raise UsageError(
                    "--name, --limit and --target-sensitivity are the float bundle's",
                    "an int8 bundle says what its float bundle says",
                    "export the float bundle with them, then quantise that",
                )
        else:
            from export.calibration import TARGET_SENSITIVITY
            from export.to_onnx import export as export_float

            folder = stack.enter_context(TemporaryDirectory()) if int8 else ""
            source = export_float(
                checkpoint,
                data,
                Path(folder) / out.name if int8 else out,
                negatives=negatives,
                name=name,
                target_sensitivity=(
                    TARGET_SENSITIVITY if target_sensitivity is None else target_sensitivity
                ),
                limits=limits or (),
            )
        if int8:
            from export.quantize import quantize

            quantize(source, data, out, negatives=negatives)
    tell(f"wrote {out}; see `screener model show {out}`")


Evaluated = Annotated[
    str, typer.Argument(metavar="MODEL", help="A bundle or checkpoint, or the word shipped.")
]
Labelled = Annotated[Path, typer.Argument(metavar="DATA", help="Labelled films, as for train.")]
ScanDevice = Annotated[
    Literal["auto", "cpu", "cuda", "tensorrt"], typer.Option(help="As for scan.")
]


def evaluate(
    model: Evaluated,
    data: Labelled,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Metrics, plots and report go here.")
    ],
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME|all",
            help="Where DATA is what the model was trained on: which part is measured.",
        ),
    ] = "test",
    group_by: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="COLUMN", help="Measure the groups of this column apart; repeatable."),
    ] = None,
    reading_minutes: Annotated[
        float, typer.Option(metavar="X", help="Of one study at your site, for the waiting times.")
    ] = 10.0,
    load: Annotated[
        float, typer.Option(metavar="X", help="Share of the time in which your reader is busy.")
    ] = 0.8,
    prevalence: Annotated[
        float, typer.Option(metavar="X", help="Share of your studies with the finding.")
    ] = 0.1,
    statements: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FILE.toml", help="What only the site can say, for the report; see the docs."
        ),
    ] = None,
    films: Annotated[
        bool,
        typer.Option(
            "--films/--no-films", help="Show the worst errors; without, a report to pass on."
        ),
    ] = True,
    device: ScanDevice = "auto",
) -> None:
    """Measure a model on labelled radiographs.

    Films are read as scan reads them; one that is turned away counts as missed. Writes
    metrics.json, predictions.csv, plots and report.html, which an ethics board can be given. Needs
    the extra evaluate, and no torch for an ONNX model.

    Example: screener evaluate shipped films.csv --out measured
    """
    require_extra("evaluate", "scipy", "matplotlib")
    from export.evaluate import evaluate as run_evaluation
    from export.statements import read_statements
    from export.waiting import Site

    found = run_evaluation(
        _path_of(model),
        data,
        out,
        split=None if split == "all" else split,
        group_by=group_by,
        site=Site(reading_minutes, load, prevalence),
        statements=read_statements(statements) if statements else None,
        films=films,
        device=device,
        tell=note,
    )
    points = [
        (
            point["name"],
            _figure(point["threshold"]),
            _estimate(point["sensitivity"]),
            _estimate(point["specificity"]),
        )
        for point in found["operating_points"]
    ]
    print_table(("operating point", "threshold", "sensitivity", "specificity"), points)
    counts = found["counts"]
    for label, away in found["turned_away"].items():
        reasons = ", ".join(f"{code} {count}" for code, count in away["reasons"].items())
        tell(
            f"{label}: {away['turned_away']} of {away['images']} turned away, never flagged"
            + (f" ({reasons})" if reasons else "")
        )
    tell(
        f"{counts['images']} images, {counts['positive']} positive, {counts['scored']} scored; "
        f"AUC {_estimate(found['auc_end_to_end'])} end to end; {out / 'report.html'}"
    )


def calibrate(
    model: Evaluated,
    data: Labelled,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="MODEL.onnx", help="The model with its point.")
    ],
    target_sensitivity: Annotated[
        float, typer.Option(metavar="X", help="Of images, end to end: 0.5 to 0.999.")
    ] = 0.97,
    name: Annotated[str, typer.Option(help="Of the new operating point.")] = "site",
    device: ScanDevice = "auto",
) -> None:
    """Fit a site's own operating point.

    On labelled films of the site, read as scan reads them. Writes the same model with one more
    operating point in its card, for that model alone. Needs the extra evaluate.

    Example: screener calibrate shipped films.csv --out site.onnx
    """
    require_extra("evaluate", "scipy")
    from export.calibrate import calibrate as run_calibration

    found = run_calibration(
        _path_of(model), data, out, target_sensitivity, name=name, device=device, tell=note
    )
    point, (low, high) = found.point, found.threshold_interval
    print_table(
        ("operating point", "threshold", "sensitivity", "specificity"),
        [
            (
                point.name,
                f"{point.threshold:.4f} ({low:.4f} to {high:.4f})",
                with_interval(point.sensitivity, point.sensitivity_interval),
                with_interval(point.specificity, point.specificity_interval),
            )
        ],
    )
    tell(point.data)
    tell(f"wrote {out}: scan with --model {out} --operating-point {name}")


def _path_of(model: str) -> Path | None:
    return None if model == "shipped" else Path(model)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _estimate(found: Mapping[str, float] | None) -> str:
    if found is None:
        return with_interval(None, None)
    return with_interval(found["value"], (found["low"], found["high"]))
