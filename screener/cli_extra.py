"""What is said of a command whose extra is not installed."""

from __future__ import annotations

import importlib.util

from screener.errors import UsageError


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
                f"pip install '.[{extra}]' in the program's clone",
            )
