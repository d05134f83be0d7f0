"""How the commands write what was measured."""

from __future__ import annotations


def with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    """A measured share with its 95 % interval, in words where there is none."""
    if value is None:
        return "not measured"
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
