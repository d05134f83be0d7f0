"""`images.csv`: a row for each path that is there. For a large archive in a process of its own.

Of the report of a large archive it is half of the work, and the rest can be done beside it. The
process reads the state as it was last committed, and is an aid and no more: whatever happens to it,
the scan writes the file itself. Stdin tells it what to do: a list of processes would show all.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from screener import children
from screener.durable import Access, write_file
from screener.identifiers import mask
from screener.report.columns import image_columns
from screener.report.paths import PathStore
from screener.report.rows import image_row
from screener.report.tables import write_table

BESIDE_FROM = 20_000
"""Paths from which a process of its own pays: below, the scan is done before it has started."""


@dataclass(frozen=True, slots=True)
class ImageTable:
    """What `images.csv` is made of, beside an open state.

    Attributes:
        roots: Paths; what is at or below one has a row.
        run_id: Of the run that tells it.
        findings: Of the model, in its order.
        identifiers: How patients are named, as for `screener.identifiers.mask`.
        key: Of the pseudonyms; empty without.
    """

    roots: tuple[bytes, ...]
    run_id: str
    findings: tuple[str, ...]
    identifiers: str
    key: bytes

    def write(self, db: sqlite3.Connection, stream: BinaryIO) -> int:
        """Write the table; the number of its rows."""
        rows = (
            mask(image_row(row, self.run_id, self.findings), self.identifiers, self.key)
            for row in PathStore(db, self.roots).rows()
        )
        return write_table(stream, image_columns(self.findings), rows)


class ImagesWriter:
    """Writes `images.csv`, beside the other files of the report where there are many paths."""

    def __init__(self, table: ImageTable, db: sqlite3.Connection, state: Path, paths: int) -> None:
        """Nothing is begun yet.

        Args:
            table: What to write.
            db: The open state, to write it in this process.
            state: The same, to be opened by another: what it is to see must be committed.
            paths: How many rows there will be.
        """
        self._table = table
        self._db = db
        self._state = state
        self._is_beside = paths >= BESIDE_FROM
        self._path: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.lost = ""
        """How the process ended where it did not write the file; empty where all is well."""

    def __call__(self, stream: BinaryIO) -> int:
        """Write it here and now."""
        return self._table.write(self._db, stream)

    def begin(self, path: Path, access: Access) -> None:
        """Begin to write it, where that pays."""
        if not self._is_beside:
            return
        table = asdict(self._table) | {
            "roots": [os.fsencode(root).hex() for root in self._table.roots],
            "key": self._table.key.hex(),
        }
        order: dict[str, Any] = {"table": table, "access": asdict(access)}
        order |= {"state": _hex(self._state), "path": _hex(path)}
        self._path = path
        try:
            self._process = children.start(
                "screener.report.images", stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            if self._process.stdin is not None:
                self._process.stdin.write(json.dumps(order).encode())
                self._process.stdin.close()
        except OSError as error:
            self.lost = type(error).__name__

    def facts(self) -> dict[str, object] | None:
        """Wait for what `write_file` says of it; None where it has still to be written here."""
        if self._process is None or self._path is None:
            return None
        if not self.lost and self._process.stdout is not None:
            told = self._process.stdout.read()
            status = self._process.wait()
            try:
                facts: dict[str, object] = json.loads(told)
            except ValueError:
                # It ended before it had done, or something of the site's prints when Python starts.
                self.lost = f"status {status}"
            else:
                return facts
        self.stop()
        self._path.unlink(missing_ok=True)
        return None

    def stop(self) -> None:
        """End the process, however far it is; harmless where it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    if stream is not None:
                        stream.close()


def _hex(path: Path) -> str:
    # A path may hold any bytes.
    return os.fsencode(path).hex()


def _path(text: str) -> Path:
    return Path(os.fsdecode(bytes.fromhex(text)))


def main() -> None:
    """Write the file that stdin describes; print what `write_file` says of it."""
    children.live_with(int(sys.argv[1]))
    order: Mapping[str, Any] = json.load(sys.stdin)
    table = ImageTable(
        **{
            **order["table"],
            "roots": tuple(bytes.fromhex(root) for root in order["table"]["roots"]),
            "findings": tuple(order["table"]["findings"]),
            "key": bytes.fromhex(order["table"]["key"]),
        }
    )
    os.umask(0o077)
    # Read only: it never takes the state's log in, nor waits for who does.
    state = f"{_path(order['state']).as_uri()}?mode=ro"
    with closing(sqlite3.connect(state, uri=True, isolation_level=None)) as db:
        facts = write_file(
            _path(order["path"]),
            lambda stream: table.write(db, stream),
            Access(**order["access"]),
        )
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
