"""What the last report was made with, kept in the state, so that `purge` can make it anew."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from screener.errors import UsageError
from screener.ledger import Ledger
from screener.manifest import MANIFEST
from screener.settings import Settings

LAST = "last_report"
"""Its key among the settings of the state."""
# What a command line may give, and so no site file repeats.
_GIVEN = (
    "identifiers", "spreadsheet", "only_new", "operating_point", "threshold",
    "threshold_model_sha256", "precision", "device", "fail_on",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LastReport:
    """The roots of a report and the settings that shape it.

    `site`: hash of what a site file alone can say (layout, access, priorities). `out` and `run_id`:
    the folder and the run that it was written by; empty where an older version kept it.
    """

    roots: tuple[bytes, ...]
    given: dict[str, Any]
    model: str
    site: str
    out: bytes = b""
    run_id: str = ""

    @classmethod
    def of(cls, roots: list[bytes], settings: Settings, out: Path, run_id: str) -> Self:
        """Of a run that was published."""
        return cls(
            tuple(roots),
            {name: getattr(settings, name) for name in _GIVEN},
            "" if settings.model is None else os.path.abspath(settings.model),
            _site(settings),
            os.fsencode(out),
            run_id,
        )

    @classmethod
    def read(cls, text: str) -> Self:
        """As `write` wrote it."""
        facts = json.loads(text)
        roots = tuple(bytes.fromhex(root) for root in facts.pop("roots"))
        out = bytes.fromhex(facts.pop("out", ""))
        return cls(roots=roots, out=out, **facts)

    def write(self) -> str:
        """As JSON; paths as hexadecimal digits, for they need not be text."""
        facts = dataclasses.asdict(self)
        return json.dumps(
            facts | {"roots": [root.hex() for root in self.roots], "out": self.out.hex()}
        )

    def keep(self, ledger: Ledger) -> None:
        """Keep it as the last of its folder, and of all folders that share the state."""
        text = self.write()
        for key in (_key(self.out), LAST):
            ledger.keep_setting(key, text)

    def apply(self, settings: Settings) -> Settings:
        """The settings of the site file with what the command line of the report gave.

        Raises:
            UsageError: the site file is another one.
        """
        if _site(settings) != self.site:
            raise UsageError(
                "the last report was written with another site file",
                "a report of another shape would reach the importer; nothing was changed",
                "give the same --config, or run `screener scan` with this one first",
            )
        model = Path(self.model) if self.model else None
        return dataclasses.replace(settings, model=model, **self.given)


def last_report(ledger: Ledger, out: Path, run_id: str | None) -> LastReport | None:
    """What the report of an output folder was made with; None where the state does not know.

    Args:
        ledger: Several folders may share it.
        out: The output folder, which may have been moved.
        run_id: Of the report that lies there; None for none.
    """
    kept = ledger.setting(_key(os.fsencode(out)))
    if kept is not None:
        return LastReport.read(kept)
    kept = ledger.setting(LAST)
    last = None if kept is None else LastReport.read(kept)
    return last if last is not None and last.run_id in {"", run_id} else None


def other_folders(ledger: Ledger, out: Path) -> list[Path]:
    """Folders with reports that were written from the same state."""
    rows = ledger.db.execute("SELECT value FROM settings WHERE key GLOB ?", (f"{LAST} *",))
    folders = {Path(os.fsdecode(LastReport.read(row[0]).out)) for row in rows.fetchall()}
    return sorted(each for each in folders - {out} if _reports_from(ledger.path, each))


def _reports_from(state: Path, folder: Path) -> bool:
    """Whether a folder's report is of this state, not of one of its own that ours is a copy of."""
    own = folder / "state.sqlite"
    return (folder / MANIFEST).exists() and (not own.exists() or own.samefile(state))


def _key(out: bytes) -> str:
    return f"{LAST} {hashlib.sha256(out).hexdigest()}"


def _site(settings: Settings) -> str:
    said = (settings.report, settings.output, sorted(settings.priority.items()))
    return hashlib.sha256(repr(said).encode()).hexdigest()
