"""The sections of the site file that say what is published, through which doors and in what shape.

Pure: `scan` reads the same site file and publishes nothing.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from screener.pacs.doors import check_ae_title
from screener.report.layout import TableLayout

Door = Literal["dicomweb", "dimse"]
SrClass = Literal["comprehensive-3d", "comprehensive"]
KeyImageKind = Literal["secondary-capture", "presentation-state"]
Told = Literal["FLAGGED", "NOT_SCREENED", "NOT_FLAGGED"]

_PLACES = frozenset({"run_id", "priority"})


@dataclass(frozen=True, slots=True)
class Publish:
    """`[publish]`: what `screener publish` sends as DICOM objects.

    Attributes:
        structured_report: Doors for a report in each study: dicomweb, dimse or both; none sends
            none.
        key_image: Doors for a marked picture in each FLAGGED study.
        triage: Studies that get a report. A changed verdict follows an earlier report in any case.
        sr_class: comprehensive-3d, or comprehensive for an older PACS.
        key_image_kind: secondary-capture, or presentation-state: marks over the film itself.
        days: What was said of a study longer ago than this is not begun to be sent; what was sent
            before is kept up to date, and what waits is sent however old.
        minutes: After so long a run stops; what is left stays queued.
    """

    structured_report: tuple[Door, ...] = ()
    key_image: tuple[Door, ...] = ()
    triage: tuple[Told, ...] = ("FLAGGED", "NOT_SCREENED", "NOT_FLAGGED")
    sr_class: SrClass = "comprehensive-3d"
    key_image_kind: KeyImageKind = "secondary-capture"
    days: int = 7
    minutes: int = 60

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.days <= 36_500:
            raise ValueError(f"days = {self.days!r} is not between 0 and 36500")
        if not 1 <= self.minutes <= 1440:
            raise ValueError(f"minutes = {self.minutes!r} is not between 1 and 1440")


@dataclass(frozen=True, slots=True)
class Worklist:
    """`[worklist]`: a folder of a modality worklist server, one file a study with a priority.

    Attributes:
        folder: What DCMTK's wlmscpfs (its folder of the AE title) or Orthanc's worklist plugin
            reads. Nothing else may write there.
        ae_title: The scheduled station's, of its own, so that no scanner sees these entries.
        hours: After so long an entry is withdrawn.
        server: Address of the worklist server, for verify-pacs to ask it; empty not to.
        server_port: Its port.
        server_ae_title: Under which it is asked; empty for ae_title, as wlmscpfs has it.
    """

    folder: Path | None = None
    ae_title: str = "TRIAGE"
    hours: float = 24.0
    server: str = ""
    server_port: int = 11112
    server_ae_title: str = ""

    def __post_init__(self) -> None:
        """Check what no type says."""
        check_ae_title("ae_title", self.ae_title)
        if self.server_ae_title:
            check_ae_title("server_ae_title", self.server_ae_title)
        if not 0 < self.server_port < 2**16:
            raise ValueError(f"server_port = {self.server_port!r} is not between 1 and 65535")
        if not 0 < self.hours <= 24 * 365:
            raise ValueError(f"hours = {self.hours!r} is not between 0 and a year")


@dataclass(frozen=True, slots=True)
class CsvDoor:
    """`[csv.NAME]`: files for one importer.

    Attributes:
        folder: Where the importer looks. A file appears there whole, by a rename.
        file: Its name; {run_id} and {priority} are filled in. {priority} makes a file for each
            word, NONE for studies without.
        only_raised: Leave out studies whose priority is empty and always was.
        only_studies: Leave out files that name neither a study nor an accession number: most
            importers find nothing for them.
        layout: Columns, order, names, delimiter, quotes, encoding, line ends, dates, words.
    """

    folder: Path
    file: str = "screener-{run_id}.csv"
    only_raised: bool = False
    only_studies: bool = True
    layout: TableLayout = field(default_factory=TableLayout)

    def __post_init__(self) -> None:
        """Refuse a name that is none or leads elsewhere."""
        try:
            parts = list(string.Formatter().parse(self.file))
        except ValueError:
            raise ValueError(f"file {self.file!r} has a brace that is not closed") from None
        places = {name for _, name, _, _ in parts if name is not None}
        if not places <= _PLACES or any(spec or kind for _, _, spec, kind in parts):
            raise ValueError(f"file {self.file!r} may hold {{run_id}} and {{priority}} alone")
        text = "".join(each for each, *_ in parts)
        if "run_id" not in places or "/" in text or not text.isprintable() or text[:1] == ".":
            raise ValueError(
                f"file {self.file!r} must be a plain name with {{run_id}}: an earlier file that the"
                " importer has not taken yet would be lost"
            )
