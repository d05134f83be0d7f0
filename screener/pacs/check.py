"""What a step of `screener verify-pacs` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from screener.pacs.answer import Answer, Reply
from screener.pacs.publish import mend_of


class State(StrEnum):
    """How a step ended."""

    WORKS = "works"
    FAILS = "fails"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Check:
    """One step at one door. `found` holds a code or plain words, `mend` what to do."""

    door: str
    step: str
    state: State
    found: str = ""
    mend: str = ""


def check_of(door: str, step: str, answer: Answer, found: str = "") -> Check:
    """What an answer says of a step; `found` where it was done."""
    if answer.reply is Reply.DONE:
        return Check(door, step, State.WORKS, found)
    return Check(door, step, State.FAILS, answer.code, mend_of(answer.code))
