"""What Typer says of wrong usage, in the program's three parts, with the nearest right word.

Typer's exceptions are known by what they carry: its classes differ from version to version.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from screener.errors import UsageError

NOTHING = "nothing was done"
_EXAMPLE = re.compile(r"^Example: (screener .*?)(\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
_CHOICES = re.compile(r"'(?P<given>[^']*)' is not one of (?P<choices>.*)")


WORKING_FOLDER_GONE = UsageError(
    "the folder in which this was called is gone",
    f"relative paths start there; {NOTHING}",
    "change to another folder, or give whole paths",
)


def is_working_folder_gone() -> bool:
    """Whether a relative path has no meaning: the folder was removed, or its share went away."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def as_usage_error(error: typer.TyperException) -> UsageError:
    """The error as a user is told it.

    Args:
        error: Of Typer. `ctx`, `option_name` and `param` are looked at where it has them.
    """
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "screener"
    listed = f"`{path} --help` lists all"
    words = error.format_message().replace("Value error, ", "").strip().rstrip(".")
    if (given := _given(error)) is not None and repr(given) not in words:
        words = f"{words.partition(', unable to parse')[0]}, not {given!r}"
    if hasattr(error, "possibilities"):
        option = str(getattr(error, "option_name", ""))
        near = _nearest(option, _options(context))
        return UsageError(f"{path} has no option {option!r}", NOTHING, _mend(near, listed))
    if (found := re.match(r"No such command '(.*?)'", words)) is not None:
        near = _nearest(found[1], getattr(getattr(context, "command", None), "commands", ()))
        return UsageError(f"{path} has no command {found[1]!r}", NOTHING, _mend(near, listed))
    if words.startswith("Missing "):
        return UsageError(f"{path}: {_lowered(words)}", NOTHING, _example(context) or listed)
    if (found := _CHOICES.search(words)) is not None:
        near = _nearest(found["given"].lower(), re.findall(r"'([^']*)'", found["choices"]))
        return UsageError(f"{path}: {_lowered(words)}", NOTHING, _mend(near, listed))
    return UsageError(f"{path}: {_lowered(words)}", NOTHING, _example(context) or listed)


def _given(error: BaseException) -> object:
    """The value that was no number, or out of range: Typer's own words leave it out."""
    faults = getattr(error.__cause__, "errors", None)
    found = faults() if callable(faults) else ()
    return found[0].get("input") if found else None


def require_no_empty_argument(arguments: Sequence[str]) -> None:
    """Refuse what a script gives for a variable that is not set: a path of no name is `.`.

    Raises:
        UsageError: an argument is empty; not the value of `--issuer`, of which there may be none.
    """
    before = ""
    for argument in arguments:
        if not argument and before != "--issuer":
            what = f"the argument after {before!r} is empty" if before else "an argument is empty"
            raise UsageError(what, NOTHING, "a variable of the script is not set, perhaps")
        before = argument


def text_of(word: str, option: str) -> str:
    """A word of the command line as it was typed in UTF-8, in whatever locale this process runs.

    Raises:
        UsageError: it is no UTF-8, so that it stands in no header as the program reads them.
    """
    try:
        return word.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(
            f"{option} {word!r} is no UTF-8", NOTHING, "give it as `triage.csv` has it"
        ) from None


def _options(context: Any) -> list[str]:
    """All options that a command takes, its parents' too."""
    names = ["--help"]
    while context is not None:
        for param in context.command.params:
            names += [*param.opts, *param.secondary_opts]
        context = context.parent
    return [name for name in names if name.startswith("--")]


def _nearest(word: str, words: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)), "")


def _mend(near: str, listed: str) -> str:
    return f"did you mean {near!r}? {listed}" if near else listed


def _example(context: Any) -> str:
    """The example of a command's help, on one line."""
    found = _EXAMPLE.search(getattr(getattr(context, "command", None), "help", "") or "")
    return f"for example: {' '.join(found[1].split())}" if found else ""


def _lowered(words: str) -> str:
    return words[:1].lower() + words[1:]
