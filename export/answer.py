"""An answer to what a reporting guideline asks, and where it comes from. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Found = Mapping[str, Any]
State = Literal["answered", "stated by the site", "not known", "not applicable"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`state` says where the text comes from, or that there is none to be had."""

    state: State
    text: str


def here(text: str) -> Answer:
    """What the program knows."""
    return Answer("answered", text)


def stated(found: Found, key: str, otherwise: str = "") -> Answer:
    """The site's own words; else what the program can say; else that it is not known."""
    text = found["statements"].get(key)
    if text:
        return Answer("stated by the site", text)
    return (
        here(otherwise)
        if otherwise
        else Answer("not known", f"The site has not stated it ({key}).")
    )


def ages(found: Found) -> str:
    """Whom the model is for, in words."""
    ages = found["model"]["age_range_years"]
    return f"of {ages[0]:g} to {ages[1]:g} years" if ages else "of any age"


def interval(estimate: Mapping[str, float] | None) -> str:
    """An estimate with its 95 % interval, in words."""
    if estimate is None:
        return "not measured"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
