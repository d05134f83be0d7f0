"""One object through a door, with patience: what is worth asking again is asked again, later."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from pydicom import Dataset

from screener.pacs.answer import Answer
from screener.pacs.doors import Retry


class Store(Protocol):
    """What `WebStore` and `DimseStore` have in common."""

    def store(self, dataset: Dataset) -> Answer:
        """Send one object."""


def send(
    store: Store,
    dataset: Dataset,
    retry: Retry,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Send an object, again after a growing wait where the server could not take it now.

    Returns:
        The last answer: what no waiting mends comes at once, the rest after the last attempt.
    """
    answer = store.store(dataset)
    for wait_s in retry.waits_s():
        if not answer.may_pass:
            break
        sleep(wait_s)
        answer = store.store(dataset)
    return answer
