"""`screener pull`: what an archive has got since the last time, into a folder that is then scanned.

The mark of a modality moves when all that the archive lists for its window is stored, or recorded
as missing with a reason; what is missing is asked for again by the next pulls.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from screener.accounts import refuse_root
from screener.durable import private_files
from screener.errors import RunError, UsageError
from screener.ledger_errors import state_errors
from screener.lock import state_lock
from screener.pacs.arrival import NoRoomError, Shelf
from screener.pacs.dimse_archive import DimseArchive
from screener.pacs.fetching import Fetched, Fetching, ShutError
from screener.pacs.listing import Lister
from screener.pacs.pull_state import PullState
from screener.pacs.receiver import receiving
from screener.pacs.web_archive import WebArchive
from screener.pacs.window import LAST, Window, since_date, since_mark, study_dates, zone_of
from screener.settings import Settings
from screener.summary import Stop

SOP_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.7",
)
"""CR, DX for presentation and for processing, Secondary Capture: what radiographs are."""
MISSING, FULL = 6, 7
# No server is believed to cut lists of studies off below these; C-FIND has no pages to tell by.
_LEAST_CAP_WEB, _LEAST_CAP_DIMSE = 10, 50
_LONGEST_OBJECT_S = 60.0
"""An object that takes longer, and longer than ten answers may, does not come any more."""


@dataclass(frozen=True, slots=True)
class PullSummary:
    """What `pull` says when it ends. `exit_code` is the contract's.

    `left`: how many are not stored, by state (MISSING, GIVEN_UP) and code, this pull's among them.
    `marked`: modalities whose mark moved.
    """

    exit_code: int
    fetched: Fetched
    left: dict[tuple[str, str], int]
    marked: tuple[str, ...]
    removed: int
    elapsed_s: float


@private_files()
def pull(
    out: str | os.PathLike[str],
    settings: Settings,
    *,
    state: Path | None = None,
    since: str = LAST,
    study_date: str = "",
    stop: Stop | None = None,
    progress: Callable[[int], None] = lambda _stored: None,
) -> PullSummary:
    """Fetch what the archive has and this folder was not given yet.

    Args:
        out: The folder; it is made where its parent is there.
        settings: `[pull]` and the doors.
        state: Where it is kept what is known; without it beside the folder.
        since: `last`, or a day from which on is asked.
        study_date: Days to repair: what is known and has no file is fetched again, no mark moves.
        stop: Looked at between two objects.
        progress: Called with the number of objects that were stored.

    Raises:
        UsageError: the site file names no archive, a door cannot be used, or a date is none; or
            this is root, and the folder another account's.
        LockedError: another pull is at work on this state.
        InterruptedRunError: `stop` was set; what was fetched is kept.
        RunError: the state or the folder cannot be read or written.
    """
    began, now = time.monotonic(), datetime.now(UTC)
    folder = Path(os.path.abspath(out))
    path = Path(os.path.abspath(state or folder.with_name(f"{folder.name}.pull.sqlite")))
    source = source_of(settings)
    asked = settings.pull
    zone = zone_of(asked.time_zone)
    # A wrong date is told before anything is made.
    fixed = study_dates(study_date) if study_date else None
    if fixed is None and since != LAST:
        fixed = since_date(since, now, zone)
    refuse_root(folder)
    with ExitStack() as stack:
        stack.enter_context(_disk_errors(folder))
        folder.mkdir(exist_ok=True)
        stack.enter_context(state_lock(path.with_name(f"{path.name}.lock")))
        stack.enter_context(state_errors(path))
        known = stack.enter_context(PullState(path, source))
        shelf = Shelf(folder, asked.most_gb, asked.free_gb)
        removed = _remove_old(known, shelf, now - timedelta(days=asked.keep_days), asked.keep_days)
        known.give_up(now - timedelta(days=asked.again_days))
        work = Fetching(
            archive=open_archive(settings, stack),
            state=known,
            shelf=shelf,
            lister=Lister(_LEAST_CAP_WEB if asked.via == "dicomweb" else _LEAST_CAP_DIMSE),
            retry=settings.retry,
            ends=began + asked.minutes * 60,
            stop=stop or Stop(),
            progress=progress,
            repair=bool(study_date),
        )
        missing = known.missing()
        unlisted = {each: known.missing_studies(each) for each in asked.modality}
        marked: list[str] = []
        code = 0
        try:
            for modality in asked.modality:
                mark = known.mark(modality)
                if _one_modality(work, modality, mark, fixed, now, zone, settings):
                    known.move_mark(modality, now)
                    marked.append(modality)
            for modality, studies in unlisted.items():
                for study_uid, day in studies:
                    work.study(study_uid, day, modality)
            for film in missing:
                work.film(film, again=True)
        except ShutError as error:
            work.result.shut = error.code
        except NoRoomError as error:
            work.result.shut, code = error.code, FULL
        work.result.parted = work.lister.parted
        left = known.left()
    if work.result.unlisted or work.result.shut or any(key[0] == "MISSING" for key in left):
        code = code or MISSING
    elapsed_s = time.monotonic() - began
    return PullSummary(code, work.result, left, tuple(marked), removed, elapsed_s)


def _one_modality(
    work: Fetching,
    modality: str,
    mark: datetime | None,
    fixed: Window | None,
    now: datetime,
    zone: tzinfo | None,
    settings: Settings,
) -> bool:
    """Fetch a modality's window, newest day first; whether its mark may move."""
    due = since_mark(mark, now, settings.pull.overlap_hours, zone)
    window = fixed or due
    complete = [work.day(day, modality) for day in reversed(list(window.days()))]
    # A window that begins later than the last one ended would leave a gap behind the mark.
    reaches = not work.repair and (mark is None or window.first <= due.first)
    return all(complete) and reaches


