"""The commands that make and measure models. Those that need torch say which extra brings it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from screener.console import note, print_table, tell
from screener.errors import UsageError

model = typer.Typer(
    name="model",
    help="Show or check a model bundle.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def require_extra(extra: str, *modules: str) -> None:
    """Check that an extra is installed.

    Raises:
        UsageError: a module of it is missing.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UsageError(
                f"this command needs {module}, which is not installed",
                "a machine that only scans does without it",
                f"pip install 'screener[{extra}]'",
            )


def train(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="DATA/<Class>/*.png, or a CSV: file,label,group.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Checkpoints and the log go here.")
    ],
    weights: Annotated[
        str, typer.Option(metavar="scratch|imagenet|FILE", help="Where the network starts from.")
    ] = "scratch",
    recipe: Annotated[
        Optional[Literal["scratch", "fine-tune", "smoke"]],  # noqa: UP045
        typer.Option(help="Stages and rates; fine-tune where --weights brings some."),
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
    from export.train import RECIPES, Recipe
    from export.train import train as run_training

    name = recipe or ("scratch" if weights == "scratch" else "fine-tune")
    checkpoint = run_training(
        data, out, Recipe(RECIPES[name], weights=weights, seed=seed), device=device
    )
    tell(f"checkpoint {checkpoint}")


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundle or checkpoint, or the word shipped.")
    ],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled films, as for train.")],
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
    device: Annotated[
        Literal["auto", "cpu", "cuda", "tensorrt"], typer.Option(help="As for scan.")
    ] = "auto",
) -> None:
    """Measure a model on labelled radiographs.

    Films are read as scan reads them; one that is turned away counts as missed. Writes
    metrics.json, predictions.csv, plots and a report. Needs the extra evaluate, and no torch for an
    ONNX model.

    Example: screener evaluate shipped films.csv --out measured
    """
    require_extra("evaluate", "sklearn", "matplotlib", "jinja2")
    from export.evaluate import evaluate as run_evaluation

    found = run_evaluation(
        None if model == "shipped" else Path(model),
        data,
        out,
        split=None if split == "all" else split,
        group_by=group_by,
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
    tell(
        f"{counts['images']} images, {counts['positive']} positive, {counts['scored']} scored; "
        f"AUC {_estimate(found['auc'])}; {out / 'metrics.json'}"
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _estimate(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "not measured"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


Bundle = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Argument(metavar="[MODEL.onnx]", help="Without it the one that is shipped."),
]


@model.command()
def show(path: Bundle = None) -> None:
    """Print a model's card.

    What it is for, what it was measured to give, from which data.

    Example: screener model show site.onnx
    """
    import dataclasses

    from screener.bundle import load_bundle

    bundle = load_bundle(path)
    card = bundle.card
    tell(f"{card.name}, {card.precision}, {len(bundle.content) / 1e6:.1f} MB")
    tell(f"sha256        {bundle.sha256}")
    tell(f"findings      {', '.join(card.findings)}")
    tell(f"intended use  {card.intended_use}")
    for limit in card.limits:
        tell(f"limit         {limit}")
    for level, points in (
        ("image", card.operating_points),
        ("study", card.study_operating_points),
    ):
        tell("")
        tell(f"operating points per {level}:")
        print_table(
            ("name", "finding", "threshold", "sensitivity", "specificity", "data"),
            [
                (
                    point.name,
                    point.finding,
                    f"{point.threshold:.4f}",
                    _with_interval(point.sensitivity, point.sensitivity_interval),
                    _with_interval(point.specificity, point.specificity_interval),
                    point.data,
                )
                for point in points
            ],
        )
    tell("")
    shown = {"name", "findings", "intended_use", "limits", "precision"}
    shown |= {"operating_points", "study_operating_points"}
    rest = {name: value for name, value in dataclasses.asdict(card).items() if name not in shown}
    print_table(("field", "value"), _flat("", rest))


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    """The leaves of nested values, by a dotted name."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}" if name else key, each)
    elif isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value):
        for number, each in enumerate(value):
            yield from _flat(f"{name}[{number}]", each)
    elif value is None:
        yield name, ""
    else:
        yield name, ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "not measured"
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


@model.command()
def verify(path: Bundle = None) -> None:
    """Check a model before it is used.

    Structure, card, and that its outputs are what the card says. Exit code 2 where it must not be
    used.

    Example: screener model verify site.onnx
    """
    from screener.bundle import load_bundle
    from screener.verify import verify_bundle

    bundle = load_bundle(path)
    checks = verify_bundle(bundle)
    rows = [(check.name, "works" if check.ok else "fails", check.detail) for check in checks]
    print_table(("check", "state", "found"), rows)
    bad = [check.name for check in checks if not check.ok]
    if bad:
        raise UsageError(
            f"the model fails {len(bad)} of {len(checks)} checks: {', '.join(bad)}",
            mend="export it again",
        )
    tell(f"{bundle.name} passes {len(checks)} checks; SHA-256 {bundle.sha256}")
