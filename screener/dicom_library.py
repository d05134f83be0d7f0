"""The parts of pydicom that the way of a scan uses, imported without the network.

pydicom brings a module that fetches test files, and that imports `requests` where it is installed
(the extra pacs brings it). Its urllib3 makes an IPv6 socket and binds it, to see whether it can:
harmless, but a scan promises to make none. So pydicom is imported here, once, as if `requests` were
not installed; it takes 0.1 s less, in the scan and in the process that starts the workers.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETWORK_LIBRARY = "requests"


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Let an import of a module fail for a moment, unless somebody has it already."""
    if module in sys.modules:
        yield
        return
    # What the import system takes for "there is no such module".
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


with _without(_NETWORK_LIBRARY):
    from pydicom.charset import STAND_ALONE_ENCODINGS, decode_bytes, python_encoding
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.filereader import data_element_generator
    from pydicom.sequence import Sequence
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_32
    from pydicom.values import convert_SQ

__all__ = [
    "EXPLICIT_VR_LENGTH_32",
    "STAND_ALONE_ENCODINGS",
    "DataElement",
    "RawDataElement",
    "Sequence",
    "convert_SQ",
    "data_element_generator",
    "decode_bytes",
    "python_encoding",
]
