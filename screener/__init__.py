"""Screen chest radiographs overnight and write a triage report. Research use, no medical device.

    from screener import Settings, scan

    summary = scan("studies", "report", Settings(device="cpu"))
    print(summary.triage, summary.triage_csv)

What stands in `__all__` is the public interface and is loaded when it is first asked for, so that
`import screener` stays quick; all other modules are the program's own.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from screener.errors import ScreenerError
    from screener.screening import scan
    from screener.settings import Settings, load_settings
    from screener.summary import Progress, RunSummary, Stop

# ONNX Runtime reports its use and keeps a device id in HOME unless it is told not to before it is
# imported. A hospital's program sends nothing, ever.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
__all__ = [
    "Progress",
    "RunSummary",
    "ScreenerError",
    "Settings",
    "Stop",
    "__version__",
    "load_settings",
    "scan",
]

_HOMES = {
    "Progress": "screener.summary",
    "RunSummary": "screener.summary",
    "ScreenerError": "screener.errors",
    "Settings": "screener.settings",
    "Stop": "screener.summary",
    "load_settings": "screener.settings",
    "scan": "screener.screening",
}

# A type checker is not shown this: it would take any misspelt name for one that is there.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
