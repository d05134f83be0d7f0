"""`screener model`: show a bundle's card, check it before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Optional

import typer

from screener.cli_figures import with_interval
from screener.console import print_table, tell
from screener.errors import UsageError

model = typer.Typer(
    name="model",
    invoke_without_command=True,
    rich_markup_mode=None,
)


def show_help_where_no_command_is_named(context: typer.Context) -> None:
    """Print the help of a group of commands; it is wrong usage all the same."""
    if context.invoked_subcommand is None:
        for line in context.get_help().splitlines():
            tell(line)
        raise typer.Exit(2)


@model.callback()
def _group(context: typer.Context) -> None:
    """Show or check a model bundle.

    Example: screener model show
    """
    show_help_where_no_command_is_named(context)


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

    from screener.bundle import load_bundle, shipped_file

    bundle = load_bundle(path)
    card = bundle.card
    tell(f"{card.name}, {card.precision}, {len(bundle.content) / 1e6:.1f} MB")
    tell(f"sha256        {bundle.sha256}")
    if path is None and (int8 := shipped_file("int8")).is_file():
        tell(f"int8          {int8}, for processors with VNNI or AMX (--precision)")
    tell(f"findings      {', '.join(card.findings)}")
    tell(f"intended use  {card.intended_use}")
    for limit in card.limits:
        tell(f"limit         {limit}")
    for level, points in (
        ("image", card.operating_points),
        ("study", card.study_operating_points),
    ):
        tell("")
        judged = "" if level == "image" else ", measured alone: a scan judges by those per image"
        tell(f"operating points per {level}{judged}:")
        print_table(
            ("name", "finding", "threshold", "sensitivity", "specificity", "data"),
            [
                (
                    point.name,
                    point.finding,
                    f"{point.threshold:.4f}",
                    with_interval(point.sensitivity, point.sensitivity_interval),
                    with_interval(point.specificity, point.specificity_interval),
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


@model.command()
def verify(
    path: Bundle = None,
    public_key: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="PEM", help="Ed25519: check the signature too."),
    ] = None,
    signature: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Without it MODEL.sig beside the model."),
    ] = None,
) -> None:
    """Check a model before it is used.

    Structure, card, and that its outputs are what the card says. Exit code 2 where it must not be
    used.

    Example: screener model verify site.onnx --public-key site.pub
    """
    from screener.bundle import load_bundle
    from screener.signature import require_signature, signature_beside
    from screener.verify import Check, verify_in_child

    bundle = load_bundle(path)
    checks = verify_in_child(bundle)
    if public_key is not None:
        if path is None and signature is None:
            raise UsageError("the signature of the shipped model is not named", mend="--signature")
        require_signature(bundle, signature or signature_beside(path or Path()), public_key)
        checks.append(Check("signature", True, f"by {public_key}"))
    elif signature is not None:
        raise UsageError("a signature without a key says nothing", mend="give --public-key PEM")
    rows = [(check.name, "works" if check.ok else "fails", check.detail) for check in checks]
    print_table(("check", "state", "found"), rows)
    bad = [check.name for check in checks if not check.ok]
    if bad:
        raise UsageError(
            f"the model fails {len(bad)} of {len(checks)} checks: {', '.join(bad)}",
            mend="export it again",
        )
    tell(f"{bundle.name} passes {len(checks)} checks; SHA-256 {bundle.sha256}")
