"""The tables of the README, written from the code: `python -m tests.readme_tables` renews them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from typer.main import get_command

from screener.cli import app
from screener.outcomes import REASONS, WARNINGS
from screener.report.columns import IMAGE, TRIAGE
from screener.triage import STUDY_REASONS

README = Path(__file__).parent.parent / "README.md"
EXIT_CODES = (
    ("0", "complete"),
    ("1", "the run itself failed (disk full, state unreadable, a bug); the last report is intact"),
    ("2", "wrong usage, site file or model; nothing was written"),
    ("3", "complete, and a path FAILED that had not failed so in the last report (`--fail-on`)"),
    (
        "4",
        "nothing to screen: a PATH is missing, empty or unreadable; fewer paths than `min_paths`",
    ),
    ("5", "a GPU was required and is not usable"),
    ("6", "`publish`: something stays queued; `pull`: something is missing; a door fails"),
    ("7", "`pull`: the folder or the disk is full to its bound; what was fetched is kept"),
    ("11", "another run is at work on the state or on DIR"),
    ("130, 143", "interrupted; what was done is kept"),
)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("|" + "|".join(f" {cell} " for cell in line) + "|" for line in lines)


def _commands() -> Iterable[tuple[str, str]]:
    def walk(name: str, command: object) -> Iterable[tuple[str, str]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield f"`{name}`", (getattr(command, "help", "") or "").strip().split("\n")[0]
            return
        for each, child in inner.items():
            yield from walk(f"{name} {each}", child)

    return walk("screener", get_command(app))


def tables() -> dict[str, str]:
    """Name -> the table as Markdown."""
    return {
        "exit codes": table(("code", "meaning"), EXIT_CODES),
        "commands": table(("command", "does"), _commands()),
        "triage columns": table(("column", "content"), [(f"`{k}`", v) for k, v in TRIAGE.items()]),
        "image columns": table(("column", "content"), [(f"`{k}`", v) for k, v in IMAGE.items()]),
        "reason codes": table(
            ("code", "outcome", "meaning"),
            [(f"`{code}`", f"`{outcome}`", words) for code, (outcome, words) in REASONS.items()],
        ),
        "study reasons": table(
            ("code", "triage", "meaning"),
            [
                (f"`{code}`", f"`{triage}`", words)
                for code, (triage, words) in STUDY_REASONS.items()
            ],
        ),
        "warnings": table(("code", "meaning"), [(f"`{k}`", v) for k, v in WARNINGS.items()]),
    }


def renewed(text: str) -> str:
    """The text with every table between its marks renewed."""
    for name, wanted in tables().items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        text, count = re.subn(
            re.escape(begin) + r".*?" + end,
            lambda _, new=f"{begin}{wanted}\n{end}": new,
            text,
            count=1,
            flags=re.DOTALL,
        )
        if not count:
            raise SystemExit(f"the README has no table {name!r}")
    return text


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
