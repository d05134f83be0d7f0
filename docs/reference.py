"""The reference pages of the site, made from the code when the site is built: never stale.

`docs/hooks.py` asks for them; `python -m docs.reference` prints them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, get_type_hints

from typer.main import get_command

from screener import model_card
from screener.cli import app
from screener.domain import OperatingPoint
from screener.site_template import site_keys
from tests.readme_tables import table, tables

CARD = (
    model_card.ModelCard,
    OperatingPoint,
    model_card.Calibration,
    model_card.Novelty,
    model_card.TrainingData,
    model_card.SplitCount,
    model_card.Acceptance,
    model_card.SiteSample,
)
NOTE = "*Made from the program's code when this site was built.*\n"


def pages() -> dict[str, str]:
    """Path in the site -> Markdown."""
    return {
        "reference/commands.md": commands(),
        "reference/columns.md": columns(),
        "reference/exit-codes.md": f"# Exit codes\n\n{NOTE}\n{tables()['exit codes']}\n",
        "reference/site-file.md": site_file(),
        "reference/card.md": card(),
    }


def commands() -> str:
    """Every command with its help, its example and all options."""
    return "\n".join(["# Commands\n", NOTE, *_commands("screener", get_command(app), None)])


def _commands(name: str, command: Any, parent: Any) -> Iterator[str]:
    with command.make_context(
        name.rsplit(maxsplit=1)[-1], [], parent=parent, resilient_parsing=True
    ) as context:
        text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
        yield f"## {name}\n\n{_escape(text.strip())}\n"
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        yield f"```text\n{usage}\n```\n"
        if example:
            yield f"Example:\n\n```sh\n{example.strip()}\n```\n"
        records = [each.get_help_record(context) for each in command.params]
        rows = [(f"`{left}`", _escape(right)) for left, right in filter(None, records)]
        if rows:
            yield table(("argument or option", "meaning"), rows) + "\n"
        for inner, child in getattr(command, "commands", {}).items():
            yield from _commands(f"{name} {inner}", child, context)


def columns() -> str:
    """Both tables of a report."""
    parts = tables()
    return "\n".join(
        (
            "# Columns\n",
            NOTE,
            "## triage.csv\n\nOne row a study, most urgent first.\n",
            parts["triage columns"],
            "\n## images.csv\n\nOne row a path, whatever became of it.\n",
            parts["image columns"],
            "\nA model with several findings adds `score_FINDING` for each to `images.csv`.\n",
        )
    )


def site_file() -> str:
    """Every key of the site file, a table for each section."""
    lines = ["# Keys of the site file\n", NOTE]
    for section, words, keys in site_keys():
        lines.append(f"## {f'[{section}]' if section else 'Options of the scan'}\n")
        lines += [f"{_escape(words)}\n"] if words else []
        rows = [(f"`{key}`", f"`{default}`", _escape(meaning)) for key, default, meaning in keys]
        lines.append(table(("key", "default or example", "meaning"), rows) + "\n")
    return "\n".join(lines)


def card() -> str:
    """Every field of the card that stands inside a model."""
    lines = ["# Fields of the model card\n", NOTE]
    lines.append("The card is JSON in the metadata `screener.model_card` of the ONNX file.\n")
    for kind in CARD:
        lines.append(f"## {kind.__name__}\n\n{_escape(inspect.getdoc(kind) or '')}\n")
        hints = get_type_hints(kind)
        rows = [
            (f"`{each.name}`", f"`{_type_name(hints[each.name])}`")
            for each in dataclasses.fields(kind)
        ]
        lines.append(table(("field", "type"), rows) + "\n")
    return "\n".join(lines)


def _type_name(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    return (
        text.replace("typing.", "")
        .replace("screener.model_card.", "")
        .replace("screener.domain.", "")
    )


def _escape(text: str) -> str:
    """Words that Markdown would take for HTML or for the border of a cell."""
    return text.replace("<", "&lt;").replace("|", "\\|")


def main(names: Sequence[str] = ()) -> None:
    """Print the pages, or those of the names."""
    for path, text in pages().items():
        if not names or path in names:
            print(text)


if __name__ == "__main__":
    main()
