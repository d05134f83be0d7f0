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

    `site`: hash of what a site file alone can say (layout, access, priorities).
    """

    roots: tuple[bytes, ...]
    given: dict[str, Any]
    model: str
    site: str

    @classmethod
    def of(cls, roots: list[bytes], settings: Settings) -> Self:
        """Of a run that begins."""
        return cls(
            tuple(roots),
            {name: getattr(settings, name) for name in _GIVEN},
            "" if settings.model is None else os.path.abspath(settings.model),
            _site(settings),
        )

    @classmethod
    def read(cls, text: str) -> Self:
        """As `write` wrote it."""
        facts = json.loads(text)
        roots = tuple(bytes.fromhex(root) for root in facts.pop("roots"))
        return cls(roots=roots, **facts)

    def write(self) -> str:
        """As JSON; paths as hexadecimal digits, for they need not be text."""
        facts = dataclasses.asdict(self)
        return json.dumps(facts | {"roots": [root.hex() for root in self.roots]})

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


def _site(settings: Settings) -> str:
    said = (settings.report, settings.output, sorted(settings.priority.items()))
    return hashlib.sha256(repr(said).encode()).hexdigest()
