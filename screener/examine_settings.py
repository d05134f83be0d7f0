"""What one run asks of every file: told by the scan to its workers, which alone load decoders."""

from __future__ import annotations

from dataclasses import dataclass, field

from screener.domain import Limits


@dataclass(frozen=True, slots=True)
class ExamineSettings:
    """What one run asks of every file.

    Attributes:
        limits: What one file may cost.
        exact: Decode every pixel although the model needs less.
        age_range: Of the model, in years, both ends included; None for no rule.
        secondary_capture: Screen Secondary Capture images too.
    """

    limits: Limits = field(default_factory=Limits)
    exact: bool = False
    age_range: tuple[float, float] | None = None
    secondary_capture: bool = False
