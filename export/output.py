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


def keep_apart(out: Path, data: Path) -> None:
    """Check that a folder of results does not lie in one of class folders.

    What is written there would be read as labelled images the next time.

    Raises:
        UsageError: it does.
    """
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        raise UsageError(
            f"{str(out)!r} lies in the data",
            "what is written there would be taken for labelled images",
            "name a folder elsewhere with --out",
        )


def check_file(out: Path) -> None:
    """Check that a model can be written under this name; its folder is made.

    Raises:
        UsageError: it is a folder or a file that is no model, or nothing can be written beside it.
    """
    if os.path.isdir(out):
        raise UsageError(f"{str(out)!r} is a folder", mend="name the file of the new model")
    if out.exists() and out.suffix != ".onnx":
        # A table of labels, a film, a checkpoint: a slip of the keys must not cost it.
        raise UsageError(
            f"{str(out)!r} is there already",
            "only a file that ends in .onnx is replaced",
            "name another file with --out",
        )
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
