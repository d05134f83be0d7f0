"""Lists that are complete, or an error: no server's habit makes the rest vanish without a word.

Servers cap how much they answer, some say so and some do not; some ignore `offset`, and give the
first page for ever; an archive grows while it is listed. So pages are asked for until one is empty;
a page that repeats shows that `offset` is ignored, and then a day is split by study time until each
part is smaller than what the server is known to give at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from screener.pacs.archive import Entry, Page, Question

Ask = Callable[[int], Page]
_PASSES = 3
_MOST_PAGES = 10_000


class IncompleteError(Exception):
    """A list that cannot be shown to be complete: `code` says why, `found` what there was."""

    def __init__(self, code: str, found: Mapping[str, Entry]) -> None:
        super().__init__(code)
        self.code, self.found = code, found


class Lister:
    """Asks one server for lists and remembers how much it gives at once.

    `least_cap`: that a server caps its answers at fewer is not believed; a shorter list of one page
    counts as whole. `parted` counts lists that had more than the server gives at once, so that they
    were made of parts of a day. A study without a time is in none of these; where one was seen that
    is an error, but one that the server never showed cannot be known of.
    """

    def __init__(self, least_cap: int) -> None:
        self._cap = least_cap
        self.parted = 0

    def studies(self, ask: Callable[[Question, int], Page], question: Question) -> dict[str, Entry]:
        """Every study that a question finds, by UID.

        Raises:
            IncompleteError: they cannot be listed to the end.
            UnansweredError: as `ask` raises it.
        """
        found, proven = self._pages(lambda offset: ask(question, offset), None)
        if proven:
            return found
        parts = self._halves(ask, question, found)
        self.parted += len(parts) > len(found)
        return found | parts

    def members(self, ask: Ask, expected: int | None) -> dict[str, Entry]:
        """Every series of a study or object of a series, by UID.

        Args:
            ask: For the page at an offset.
            expected: How many there are as the archive counts them; None where it does not say.

        Raises:
            IncompleteError: there are fewer than the archive counts, or the end cannot be seen.
            UnansweredError: as `ask` raises it.
        """
        found, proven = self._pages(ask, expected)
        if expected is not None and len(found) < expected:
            raise IncompleteError("COUNT", found)
        if not proven and expected is None:
            raise IncompleteError("PAGES_REPEAT", found)
        return found

    def _pages(self, ask: Ask, expected: int | None) -> tuple[dict[str, Entry], bool]:
        """All pages, again where the archive moved meanwhile; whether that is all there is."""
        found: dict[str, Entry] = {}
        for _ in range(_PASSES):
            this, steady, proven = self._one_pass(ask, expected)
            found |= this
            if steady:
                return found, proven
        return found, False

    def _one_pass(self, ask: Ask, expected: int | None) -> tuple[dict[str, Entry], bool, bool]:
        found: dict[str, Entry] = {}
        offset, steady, promised = 0, True, False
        for _ in range(_MOST_PAGES):
            page = ask(offset)
            here = {each.uid: each for each in page.entries}
            if not here:
                return found, steady, not promised
            repeated = here.keys() & found.keys()
            if len(repeated) == len(here):
                # The same page once more: the server takes no offset.
                return found, True, not promised and self._is_whole(len(found))
            steady = steady and not repeated
            found |= here
            if not page.paged:
                return found, True, not page.more and self._is_whole(len(here))
            if expected is not None and len(found) >= expected and not page.more:
                return found, True, True
            offset += len(page.entries)
            promised = page.more
        return found, True, False

    def _is_whole(self, count: int) -> bool:
        """Whether so short an answer was not cut off: the server has given more at once before."""
        whole = count < self._cap
        self._cap = max(self._cap, count)
        return whole

    def _halves(
        self, ask: Callable[[Question, int], Page], question: Question, seen: dict[str, Entry]
    ) -> dict[str, Entry]:
        """The same question for each half of its time, and for the halves of these."""
        middle = (question.begin_s + question.end_s) // 2
        if question.end_s - question.begin_s < 2:
            raise IncompleteError("PAGES_REPEAT", seen)
        parts = [replace(question, end_s=middle), replace(question, begin_s=middle)]
        lists = [self._pages(lambda offset, part=part: ask(part, offset), None) for part in parts]  # type: ignore[misc]
        if lists[0][0].keys() & lists[1][0].keys():
            raise IncompleteError("TIME_IGNORED", seen)
        found: dict[str, Entry] = {}
        for part, (these, proven) in zip(parts, lists, strict=True):
            found |= these if proven else these | self._halves(ask, part, these)
        if seen.keys() - found.keys():
            # Studies without a time, or that went away: there may be more that no half shows.
            raise IncompleteError("NO_STUDY_TIME", found | seen)
        return found
