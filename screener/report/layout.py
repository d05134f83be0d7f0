"""The shape of a CSV file: the contract's dialect, its twin for spreadsheets, a site's own.

What a layout cannot do is said when it is made; a cell never stops a table half way.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from screener.report.columns import VALUES

# No two fields are alike.
_MOMENTS = (datetime(2001, 2, 3, 4, 5, 6, 7), datetime(2012, 11, 14, 15, 16, 17, 18))  # noqa: DTZ001


@dataclass(frozen=True, slots=True)
class TableLayout:
    """The shape of a CSV file. As it stands it is the contract's dialect.

    Attributes:
        columns: Which columns, in their order; empty for all.
        rename: Column -> header name.
        words: Column -> value -> the importer's own word; other values stay.
        header: Whether the first line names the columns.
        delimiter: One character; `;` and a tab are those of `--spreadsheet` too.
        quote: Where quotes stand. With `none` a delimiter or quote inside a value becomes a space,
            and an identifier with one is left empty.
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
            shown = [moment.strftime(layout) for moment in _MOMENTS]
            if not layout.isprintable() or not shown[0].isprintable():
                raise ValueError(f"{name} {layout!r} is not a format of one line")
            if layout and shown[0] == shown[1]:
                raise ValueError(f"{name} {layout!r} writes every day and hour alike")
        vocabulary = [word for words in self.words.values() for word in words.values()]
        for word in [*self.rename.values(), *vocabulary]:
            if not word.isprintable():
                raise ValueError(f"{word!r} holds a control character")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"a column stands twice in {list(self.columns)!r}")

    def choose(self, available: Sequence[str]) -> tuple[str, ...]:
        """The columns that this layout takes of those that a table has.

        Raises:
            ValueError: A column is named that the table does not have, or a value that a column
                never has, with the nearest right one; or two columns would have one name.
        """
        for name in (*self.columns, *self.rename, *self.words):
            if name not in available:
                near = difflib.get_close_matches(name, available, n=1)
                mend = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"there is no column {name!r}{mend}")
        chosen = self.columns or tuple(available)
        names = [self.rename.get(name, name) for name in chosen]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two columns would be named {name!r}")
        for column, words in self.words.items():
            for value in words if column in VALUES else ():
                if value not in VALUES[column]:
                    near = difflib.get_close_matches(value, VALUES[column], n=1)
                    mend = f"; did you mean {near[0]!r}?" if near else ""
                    raise ValueError(f"{column} is never {value!r}{mend}")
        return chosen


CONTRACT = TableLayout(unencodable="backslashreplace")
# Excel knows UTF-8 by its byte order mark alone.
SPREADSHEET = TableLayout(quote="all", encoding="utf-8-sig", line_end="crlf", neutralise=True)
SPREADSHEET_DELIMITERS = ",;\t"
"""What a spreadsheet may take by itself, by the list separator of its country."""
