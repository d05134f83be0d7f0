"""Stands for pip in the snippets: `install '.[train]'` passes where that extra can be installed."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def main() -> None:
    """Check every requirement of the command line."""
    command, *words = sys.argv[1:]
    if command != "install":
        raise SystemExit(f"pip {command} is not known here")
    known = set(tomllib.loads(PROJECT.read_text("utf-8"))["project"]["optional-dependencies"])
    for word in words:
        if not word.startswith("."):
            raise SystemExit(f"{word!r} is not the clone")
        unknown = Requirement(f"screener{word[1:]}").extras - known
        if unknown:
            raise SystemExit(f"no such extra: {', '.join(sorted(unknown))}")


if __name__ == "__main__":
    main()