def source_of(settings: Settings) -> str:
    """The archive that is pulled from, as the state names it.

    Raises:
        UsageError: the site file does not name it, or no receiver for C-MOVE.
    """
    via = settings.pull.via
    if via == "dicomweb":
        if not settings.dicomweb.open:
            raise UsageError(
                "[pull] via is 'dicomweb' but [dicomweb] has no url",
                mend="give url under [dicomweb] in the site file, or another via",
            )
        return f"dicomweb {settings.dicomweb.root}"
    if not settings.dimse.open:
        raise UsageError(
            f"[pull] via is {via!r} but [dimse] has no host",
            mend="give host under [dimse] in the site file, or another via",
        )
    if via == "c-move" and not settings.receiver.open:
        raise UsageError(
            "[pull] via is 'c-move' but [receiver] has no address",
            mend="give address, port and ae_title under [receiver] in the site file",
        )
    return f"dimse {settings.dimse.host}:{settings.dimse.port} {settings.dimse.ae_title}"


def open_archive(
    settings: Settings, stack: ExitStack, sop_classes: tuple[str, ...] = SOP_CLASSES
) -> WebArchive | DimseArchive:
    """The archive of `[pull]`, to be closed with the stack; nothing is sent yet.

    Raises:
        UsageError: a door cannot be used, or the port of the receiver is taken.
    """
    limits = settings.limits
    if settings.pull.via == "dicomweb":
        object_s = max(10 * settings.dicomweb.timeout_s, _LONGEST_OBJECT_S)
        return stack.enter_context(
            WebArchive(settings.dicomweb, settings.pull.page, limits.file_bytes, object_s)
        )
    receiver = None
    if settings.pull.via == "c-move":
        receiver = stack.enter_context(receiving(settings.receiver, settings.dimse, sop_classes))
    return stack.enter_context(DimseArchive(settings.dimse, sop_classes, receiver))


def _remove_old(state: PullState, shelf: Shelf, before: datetime, keep_days: int) -> int:
    """Remove the files that were fetched too long ago: how many."""
    if not keep_days:
        return 0
    old = state.stored_before(before)
    for uid, file in old:
        shelf.remove(file)
        state.file_removed(uid)
    return len(old)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise RunError(
            f"the folder {str(folder)!r} failed: {reason}",
            "what was fetched before is kept and known",
            "check the disk and the permissions, then run the same command again",
        ) from error
