"""The shape of a CSV file: the contract's dialect, its twin for spreadsheets, a site's own.

What a layout cannot do is said when it is made; a cell never stops a table half way.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class TableLayout:
    """The shape of a CSV file. As it stands it is the contract's dialect.

    Attributes:
        columns: Which columns, in their order; empty for all.
        rename: Column -> header name.
        words: Column -> value -> the importer's own word; other values stay.
        header: Whether the first line names the columns.
        delimiter: One character.
        quote: Where quotes stand. With `none` a delimiter or quote inside a value becomes a space.
        encoding: Of the whole file.
        unencodable: What becomes of a character that the encoding lacks. An identifier with one
            is left empty: an altered one may be another patient's.
        line_end: LF or CR LF.
        date_format: strftime format of DICOM dates; empty for verbatim. A value that is no date is
            left empty where a format is given, for an importer would stop at it.
        time_format: The same of DICOM times.
        timestamp_format: The same of the program's own times, in UTC.
        neutralise: For spreadsheets: put ' before what would be taken for a formula or shown as
            another value.

    Raises:
        ValueError: On construction, with the bad value.
    """

    columns: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    header: bool = True
    delimiter: str = ","
    quote: Literal["minimal", "all", "none"] = "minimal"
    encoding: str = "utf-8"
    unencodable: Literal["replace", "backslashreplace", "xmlcharrefreplace"] = "replace"
    line_end: Literal["lf", "crlf"] = "lf"
    date_format: str = ""
    time_format: str = ""
    timestamp_format: str = ""
    neutralise: bool = False

    def __post_init__(self) -> None:
        """Refuse what could stop a table half way."""
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n\0 ':
            raise ValueError(f"delimiter {self.delimiter!r} is not one character that can divide")
        try:
            # A letter, an accent, a character of two units and a lone surrogate: all must pass.
            "A\u00e9\u65e5\U0001f600\udc80".encode(self.encoding, self.unencodable)
            f'{self.delimiter}"\r\n'.encode(self.encoding)
        except (LookupError, UnicodeError):
            raise ValueError(f"encoding {self.encoding!r} cannot hold a table") from None
        for name in ("date_format", "time_format", "timestamp_format"):
            layout = getattr(self, name)
            if not layout.isprintable() or not datetime(2001, 2, 3).strftime(layout).isprintable():  # noqa: DTZ001
                raise ValueError(f"{name} {layout!r} is not a format of one line")
        vocabulary = [word for words in self.words.values() for word in words.values()]
        for word in [*self.rename.values(), *vocabulary]:
            if not word.isprintable():
                raise ValueError(f"{word!r} holds a control character")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"a column stands twice in {list(self.columns)!r}")

    def choose(self, available: Sequence[str]) -> tuple[str, ...]:
        """The columns that this layout takes of those that a table has.

        Raises:
            ValueError: A column is named that the table does not have, with the nearest right one.
        """
        for name in (*self.columns, *self.rename, *self.words):
            if name not in available:
                near = difflib.get_close_matches(name, available, n=1)
                mend = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"there is no column {name!r}{mend}")
        return self.columns or tuple(available)


CONTRACT = TableLayout(unencodable="backslashreplace")
# Excel knows UTF-8 by its byte order mark alone.
SPREADSHEET = TableLayout(quote="all", encoding="utf-8-sig", line_end="crlf", neutralise=True)
