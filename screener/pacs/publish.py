"""`screener publish`: plan what is to be sent, then send it, door by door, as long as it goes.

Local doors come first: a worklist entry and a CSV file wait for no server.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from screener.durable import private_files
from screener.errors import UsageError
from screener.ledger import Ledger
from screener.ledger_errors import require_state, state_errors
from screener.lock import run_lock
from screener.pacs.answer import Answer, Reply
from screener.pacs.dicomweb import WebStore
from screener.pacs.dimse import DimseStore
from screener.pacs.doors import Retry
from screener.pacs.local import deliver_csv, deliver_worklist
from screener.pacs.making import CannotMakeError, make, sop_classes
from screener.pacs.planning import CSV, OBJECTS, WORKLIST, Plan, plan
from screener.pacs.queue import Queue
from screener.pacs.sending import Store, send
from screener.reporting import site_layout
from screener.settings import Settings
from screener.summary import Stop

NETWORK = ("dicomweb", "dimse")
_LOST_IN_A_ROW = 3
_ONCE = Retry(attempts=1)
OWN_MENDS = {
    "DISK": "the folder is not there or cannot be written: mount it, check space and permissions",
    "FILM_GONE": "the film's file is gone: it is sent when the file is back",
    "TIME_IS_UP": "it is sent by the next run; raise [publish] minutes",
    "WORKLIST_BUSY": "the folder's lock was held all the time: look who holds it",
}


@dataclass(slots=True)
class Delivered:
    """What became of one kind of thing at one door in this run.

    `left` counts what stays queued by the code of its failure; `impossible` what cannot be made.
    """

    kind: str
    door: str
    sent: int = 0
    withdrawn: int = 0
    left: Counter[str] = field(default_factory=Counter)
    impossible: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class PublishSummary:
    """What `publish` says when it ends. `exit_code` is the contract's."""

    exit_code: int
    plan: Plan
    delivered: tuple[Delivered, ...]
    elapsed_s: float


@private_files()
def publish(
    out: str | os.PathLike[str],
    settings: Settings,
    *,
    state: Path | None = None,
    done: frozenset[str] = frozenset(),
    stop: Stop | None = None,
    progress: Callable[[int, int], None] = lambda _sent, _left: None,
) -> PublishSummary:
    """Send what the published reports say and the doors of the site file do not know yet.

    Raises:
        UsageError: the site file names no door, a door cannot be used, or there is no state.
        LockedError: a scan or another publish is at work.
        InterruptedRunError: `stop` was set; what was sent is marked, the rest stays queued.
        RunError: the state cannot be read or written.
    """
    began = time.monotonic()
    folder = Path(os.path.abspath(out))
    check_doors(settings)
    path = Path(os.path.abspath(state or settings.state or folder / "state.sqlite"))
    require_state(path)
    stop = stop or Stop()
    with ExitStack() as stack:
        stack.enter_context(run_lock(folder, path))
        stack.enter_context(state_errors(path))
        ledger = stack.enter_context(Ledger(path))
        stores = {name: _open(name, settings) for name in NETWORK if sop_classes(settings, name)}
        for store in stores.values():
            stack.enter_context(store)
        queue = Queue(ledger)
        planned = plan(queue, settings, datetime.now(UTC), done)
        results = []
        if settings.worklist.folder is not None:
            one = Delivered(WORKLIST, WORKLIST)
            results.append(one)
            deliver_worklist(queue, settings.worklist, done, one)
        for name, door in settings.csv.items():
            one = Delivered(CSV, name)
            results.append(one)
            deliver_csv(queue, name, door, settings, folder, one)
        ends = began + settings.publish.minutes * 60
        for door_name, store in stores.items():
            results += _drain(queue, door_name, store, settings, stop, ends, progress)
    code = 6 if any(each.left for each in results) else 0
    if any(each.impossible for each in results):
        code = 6
    return PublishSummary(code, planned, tuple(results), time.monotonic() - began)


def check_doors(settings: Settings) -> None:
    """Refuse settings that name no door, or one without an address.

    A folder that is not there may be a share that is not mounted: what is for it stays queued, and
    the other doors are served.

    Raises:
        UsageError: which section of the site file is missing.
    """
    wanted = {*settings.publish.structured_report, *settings.publish.key_image}
    for name, door in (("dicomweb", settings.dicomweb), ("dimse", settings.dimse)):
        if name in wanted and not door.open:
            key = "url" if name == "dicomweb" else "host"
            raise UsageError(
                f"[publish] names {name!r} but [{name}] has no {key}",
                mend=f"give {key} under [{name}] in the site file",
            )
    if not wanted and settings.worklist.folder is None and not settings.csv:
        raise UsageError(
            "the site file names no door",
            "there is nowhere to publish to",
            "give --config with [publish], [worklist] or [csv.NAME]; see docs/pacs.md",
        )
    for name, files in settings.csv.items():
        try:
            site_layout(files.layout)
        except UsageError as error:
            raise UsageError(f"[csv.{name}.layout]: {error.what}", mend=error.mend) from None


def _open(name: str, settings: Settings) -> WebStore | DimseStore:
    """A network door, with its secrets and certificates read. Nothing is sent yet."""
    if name == "dicomweb":
        return WebStore(settings.dicomweb)
    return DimseStore(settings.dimse, sop_classes(settings, name))


def _pause(seconds: float, stop: Stop) -> None:
    """Wait, but no longer than until a signal comes."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        stop.check()
        time.sleep(min(left, 0.2))


def _drain(
    queue: Queue,
    door: str,
    store: Store,
    settings: Settings,
    stop: Stop,
    ends: float,
    progress: Callable[[int, int], None],
) -> list[Delivered]:
    """Send what waits at a door, until nothing does, the door is shut, or the time is up."""
    found = {kind: Delivered(kind, door) for kind in OBJECTS}
    waiting = queue.waiting(OBJECTS, door)
    retry, lost, shut = settings.retry, 0, ""
    pause = partial(_pause, stop=stop)
    for position, number in enumerate(waiting):
        stop.check()
        item = queue.item(number)
        if not shut and time.monotonic() > ends:
            shut = "TIME_IS_UP"
        if shut:
            found[item.kind].left[shut] += 1
            continue
        try:
            dataset = make(item)
        except CannotMakeError as error:
            queue.mark_impossible(number, error.code)
            found[item.kind].impossible[error.code] += 1
            continue
        answer = send(store, dataset, retry, pause)
        if answer.reply is Reply.DONE:
            queue.mark_delivered(number, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", answer.code)
            found[item.kind].sent += 1
            retry, lost = settings.retry, 0
            progress(position + 1, len(waiting))
            continue
        queue.mark_failed(number, answer.code)
        found[item.kind].left[answer.code] += 1
        # One object may bring a server down each time: the next ones get their chance, but a
        # server that is down is not asked two thousand times.
        retry = _ONCE if answer.may_pass else retry
        lost = lost + 1 if answer.reply is not Reply.REFUSED else 0
        if lost >= _LOST_IN_A_ROW or (answer.reply is Reply.UNREACHABLE and not answer.may_pass):
            shut = answer.code
    return list(found.values())


def mend_of(code: str) -> str:
    """What to do about a code under which something stays queued."""
    if code in OWN_MENDS:
        return OWN_MENDS[code]
    if code.startswith("UNFIT_"):
        return "the film's header breaks the standard: look at the study with `screener explain`"
    return Answer(Reply.LATER, code).mend
