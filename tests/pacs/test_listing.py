"""Lists from servers with habits: complete, or an error; never less without a word."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import pytest

from screener.pacs.archive import DAY_S, Entry, Page, Question, is_uid
from screener.pacs.listing import IncompleteError, Lister

DAY = Question(date(2026, 1, 31), "CR")


@dataclass
class Server:
    """Studies by the second of their day; None for one without a time."""

    times: list[int | None]
    limit: int = 200
    cap: int = 10**6
    takes_offset: bool = True
    takes_time: bool = True
    paged: bool = True
    says_more: bool = False
    pages: int = 0

    def ask(self, question: Question, offset: int) -> Page:
        self.pages += 1
        whole = question.study_time == ""
        found = [
            Entry(f"1.{number}")
            for number, second in enumerate(self.times)
            if whole
            or not self.takes_time
            or (second is not None and question.begin_s <= second < question.end_s)
        ]
        first = offset if self.takes_offset and self.paged else 0
        most = min(self.limit if self.paged else 10**6, self.cap)
        page = found[first : first + most]
        more = self.says_more and first + most < len(found)
        return Page(tuple(page), paged=self.paged, more=more)


def listed(server: Server, least_cap: int = 10) -> int:
    return len(Lister(least_cap).studies(server.ask, DAY))


def spread(count: int) -> list[int | None]:
    dice = random.Random(count)
    return [dice.randrange(DAY_S) for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, 9, 199, 200, 201, 1000])
@pytest.mark.parametrize("cap", [10**6, 100, 7])
def test_pages_are_asked_for_until_one_is_empty(count: int, cap: int) -> None:
    assert listed(Server(spread(count), cap=cap)) == count


@pytest.mark.parametrize("count", [1, 9, 10, 60, 199, 200, 201, 700])
@pytest.mark.parametrize("cap", [10**6, 100, 25])
def test_a_server_that_takes_no_offset_is_asked_for_parts_of_the_day(count: int, cap: int) -> None:
    assert listed(Server(spread(count), cap=cap, takes_offset=False)) == count


@pytest.mark.parametrize("says_more", [True, False])
def test_a_server_without_pages_that_cuts_off_is_asked_for_parts(says_more: bool) -> None:
    server = Server(spread(900), cap=100, paged=False, says_more=says_more)
    assert listed(server, least_cap=50) == 900


def test_a_short_day_costs_two_questions() -> None:
    server = Server(spread(9), takes_offset=False)
    assert listed(server) == 9
    assert server.pages == 2


@pytest.mark.parametrize(
    ("server", "code"),
    [
        (Server(spread(300), takes_offset=False, takes_time=False), "TIME_IGNORED"),
        (Server([43200] * 300, takes_offset=False), "PAGES_REPEAT"),
        (Server([*spread(199), None], takes_offset=False), "NO_STUDY_TIME"),
        (Server(spread(300), cap=100, paged=False, takes_time=False), "TIME_IGNORED"),
    ],
)
def test_what_cannot_be_listed_to_the_end_is_an_error(server: Server, code: str) -> None:
    with pytest.raises(IncompleteError) as raised:
        listed(server)
    assert raised.value.code == code
    assert raised.value.found


def test_an_archive_that_moves_under_the_list_is_listed_again() -> None:
    server = Server(spread(300), limit=100)
    asked = 0

    def ask(question: Question, offset: int) -> Page:
        nonlocal asked
        asked += 1
        if asked == 2:
            # A study comes in before those that were given, so that one is given twice.
            server.times.insert(0, 1)
        page = server.ask(question, offset)
        return Page(tuple(Entry(f"{server.times[int(e.uid[2:])]}") for e in page.entries))

    assert len(Lister(10).studies(ask, DAY)) == len({str(each) for each in server.times})


def test_an_archive_that_never_rests_is_asked_for_parts() -> None:
    server = Server(spread(150), limit=100)
    turn = random.Random(3)

    def ask(question: Question, offset: int) -> Page:
        if question.study_time == "":
            turn.shuffle(server.times)
        page = server.ask(question, offset)
        return Page(tuple(Entry(f"{server.times[int(e.uid[2:])]}") for e in page.entries))

    assert len(Lister(10).studies(ask, DAY)) == len(set(server.times))


def members(count: int, *, expected: int | None, takes_offset: bool = True, cap: int = 200) -> int:
    everything = [Entry(f"1.{number}") for number in range(count)]

    def ask(offset: int) -> Page:
        first = offset if takes_offset else 0
        return Page(tuple(everything[first : first + cap]))

    return len(Lister(10).members(ask, expected))


@pytest.mark.parametrize("takes_offset", [True, False])
@pytest.mark.parametrize("expected", [None, 3])
def test_the_objects_of_a_series(expected: int | None, takes_offset: bool) -> None:
    assert members(3, expected=expected, takes_offset=takes_offset) == 3


@pytest.mark.parametrize(
    ("lists", "code"),
    [
        (lambda: members(3, expected=4), "COUNT"),
        (lambda: members(300, expected=300, takes_offset=False), "COUNT"),
        (lambda: members(300, expected=None, takes_offset=False), "PAGES_REPEAT"),
    ],
)
def test_fewer_than_the_archive_counts_is_an_error(lists: Callable[[], int], code: str) -> None:
    with pytest.raises(IncompleteError) as raised:
        lists()
    assert raised.value.code == code
    assert raised.value.found


def test_more_than_the_archive_counts_is_taken() -> None:
    assert members(5, expected=3) == 5


@pytest.mark.parametrize("seed", range(300))
def test_whatever_the_habits_nothing_vanishes_without_a_word(seed: int) -> None:
    dice = random.Random(seed)
    count = dice.choice([0, 3, 12, 90, 250, 600])
    times: list[int | None] = [
        None if dice.random() < 0.002 else dice.randrange(dice.choice([60, 3600, DAY_S]))
        for _ in range(count)
    ]
    server = Server(
        times,
        limit=dice.choice([20, 100, 200]),
        cap=dice.choice([10, 30, 100, 10**6]),
        takes_offset=dice.random() < 0.4,
        takes_time=dice.random() < 0.9,
        paged=dice.random() < 0.7,
        says_more=dice.random() < 0.5,
    )
    lister = Lister(10)
    try:
        found = lister.studies(server.ask, DAY)
    except IncompleteError:
        return
    missing = [second for number, second in enumerate(times) if f"1.{number}" not in found]
    # What cannot be known of is told as a list in parts.
    assert set(missing) <= {None}
    assert not missing or lister.parted


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("1.2.840.10008.1", True),
        ("2.25.1", True),
        ("1.2.03", True),
        ("", False),
        ("..", False),
        ("../../etc/passwd", False),
        ("1/2", False),
        ("1\\2", False),
        ("1.2*", False),
        ("1?x=1", False),
        ("1.2\n", False),
        ("1" * 65, False),
    ],
)
def test_only_a_uid_gets_into_an_address(text: str, fit: bool) -> None:
    assert is_uid(text) is fit


def test_a_split_day_leaves_no_gap() -> None:
    halves = [Question(DAY.day, "CR", 0, 43200), Question(DAY.day, "CR", 43200, DAY_S)]
    assert [each.study_time for each in halves] == [
        "000000-115959.999999",
        "120000-235959.999999",
    ]
    assert DAY.study_time == ""
