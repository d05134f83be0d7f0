"""The reports that an output folder keeps, and which of them may hold a patient: for a purge."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from screener.durable import disk_errors
from screener.forget import Footprint, Patient
from screener.identifiers import pseudonym, read_key
from screener.manifest import MANIFEST, RUNS
from screener.publication import number_of


def reports_with(
    folder: Path, patient: Patient, found: Footprint, issuers: Sequence[str]
) -> Iterator[str]:
    """The kept reports that may hold the patient; one too many is only history."""
    wanted = [patient.patient_id, *found.study_uids]
    key = folder.with_name(f"{folder.name}.key")
    if key.exists():
        secret = read_key(key, folder)
        wanted += [
            pseudonym(secret, "patient_id", f"{issuer}\n{patient.patient_id}")
            for issuer in {patient.issuer or "", *issuers}
        ]
    words = b"|".join(re.escape(word.encode("utf-8", "surrogatepass")) for word in wanted)
    pattern = re.compile(rb"(?<![0-9A-Za-z.])(?:%b)(?![0-9A-Za-z.])" % words)
    with disk_errors():
        for name in reports_in(folder):
            number = number_of(name)
            first = found.first_run
            seen = first is not None and number is not None and number >= first
            if seen or any(_holds(file, pattern) for file in (folder / RUNS / name).iterdir()):
                yield name


def reports_in(folder: Path) -> list[str]:
    """The names of the kept reports."""
    runs = folder / RUNS
    with disk_errors():
        return sorted(run.name for run in runs.iterdir() if run.is_dir()) if runs.is_dir() else []


def _holds(file: Path, pattern: re.Pattern[bytes]) -> bool:
    if file.name == MANIFEST or not file.is_file() or not file.stat().st_size:
        return False
    with (
        file.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return bool(pattern.search(content))
