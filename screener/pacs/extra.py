"""The libraries of the extra `pacs`: whether they are there, and how quiet they are kept."""

from __future__ import annotations

import importlib
import logging
import warnings

from screener.errors import UsageError

PACKAGES = ("dicomweb_client", "highdicom", "pynetdicom", "requests")
# Their words may hold a patient's name, a UID or an address; what matters comes back as an Answer.
_TALKING = (
    "dicomweb_client",
    "highdicom",
    "pydicom",
    "pynetdicom",
    "requests",
    "retrying",
    "urllib3",
)


def require_extra() -> None:
    """Import what the commands with a network need, and keep it from talking.

    Raises:
        UsageError: a package is missing; names the extra that brings it.
    """
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            raise UsageError(
                f"the package {name!r} is missing",
                "what talks to a PACS is not part of the base",
                "pip install '.[pacs]' in the program's clone",
            ) from None
    # pydicom quotes the values that it warns of.
    warnings.simplefilter("ignore")
    for name in _TALKING:
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
