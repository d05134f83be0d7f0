"""Screen chest radiographs overnight and write a triage report. Research use, no medical device."""

from __future__ import annotations

import os

# ONNX Runtime reports its use and keeps a device id in HOME unless it is told not to before it is
# imported. A hospital's program sends nothing, ever.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
__all__ = ["__version__"]
