"""The sections of the site file that say what is fetched from a PACS, how, and how far that goes.

Pure: `scan` reads the same site file and fetches nothing.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from screener.pacs.doors import check_ae_title, check_pair

Via = Literal["dicomweb", "c-get", "c-move"]

_RANGES = {
    "overlap_hours": (0, 24 * 365),
    "page": (1, 10_000),
    "most_gb": (0, 10**6),
    "free_gb": (0, 10**6),
    "keep_days": (0, 36_500),
    "again_days": (0, 36_500),
    "minutes": (1, 1440),
}


@dataclass(frozen=True, slots=True)
class Pull:
    """`[pull]`: what `screener pull` fetches, through which door, and how far it may go.

    Attributes:
        via: dicomweb (QIDO-RS, WADO-RS), c-get, or c-move with [receiver].
        modality: Of the series that are fetched.
        time_zone: In which the archive writes study dates, Europe/Berlin; empty for this machine's.
        overlap_hours: Each pull asks again for the studies of so long before the last one that was
            complete: they come late into an archive. The first one asks for no more than these.
        page: Studies that are asked for at a time, by DICOMweb.
        most_gb: The folder may hold so much; then a pull stops with exit code 7.
        free_gb: So much of the disk stays free; then the same.
        keep_days: Files that were fetched so long ago are removed; 0 removes none.
        again_days: What could not be fetched is asked for again by every pull for so long.
        minutes: After so long a pull stops; the next one goes on.
    """

    via: Via = "dicomweb"
    modality: tuple[str, ...] = ("CR", "DX")
    time_zone: str = ""
    overlap_hours: float = 48.0
    page: int = 200
    most_gb: float = 200.0
    free_gb: float = 5.0
    keep_days: int = 0
    again_days: int = 14
    minutes: int = 240

    def __post_init__(self) -> None:
        """Check the ranges and the modalities."""
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} = {value!r} is not between {least} and {most}")
        check_modalities(self.modality)


def check_modalities(modalities: tuple[str, ...]) -> None:
    """Refuse what is no list of modalities (PS3.3 C.7.3.1.1.1, VR CS).

    Raises:
        ValueError: With the bad value.
    """
    if not modalities:
        raise ValueError("modality names none")
    for each in modalities:
        if not re.fullmatch(r"[A-Z0-9_]{1,16}", each):
            raise ValueError(f"modality {each!r} is none: CR and DX are")


@dataclass(frozen=True, slots=True)
class Receiver:
    """`[receiver]`: where the PACS sends to when `[pull] via` is c-move. Open during a pull alone.

    Attributes:
        address: Of this machine, to which the port is bound; 0.0.0.0 is every one.
        port: Enter it in the PACS with the AE title and this machine's address.
        ae_title: Ours, as the PACS knows the destination of its C-MOVE.
        archive_ae_title: Under which the PACS sends; empty for [dimse] ae_title.
        peers: Addresses that it may send from; empty for those of [dimse] host.
        tls: Take TLS alone; certificate and key are then needed.
        certificate: Of this machine (PEM).
        key: Its key (PEM, mode 0600).
        peers_ca_file: The PACS must show a certificate of these (PEM).
    """

    address: str = ""
    port: int = 11113
    ae_title: str = "SCREENER"
    archive_ae_title: str = ""
    peers: tuple[str, ...] = ()
    tls: bool = False
    certificate: Path | None = None
    key: Path | None = None
    peers_ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Check what no type says."""
        if not self.address:
            return
        check_ae_title("ae_title", self.ae_title)
        if self.archive_ae_title:
            check_ae_title("archive_ae_title", self.archive_ae_title)
        check_pair(self.certificate, self.key)
        if not 0 < self.port < 2**16:
            raise ValueError(f"port = {self.port!r} is not between 1 and 65535")
        for each in (self.address, *self.peers):
            try:
                ipaddress.ip_address(each)
            except ValueError:
                raise ValueError(f"{each!r} is no address such as 192.0.2.7") from None
        if self.tls and self.certificate is None:
            raise ValueError("tls is true but there is no certificate and key")
        if not self.tls and (self.certificate or self.peers_ca_file):
            raise ValueError("certificates are named but tls is not true")

    @property
    def open(self) -> bool:
        """Whether the site file names an address to receive at."""
        return bool(self.address)
