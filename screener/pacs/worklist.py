"""Entries of a modality worklist as files: for DCMTK's wlmscpfs and Orthanc's worklist plugin.

One file a study that has a priority. A file appears and goes by one rename or removal, and all
changes are made under the lock that wlmscpfs itself takes while it reads.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from screener.durable import sync_folder, write_file, writer_of
from screener.pacs.identity import uid_of
from screener.pacs.moment import local_moment

LOCK = "lockfile"
PREFIX, SUFFIX, TEMPORARY = "screener-", ".wl", ".part"
_CLASS = "1.2.840.10008.5.1.4.31"
_PATIENCE_S = 10.0
_ABSENT = "UNKNOWN"


class WorklistError(Exception):
    """The folder's lock was held all the time, or the folder cannot be written: `code` says."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def file_name(study_key: str, patient_key: str) -> str:
    """The name of a study's file; it tells nothing of who it is."""
    digest = hashlib.sha256(f"{study_key}\0{patient_key}".encode("utf-8", "surrogatepass"))
    return f"{PREFIX}{digest.hexdigest()[:32]}{SUFFIX}"


def entry(row: Mapping[str, Any], header: Dataset, ae_title: str) -> Dataset:
    """A worklist entry (PS3.4 K.6.1.2.2) that raises a study.

    Args:
        row: The verdict, as the ledger keeps it; its priority is not empty.
        header: Patient and study, as `screener.pacs.film` copies them.
        ae_title: The scheduled station's.
    """
    dataset = deepcopy(header)
    moment = local_moment(str(row["screened_at"]), header)
    priority = str(row["priority"])
    number = uid_of("step", str(row["study_key"]), str(row["patient_key"]))[5:17]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Type 1 in the answer (PS3.4 K.6.1.2.2): wlmscpfs drops an entry without, and says nothing.
        dataset.PatientName = dataset.PatientName or _ABSENT
        dataset.PatientID = dataset.PatientID or _ABSENT
        dataset.RequestedProcedureID = number
        dataset.RequestedProcedureDescription = "read earlier: screener triage"
        dataset.RequestedProcedurePriority = priority
        # (0040,1009) has no STAT: HIGH, ROUTINE, MEDIUM, LOW (PS3.3 C.4.11).
        dataset.ReportingPriority = "HIGH" if priority == "STAT" else priority
        dataset.RequestedProcedureComments = comments(row)
        step = Dataset()
        step.ScheduledStationAETitle = ae_title
        step.ScheduledStationName = ae_title
        step.ScheduledProcedureStepStartDate = f"{moment:%Y%m%d}"
        step.ScheduledProcedureStepStartTime = f"{moment:%H%M%S}"
        step.Modality = str(row["modality"]) or "CR"
        step.ScheduledPerformingPhysicianName = ""
        step.ScheduledProcedureStepDescription = "read earlier: screener triage"
        step.ScheduledProcedureStepID = number
        step.ScheduledProcedureStepLocation = ""
        step.CommentsOnTheScheduledProcedureStep = comments(row)
        dataset.ScheduledProcedureStepSequence = [step]
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(_CLASS)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid_of("worklist", str(row["study_key"])))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def comments(row: Mapping[str, Any]) -> str:
    """Score and model in words, for (0040,1400)."""
    model = f"model {row['model']}, SHA-256 {str(row['model_sha256'])[:12]}"
    if row["score"] is None:
        return f"{row['triage']}: {row['reason']}; {model}; not for diagnosis"
    return (
        f"{row['triage']}: score {row['score']:.4f} for {row['finding']}, threshold"
        f" {row['threshold']:.4f} ({row['operating_point']}); {model}; not for diagnosis"
    )


@contextmanager
def locked(folder: Path, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold the folder's lock, which is made where it is missing: wlmscpfs refuses without it.

    It is a record lock (POSIX), as DCMTK takes it for reading. The server opens the file for
    writing, under an account of its own.

    Raises:
        WorklistError: it was held for longer than we wait, or cannot be opened.
    """
    path = folder / LOCK
    try:
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if is_new:
            # The umask has no say: without this the server cannot open it.
            os.fchmod(descriptor, 0o666)
    except OSError:
        raise WorklistError("DISK") from None
    try:
        ends = time.monotonic() + patience_s
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() > ends:
                    raise WorklistError("WORKLIST_BUSY") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def write_entry(folder: Path, name: str, dataset: Dataset) -> None:
    """Put an entry into the folder, whole or not at all; the caller holds the lock.

    Raises:
        WorklistError: the folder cannot be written.
        ValueError, TypeError, AttributeError, LookupError: a value of the header is none.
    """
    temporary = folder / f"{name}{TEMPORARY}"
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(content, enforce_file_format=True)
    try:
        temporary.unlink(missing_ok=True)
        write_file(temporary, writer_of(content.getvalue()))
        # The server has an account of its own; who may enter the folder is the site's matter.
        temporary.chmod(0o644)
        temporary.rename(folder / name)
        sync_folder(folder)
    except OSError:
        raise WorklistError("DISK") from None


def remove_entry(folder: Path, name: str) -> None:
    """Take an entry back; the caller holds the lock.

    Raises:
        WorklistError: the folder cannot be written.
    """
    try:
        (folder / name).unlink(missing_ok=True)
    except OSError:
        raise WorklistError("DISK") from None


def own_entries(folder: Path) -> set[str]:
    """The names of our files in the folder, half-written ones too."""
    return {
        each.name
        for each in folder.glob(f"{PREFIX}*")
        if each.name.endswith((SUFFIX, f"{SUFFIX}{TEMPORARY}"))
    }
