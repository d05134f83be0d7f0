"""docs/pacs.md: its site file is one, its commands are, and its codes are those of the program.

Renew its table with: python -m tests.pacs.test_docs
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from screener.pacs.answer import MENDS
from screener.pacs.publish import OWN_MENDS
from screener.pacs.structured_report import SOP_CLASSES
from screener.settings import load_settings

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "pacs.md"


def table() -> str:
    """Code and mend of everything that can keep something in the queue."""
    rows = sorted({**MENDS, **OWN_MENDS}.items())
    return "".join(f"| `{code}` | {words} |\n" for code, words in rows)


def renewed(text: str) -> str:
    head, begin, rest = text.partition("<!-- answers -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    heading = "| code | mend |\n|---|---|\n"
    return head + begin + heading + table() + end + tail


def test_the_codes_are_those_of_the_program() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert renewed(text) == text


def test_the_parts_of_a_site_file_can_be_read(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    parts = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    assert len(parts) >= 3
    config = tmp_path / "site.toml"
    for part in parts:
        for lines in (part, part.replace("#tls = true", "tls = true")):
            config.write_text(lines, encoding="utf-8")
            load_settings(config)


def test_the_keys_that_it_names_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    template = (ROOT / "screener" / "pacs" / "site.py").read_text(encoding="utf-8")
    for key in ("sr_class", "key_image_kind", "days", "minutes", "triage", "hours", "only_studies"):
        assert key in text
        assert f"    {key}: " in template
    for uid in SOP_CLASSES.values():
        assert uid in text


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit()
