r"""Text of a header as a person reads it: names, dates, and nothing that steers what shows it.

The report for machines keeps text verbatim; these forms are for eyes alone.
"""

from __future__ import annotations

import re

# Zero-width joiners shape letters in Persian, Urdu and the languages of India: names need them.
_JOINERS = frozenset("\u200c\u200d")
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")
_TIME = re.compile(r"(\d\d):?(\d\d)(?::?\d\d(?:\.\d{1,6})?)?")


def visible(text: str) -> str:
    r"""Text in which what has no glyph is seen as `\xNN`: controls, and marks that turn its way."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in _JOINERS else _escaped(each) for each in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def shown_name(text: str) -> str:
    """A person's name (PS3.5 6.2.1, PN): family name first; other writings of it in brackets.

    Of each group, the family name stands before a comma, the rest in the standard's order.
    """
    groups = [shown for group in text.split("=") if (shown := _group(group))]
    if len(groups) < 2:
        return "".join(groups)
    return f"{groups[0]} ({', '.join(groups[1:])})"


def _group(text: str) -> str:
    family, *rest = (part.strip() for part in text.split("^"))
    others = " ".join(part for part in rest if part)
    return ", ".join(part for part in (family, others) if part)


def shown_date(text: str) -> str:
    """A date (PS3.5 6.2, DA) as 2024-03-11; verbatim where it is none."""
    found = _DATE.fullmatch(text.strip())
    return "-".join(found.groups()) if found else text


def shown_time(text: str) -> str:
    """A time (PS3.5 6.2, TM) as 10:37; verbatim where it is none."""
    found = _TIME.fullmatch(text.strip())
    return ":".join(found.groups()) if found else text


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 study`, `2 studies`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
