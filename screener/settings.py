"""What the user asked for: the site file (`site.toml`) and over it the command line.

Every option of `screener scan` can stand in the site file under its own name; sections hold what a
site decides once. Everything is checked when it is read, before anything is written: an unknown
key, a wrong type or a value out of range ends the run with exit code 2 and the nearest right one.
"""

from __future__ import annotations

import dataclasses
import grp
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from screener.domain import Limits, Triage
from screener.errors import UsageError
from screener.pacs.doors import DicomWeb, Dimse, Retry
from screener.pacs.site import CsvDoor, Publish, Worklist
from screener.pacs.source import Pull, Receiver
from screener.report.layout import TableLayout
from screener.site_file import read_site_file

Device = Literal["auto", "cpu", "cuda", "tensorrt"]
Precision = Literal["auto", "float", "int8"]
FailOn = Literal["new", "any", "never"]
Identifiers = Literal["full", "pseudonym", "none"]

_CENTURY = 36_500
# Beyond them a clock, a timer or a limit of the kernel overflows in the middle of a night.
_MOST = {
    "keep_days": _CENTURY,
    "settle": 86_400 * 365,
    "workers": 1024,
    "wall_s": 86_400,
    "cpu_s": 86_400,
    "memory_bytes": 2**50,
    "file_bytes": 2**50,
    "pixels": 2**40,
}
SHORT_STRING = 16
"""Longest value of VR SH and CS (PS3.5 6.2): what a priority may be in a worklist."""


@dataclass(frozen=True, slots=True)
class Output:
    """`[output]`: who may read the published files. Everything else stays 0600.

    Attributes:
        group: The group of the importer's account; empty for none.
        mode: Of the files, with a leading 0o; a folder gets the matching x.
    """

    group: str = ""
    mode: int = 0o600

    def __post_init__(self) -> None:
        """Check the group and the mode."""
        if self.mode & ~0o777 or self.mode & 0o600 != 0o600 or self.mode & 0o002:
            # 640 without 0o is what people write.
            octal = re.fullmatch("[67][0-7]{2}", f"{self.mode}") is not None
            raise UsageError(
                f"mode = {self.mode if octal else f'0o{self.mode:o}'} is no mode for a report",
                "the owner must read and write it, and not everyone may write it",
                f"use 0o{self.mode if octal else 640}, for example",
            )
        if self.group:
            try:
                grp.getgrnam(self.group)
            except KeyError:
                raise UsageError(
                    f"group = {self.group!r} does not exist on this machine",
                    mend=f"groupadd {self.group}, or name another",
                ) from None


