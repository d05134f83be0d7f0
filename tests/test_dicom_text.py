"""Character sets of every family, and text that must not pass."""

from __future__ import annotations

import pytest

from screener.dicom_text import clean_text, decode_text, read_character_sets
from screener.outcomes import Warn

JAPANESE = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
KOREAN = (
    b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
)
WANG = "Wang^XiaoDong=王^小東"


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        (b"", b"BUC^JEROME", "BUC^JEROME"),
        (b"ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
        (b"ISO_IR 101", b"W\xa3ochowicz^Jan", "WŁochowicz^Jan"),
        (b"ISO_IR 126", "Διονυσιος".encode("iso8859-7"), "Διονυσιος"),
        (b"ISO_IR 127", "قباني^لنزار".encode("iso8859-6"), "قباني^لنزار"),
        (b"ISO_IR 138", "שרון^דבורה".encode("iso8859-8"), "שרון^דבורה"),
        (b"ISO_IR 144", "Люкceмбypг".encode("iso8859-5"), "Люкceмбypг"),
        (b"ISO_IR 148", "Çavuşoğlu".encode("iso8859-9"), "Çavuşoğlu"),
        (b"ISO_IR 166", "สมชาย".encode("iso8859-11"), "สมชาย"),
        (b"ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        (b"\\ISO 2022 IR 87", JAPANESE, "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (b"\\ISO 2022 IR 149", KOREAN, "Hong^Gildong=洪^吉洞=홍^길동"),
        (b"ISO_IR 192", WANG.encode(), WANG),
        (b"GB18030", WANG.encode("gb18030"), WANG),
        (b"GBK", WANG.encode("gbk"), WANG),
        (b"\\ISO 2022 IR 100", b"Buc^J\x1b-A\xe9r\xf4me", "Buc^Jérôme"),
        # Spelled as consoles spell them.
        (b"ISO-IR 192", "é".encode(), "é"),
        (b"UTF-8", "é".encode(), "é"),
        (b"ISO_IR_100 ", b"\xe9", "é"),
    ],
)
def test_character_sets(declared: bytes, value: bytes, text: str) -> None:
    sets, unknown = read_character_sets(declared)
    assert not unknown
    assert decode_text(value, sets, person_name=True) == (text, frozenset())


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        # Undeclared: the likelier of the two that are ever found.
        (b"", b"M\xfcller", "Müller"),
        (b"", "Müller".encode(), "Müller"),
        (b"ISO_IR 6", b"M\xfcller", "Müller"),
        # Bytes that do not fit.
        (b"ISO_IR 192", b"M\xfcller", "M\ufffdller"),
        (b"ISO_IR 127", b"a\xa1", "a\ufffd"),
        (b"\\ISO 2022 IR 87", b"\x1b$B\xff\xff", None),
    ],
)
def test_text_that_does_not_fit(declared: bytes, value: bytes, text: str | None) -> None:
    sets, _ = read_character_sets(declared)
    decoded, warned = decode_text(value, sets)
    assert warned == {Warn.CHARSET}
    assert text is None or decoded == text


@pytest.mark.parametrize(
    "declared",
    [b"ISO_IR 999", b"KLINGON", b"rot13", b"unicode_escape", b"ISO_IR 100\\ISO_IR 192", b"\xff"],
)
def test_an_unknown_set_is_told(declared: bytes) -> None:
    sets, warned = read_character_sets(declared)
    assert warned == {Warn.CHARSET}
    assert decode_text(b"ABC\\n", sets)[0] == "ABC\\n"


@pytest.mark.parametrize(
    "text",
    [
        "a\nb", "a\rb", "a\tb", "a\x00b", "\x1b[31mred", "\x07", "a\x7f", "a\x9b31m", "a\u2028b",
        "a\u2029b", "\u202egnp.exe", "a\u2066b",
    ],
)  # fmt: skip
def test_control_characters_empty_a_field(text: str) -> None:
    assert clean_text(text) == ("", {Warn.CONTROL_CHARACTERS})


@pytest.mark.parametrize(
    "text", ["=1+1", "+49", "-1", "@SUM(A1)", "<script>", '"', "a,b", "O'Brien", "\\", "ﾔﾏﾀﾞ"]
)
def test_all_other_text_is_verbatim(text: str) -> None:
    assert clean_text(text) == (text, frozenset())


def test_escapes_never_pass_undecoded() -> None:
    for declared in (b"", b"ISO_IR 100", b"ISO_IR 192", b"\\ISO 2022 IR 87", b"GB18030"):
        sets, _ = read_character_sets(declared)
        text, _ = decode_text(b"A\x1b[2JB\x1b]0;title\x07", sets)
        assert clean_text(text)[0] == ""


def test_padding_is_no_text() -> None:
    assert clean_text("  ID 1 \0") == ("ID 1", frozenset())
    assert clean_text("\0") == ("", frozenset())


def test_long_text_is_cut_but_an_identifier_is_left_empty() -> None:
    assert clean_text("x" * 65) == ("x" * 64, {Warn.VALUE_TOO_LONG})
    assert clean_text("x" * 65, identifier=True) == ("", {Warn.VALUE_TOO_LONG})
    assert clean_text("x" * 64, identifier=True) == ("x" * 64, frozenset())
