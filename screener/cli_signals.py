"""Ctrl-C and `kill` end a command after its step; asked twice they end it at once."""

from __future__ import annotations

import os
import signal
from types import FrameType

from screener.console import note
from screener.summary import Stop


def stop_on_signals(kept: str) -> Stop:
    """What a command asks between its steps; SIGINT and SIGTERM set it from now on.

    Args:
        kept: What the user is told is kept.
    """
    stop = Stop()

    def on_signal(number: int, _: FrameType | None) -> None:
        if stop.signal_number:
            # Asked twice: left as a power cut would leave it, which the next run mends.
            os._exit(128 + number)
        stop.signal_number = number
        note(f"stopping; {kept} (once more to stop at once)")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop
