"""What modules that run nights in this process share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.faults.nights import one_pool


@pytest.fixture(scope="module")
def private_pool() -> Iterator[None]:
    """One pool of workers for all nights of a module; a scan's umask ends with it."""
    before = os.umask(0o077)
    with one_pool():
        yield
    os.umask(before)