@dataclass(frozen=True, slots=True)
class Rescreen:
    """`[rescreen]`: how far back a new model or operating point reaches.

    Attributes:
        days: Studies first seen in so many days are judged again; older ones keep their verdict.
    """

    days: int = 2

    def __post_init__(self) -> None:
        """Check the range."""
        _at_least("days", self.days, 0)
        _at_most("days", self.days, _CENTURY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every option of `scan` and every section of the site file, checked.

    Attributes:
        model: A bundle; without it the one that ships with the program.
        model_public_key: An Ed25519 key in PEM. With it a scan takes no model but one that the key
            has signed, with the signature beside it in MODEL.sig. Needs the extra sign.
        operating_point: Its name in the model card; empty for the card's own first.
        threshold: On the calibrated score, instead of an operating point.
        threshold_model_sha256: The bundle that `threshold` was fitted to; another one is refused.
            A site file with a threshold must have it.
        device: auto, cpu, cuda or tensorrt. auto takes TensorRT, then CUDA, then the processor.
        require_gpu: End with exit code 5 where no GPU is usable.
        precision: auto, float or int8 of the shipped model; auto is resolved once and kept.
        workers: Decoding processes; 0 for one more than cores.
        state: The ledger, on a local disk; without it `state.sqlite` in the output folder.
        rescan: Read every file again.
        baseline: Take an archive in without raising anything.
        only_new: Leave studies out of `triage.csv` that the last report gave just so.
        since: Run id that `is_new` and `change` compare with; empty for the last published report.
        settle: Seconds after which a cut file is no longer taken for one being written.
        fail_on: Which FAILED paths make exit code 3: new (not so in the last report), any, never.
        allow_empty: An empty PATH is no error.
        identifiers: full, pseudonym or none: what the report says of the patient. The state keeps
            the originals.
        spreadsheet: Add a file in which a spreadsheet program finds no formulas.
        quiet: Print notes and the last line alone.
        log: JSON lines are appended here.
        log_phi: Let names and paths into the log.
        exact: Decode every pixel of every film, not only what the model needs: slower.
        secondary_capture: Screen Secondary Capture images too.
        exclude: Folders and files that the walk leaves out.
        keep_days: Days for which a study keeps images whose files are gone.
        min_paths: Fewer paths than this are taken for an archive that is half mounted.
        sentinel: A file that must exist under every PATH, or anywhere by its absolute path.
        rescreen: How far back a new model or operating point reaches.
        limits: What one file may cost; beyond it the file is FAILED and the next one goes on.
        output: Who may read the published files. Everything else stays 0600.
        priority: Triage -> what the importer may raise a study to. FLAGGED and NOT_SCREENED only.
        report: The shape of `triage.csv` for an importer that differs from the contract.
        csv: Name -> files for an importer, written by `publish`; see docs/importers.
        publish: What `publish` sends as DICOM objects, and through which doors.
        worklist: Where `publish` writes entries of a modality worklist.
        dicomweb: The PACS by DICOMweb, for the commands with a network.
        dimse: The PACS by C-STORE, C-FIND and C-MOVE, for the commands with a network.
        pull: What `pull` fetches from the PACS.
        receiver: Where the PACS sends to when `pull` asks it by C-MOVE.
        retry: How patient they are.
    """

    model: Path | None = None
    model_public_key: Path | None = None
    operating_point: str = ""
    threshold: float | None = None
    threshold_model_sha256: str = ""
    device: Device = "auto"
    require_gpu: bool = False
    precision: Precision = "auto"
    workers: int = 0
    state: Path | None = None
    rescan: bool = False
    baseline: bool = False
    only_new: bool = False
    since: str = ""
    settle: float = 300.0
    fail_on: FailOn = "new"
    allow_empty: bool = False
    identifiers: Identifiers = "full"
    spreadsheet: bool = False
    quiet: bool = False
    log: Path | None = None
    log_phi: bool = False
    exact: bool = False
    secondary_capture: bool = False
    exclude: tuple[Path, ...] = ()
    keep_days: int = 90
    min_paths: int = 0
    sentinel: str = ""
    rescreen: Rescreen = field(default_factory=Rescreen)
    limits: Limits = field(default_factory=Limits)
    output: Output = field(default_factory=Output)
    priority: Mapping[Triage, str] = field(default_factory=dict)
    report: TableLayout = field(default_factory=TableLayout)
    csv: Mapping[str, CsvDoor] = field(default_factory=dict)
    publish: Publish = field(default_factory=Publish)
    worklist: Worklist = field(default_factory=Worklist)
    dicomweb: DicomWeb = field(default_factory=DicomWeb)
    dimse: Dimse = field(default_factory=Dimse)
    pull: Pull = field(default_factory=Pull)
    receiver: Receiver = field(default_factory=Receiver)
    retry: Retry = field(default_factory=Retry)

    def __post_init__(self) -> None:
        """Check what no type says."""
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(
                f"threshold = {self.threshold!r} is not between 0 and 1",
                "it is compared with the calibrated score; nothing was written",
                "`screener model show` lists thresholds that were measured",
            )
        if self.threshold is not None and self.operating_point:
            raise UsageError(
                "both an operating point and a threshold are given",
                mend="leave one of them out",
            )
        for name in ("workers", "settle", "keep_days", "min_paths"):
            _at_least(name, getattr(self, name), 0)
        for name in (each.name for each in dataclasses.fields(Limits)):
            _at_least(name, getattr(self.limits, name), 1)
        for name, most in _MOST.items():
            holder = self if hasattr(self, name) else self.limits
            _at_most(name, getattr(holder, name), most)
        if self.require_gpu and self.device == "cpu":
            raise UsageError(
                "a GPU is required but the device is 'cpu'", mend="leave one of them out"
            )
        for triage, word in self.priority.items():
            if triage not in {Triage.FLAGGED, Triage.NOT_SCREENED}:
                raise UsageError(
                    f"[priority] maps {triage.value!r}",
                    "only FLAGGED and NOT_SCREENED may be raised; nothing was written",
                    "leave that line out",
                )
            if len(word) > SHORT_STRING or not word.isprintable():
                raise UsageError(
                    f"[priority] {triage} = {word!r} is not a word of at most 16 characters",
                    mend="give a word that the worklist knows, HIGH for example",
                )


def load_settings(
    config: str | os.PathLike[str] | None = None, overrides: Mapping[str, object] | None = None
) -> Settings:
    """Read the site file, and put what the command line says over it.

    Args:
        config: The site file; None for none. Its relative paths start at its own folder.
        overrides: What the command line gave, by the name of the field; None values are not given.

    Raises:
        UsageError: with the bad key or value and the nearest right one.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    settings = Settings() if config is None else _from_site(Path(config))
    if "threshold" in given and "operating_point" not in given:
        settings = dataclasses.replace(settings, operating_point="")
    if "operating_point" in given and "threshold" not in given:
        settings = dataclasses.replace(settings, threshold=None)
    if "threshold" in given or "operating_point" in given:
        settings = dataclasses.replace(settings, threshold_model_sha256="")
    return dataclasses.replace(settings, **cast("dict[str, Any]", given))


def _from_site(config: Path) -> Settings:
    settings = read_site_file(config, Settings)
    if settings.threshold is not None and not settings.threshold_model_sha256:
        raise UsageError(
            f"{str(config)!r}: threshold = {settings.threshold!r} without threshold_model_sha256",
            "a threshold holds for the model that it was fitted to and for no other",
            "take it from the line sha256 of `screener model show`",
        )
    return settings


def _at_most(name: str, value: float, most: float) -> None:
    if value > most:
        raise UsageError(f"{name} = {value!r} is more than {most}", mend=f"give at most {most}")


def _at_least(name: str, value: float, least: float) -> None:
    # The command line takes "nan" for a number, which is neither more nor less than any.
    if not value >= least:
        fault = "no number" if math.isnan(value) else f"less than {least}"
        raise UsageError(f"{name} = {value!r} is {fault}", mend=f"give at least {least}")
