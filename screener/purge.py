"""`screener purge`: forget a patient in everything that this program wrote on this machine.

In this order, so that a kill at any moment leaves enough for the same command to go on:

1. the tombstone, and which reports are to go (run ids name nobody), in one transaction;
2. entries of the worklist are withdrawn, files that `pull` fetched are removed, and its memory of
   them;
3. the rows of the state are deleted, and a report without them is published by one switch; the
   reports that are to go lead a purge that was killed in between back to this step;
4. the reports in `runs/` that may hold the patient, and copies of the state, are removed;
5. the state is rewritten, so that nothing stays in its free pages.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from screener.durable import disk_errors, private_files
from screener.errors import RunError, UsageError
from screener.examine_settings import ExamineSettings
from screener.forget import Footprint, Patient, footprint_of, forget, issuers_of, shred
from screener.kept_reports import reports_in, reports_with
from screener.keys import under
from screener.ledger import Ledger
from screener.ledger_errors import reason_and_mend, require_state
from screener.ledger_schema import files_of_state
from screener.lock import run_lock
from screener.manifest import read_manifest
from screener.night import Night
from screener.precision import KEPT, choose_bundle
from screener.publication import finish_interrupted, last_number, remove_runs
from screener.report_facts import LastReport, last_report, other_folders
from screener.reporting import publish
from screener.screening import operating_points
from screener.settings import Settings
from screener.summary import Stop
from screener.tombstones import BEGUN, Tombstones

Withdraw = Callable[[Sequence[tuple[str, str]]], None]
"""Takes study and patient keys and removes their entries from the worklist."""


@dataclass(frozen=True, slots=True)
class Traces:
    """By what the patient is found in what was fetched.

    `roots`: of the last report. `is_known`: whether a path was examined, whoever's it is.
    """

    patient: Patient
    found: Footprint
    roots: tuple[bytes, ...]
    is_known: Callable[[bytes], bool]


Remove = Callable[[], int]
Unfetch = Callable[[Traces], AbstractContextManager[Remove]]
"""Locks what `pull` keeps, and gives what removes the patient from it: how many files went."""


def nothing_fetched(_traces: Traces) -> AbstractContextManager[Remove]:
    """Where no `pull` fills the folders."""
    return nullcontext(lambda: 0)


@dataclass(frozen=True, slots=True)
class PurgeSummary:
    """What was forgotten: rows of the state, reports that went, files that `pull` had fetched.

    `sent` is what a PACS was given. `others`: folders whose reports were written from this state.
    `again`: the patient was purged before.
    """

    images: int
    studies: int
    reports: int
    withdrawn: int
    sent: int
    run_id: str
    fetched: int = 0
    others: tuple[Path, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class _Scorer:
    """What the last report was computed on; nothing is scored here."""

    provider: str
    notice: str = ""
    batch: int = 1
    at_once: int = 1

    def score(self, pixels: Any) -> list[Any]:
        raise RunError(f"{len(pixels)} films came to be scored while a patient was forgotten")


@private_files()
def purge(
    out: str | os.PathLike[str],
    patient_id: str,
    issuer: str | None,
    settings: Settings,
    withdraw: Withdraw,
    *,
    unfetch: Unfetch = nothing_fetched,
    state: Path | None = None,
) -> PurgeSummary:
    """Forget a patient everywhere, and remember by a keyed hash not to take their files again.

    Args:
        out: The output folder of the scans.
        patient_id: (0010,0020).
        issuer: (0010,0021), where one number means several patients; None for any.
        settings: Those of the scans.
        withdraw: Removes entries from the worklist; may raise UsageError where it cannot.
        unfetch: Forgets them in what `pull` keeps.
        state: The ledger, where it is not in `out`.

    Raises:
        UsageError: no state there, an ambiguous number, or other settings than the last report's.
        LockedError: a scan, a publish or a pull is at work.
        RunError: the disk failed; the same command goes on.
    """
    folder = Path(os.path.abspath(out))
    path = Path(os.path.abspath(state or settings.state or folder / "state.sqlite"))
    patient_id = patient_id.strip()
    if not patient_id:
        raise UsageError("the patient id is empty")
    require_state(path)
    with run_lock(folder, path), _state_errors(path):
        finish_interrupted(folder)
        with Ledger(path) as ledger:
            ledger.db.execute("PRAGMA secure_delete = ON")
            patient = Patient(patient_id, _checked(ledger, patient_id, issuer))
            with unfetch(_traces(ledger, folder, patient)) as remove:
                return _purge(ledger, path, folder, patient, settings, withdraw, remove)


def _traces(ledger: Ledger, folder: Path, patient: Patient) -> Traces:
    def is_known(path: bytes) -> bool:
        row = ledger.db.execute("SELECT 1 FROM images WHERE path = ? AND gone = 0", (path,))
        return row.fetchone() is not None

    manifest = _manifest(folder)
    last = last_report(ledger, folder, manifest["run_id"] if manifest else None)
    roots = () if last is None else last.roots
    return Traces(patient, footprint_of(ledger, patient), roots, is_known)


def _checked(ledger: Ledger, patient_id: str, issuer: str | None) -> str | None:
    known = issuers_of(ledger, patient_id)
    if issuer is None and len(known) > 1:
        raise UsageError(
            f"{len(known)} issuers gave out that patient id",
            "they are different patients",
            "name one: " + ", ".join(f"--issuer {name!r}" for name in known),
        )
    return None if issuer is None else issuer.strip()


def _purge(
    ledger: Ledger,
    path: Path,
    folder: Path,
    patient: Patient,
    settings: Settings,
    withdraw: Withdraw,
    remove: Remove,
) -> PurgeSummary:
    found = footprint_of(ledger, patient)
    doomed = set(json.loads(ledger.setting(BEGUN) or "[]"))
    issuers = issuers_of(ledger, patient.patient_id)
    doomed |= set(reports_with(folder, patient, found, issuers))
    tombstones, others = Tombstones(ledger, path), other_folders(ledger, folder)
    again = tombstones.has(patient.patient_id, patient.issuer)
    if others and again:
        # Purged from another folder: by what their reports here are known is forgotten already.
        doomed |= set(reports_in(folder))
    manifest = _manifest(folder)
    night = None
    if manifest is not None and (found.images or manifest["run_id"] in doomed):
        # All that may be refused is refused before anything is done.
        last = last_report(ledger, folder, manifest["run_id"])
        night = _night(ledger, path, last, settings, str(manifest["provider"]))
    tombstones.put(patient.patient_id, patient.issuer, found.study_uids)
    ledger.keep_setting(BEGUN, json.dumps(sorted(doomed)))
    if found.worklist:
        withdraw(found.worklist)
    fetched = remove()
    ledger.commit()
    forget(ledger, patient, found)
    if night is not None:
        _publish(night, folder)
    ledger.commit()
    remove_runs(folder, doomed - {night.run_id if night else ""})
    own = {path.with_name(path.name + end) for end in ("", "-wal", "-shm", ".lock")}
    with disk_errors():
        for copy in set(files_of_state(path)) - own:
            copy.unlink(missing_ok=True)
    shred(ledger)
    ledger.db.execute("DELETE FROM settings WHERE key = ?", (BEGUN,))
    ledger.commit()
    ledger.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return PurgeSummary(
        images=found.images,
        studies=len(found.alone) + len(found.shared),
        reports=len(doomed),
        withdrawn=len(found.worklist),
        sent=found.sent,
        run_id=night.run_id if night else "",
        fetched=fetched,
        others=tuple(others),
        again=again,
    )


def _manifest(folder: Path) -> dict[str, Any] | None:
    with disk_errors():
        return read_manifest(folder)


def _night(
    ledger: Ledger, path: Path, last: LastReport | None, settings: Settings, provider: str
) -> Night:
    """A run that examines nothing: what the last report was made with, over what is known."""
    if last is None:
        raise UsageError(
            "the state does not know what the last report in this folder was made with",
            "an older version or another state wrote it; nothing was changed",
            "run `screener scan` into it once, then this again",
        )
    settings = last.apply(settings)
    choice = replace(choose_bundle(settings, ledger.setting(KEPT)), decided=False)
    return Night(
        ledger=ledger,
        state=path,
        classifier=_Scorer(provider),
        choice=choice,
        points=operating_points(choice.bundle, settings),
        settings=settings,
        examine_settings=ExamineSettings(),
        roots=list(last.roots),
        progress=lambda _: None,
        stop=Stop(),
    )


def _publish(night: Night, folder: Path) -> None:
    """The report of what is known now, under the paths of the last one."""
    night.begin(last_number(folder))
    condition, values = under(night.roots)
    (night.found,) = night.ledger.db.execute(
        f"SELECT count(*) FROM images WHERE gone = 0 AND {condition}", values
    ).fetchone()
    publish(night, folder, ())


@contextmanager
def _state_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason, mend = reason_and_mend(error)
        raise RunError(
            f"the disk of the state {str(path)!r}, or of the program, failed: {reason}",
            "what is forgotten already stays forgotten",
            f"{mend}; the state is written anew, which takes room",
        ) from error
