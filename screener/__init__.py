"""Screen chest radiographs overnight and write a triage report. Research use, no medical device."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]
