"""Where results go: what cannot be written is found out before the minutes or hours of work."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from tempfile import TemporaryFile

from screener.errors import UsageError


def make_folder(out: Path) -> None:
    """Make a folder where it is missing, and try to write in it.

    Raises:
        UsageError: nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(
            f"nothing can be written to the folder {str(out)!r}",
            error.strerror or type(error).__name__,
            "name another with --out",
        ) from error


def check_file(out: Path) -> None:
    """Check that a file can be written under this name; its folder is made.

    Raises:
        UsageError: it is a folder, or nothing can be written beside it.
    """
    if os.path.isdir(out):
        raise UsageError(f"{str(out)!r} is a folder", mend="name the file of the new model")
    make_folder(out.parent)


def write_model(out: Path, content: bytes) -> None:
    """Written beside and renamed, so that a cut model never stands under its name.

    Raises:
        UsageError: the disk is full, say; nothing is left there.
    """
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(out)
    except OSError as error:
        raise UsageError(
            f"the model {str(out)!r} cannot be written",
            error.strerror or type(error).__name__,
            "name another file with --out",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
