"""Identifiers in a report: as they are, as keyed pseudonyms, or left out.

A pseudonym is an HMAC-SHA-256 under a key of the site's own: a plain hash of a patient ID is
guessed in seconds. Equal input gives equal pseudonyms, so that rows and reports still join. This
hides who it was; it does not anonymise: names burned into pixels stay, and so does a rare finding.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import secrets
import stat
from base64 import b32encode
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from screener.accounts import quoted, this_account
from screener.durable import sync_folder, write_file, writer_of
from screener.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Identifiers(StrEnum):
    """What of a patient's identity stands in a report. The state keeps the originals."""

    FULL = "full"
    PSEUDONYM = "pseudonym"
    NONE = "none"


KEY_BYTES = 32
_SHORT = 16
"""Characters of a pseudonym: what VR SH, an accession number's, can hold (PS3.5 6.2); 80 bits."""

UID_COLUMNS = frozenset({"study_instance_uid", "series_instance_uid", "sop_instance_uid"})
"""UIDs of instances. SOP classes and transfer syntaxes name no one."""
PATH_COLUMNS = frozenset({"path", "duplicate_of", "source"})

# A pseudonym of these would still say who or where. The header's free text goes with the names:
# anyone may have typed one into it.
_EMPTIED = frozenset(
    {
        "patient_name",
        "patient_birth_date",
        "issuer_of_patient_id",
        "institution_name",
        "station_name",
    }
)
_REPLACED = UID_COLUMNS | PATH_COLUMNS | {"patient_id", "accession_number", "study_key", "sha256"}
# Without identifiers not even the day may tell.
_DATES = frozenset({"study_date", "study_time"})
# What may stand in the rest of what the header fills (PS3.3 C.7.1.1, C.7.3.1.1.1, C.8.11.5.1.1,
# C.7.6.3.1.2; PS3.5 6.2 and A): a name that was typed into the wrong field must not get through.
_STANDARD_UID = r"1\.2\.840\.10008\.[0-9.]{1,50}"
_SHAPES: Mapping[str, str] = {
    "patient_sex": "F|M|O",
    "study_date": r"[0-9]{8}|[0-9]{4}\.[0-9]{2}\.[0-9]{2}",
    "study_time": r"[0-9:]{2,8}(\.[0-9]{1,6})?",
    "modality": "CR|CT|DX|ES|IO|KO|MG|MR|NM|OT|PR|PT|PX|RF|RG|SC|SEG|SR|US|XA|XC",
    "view_position": "AP|PA|LL|RL|LLD|RLD|LLO|RLO|LATERAL",
    "body_part_examined": (
        "ABDOMEN|ANKLE|ARM|CHEST|CLAVICLE|CSPINE|ELBOW|FOOT|FOREARM|HAND|HEAD|HIP|HUMERUS|JAW|KNEE"
        "|LEG|LSPINE|NECK|PELVIS|RIBS?|SHOULDER|SKULL|SPINE|STERNUM|THORAX|TSPINE|WRIST"
    ),
    "photometric_interpretation": (
        "MONOCHROME[12]|PALETTE COLOR|RGB|YBR_(FULL|FULL_422|PARTIAL_420|ICT|RCT)"
    ),
    "sop_class_uid": _STANDARD_UID,
    "transfer_syntax_uid": _STANDARD_UID,
}


def mask(
    row: Mapping[str, object], mode: Identifiers | str, key: bytes = b""
) -> Mapping[str, object]:
    """A row of `triage.csv` or `images.csv` as the mode lets it be seen.

    Args:
        row: Column -> value; columns that identify no one stay as they are.
        mode: `full` changes nothing.
        key: Of `read_key`; only pseudonyms need it.

    Raises:
        ValueError: Pseudonyms are asked for and the key is none.
    """
    if mode == Identifiers.FULL:
        return row
    mode = Identifiers(mode)
    if mode is Identifiers.PSEUDONYM and len(key) < KEY_BYTES:
        raise ValueError(f"a key of {KEY_BYTES} bytes is needed")
    masked = {**row, **dict.fromkeys(_EMPTIED & row.keys(), "")}
    for column in _REPLACED & row.keys():
        value = row[column]
        shown = mode is Identifiers.PSEUDONYM and value
        masked[column] = _pseudonym(column, str(value), row, key) if shown else ""
    for column in _SHAPES.keys() & row.keys():
        if not re.fullmatch(_SHAPES[column], str(row[column])):
            masked[column] = ""
    if mode is Identifiers.NONE:
        masked |= dict.fromkeys(_DATES & row.keys(), "")
    return masked


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """A keyed pseudonym of 16 letters and digits; other kinds of value give other ones."""
    return b32encode(_digest(key, kind, value)).decode()[:_SHORT]


def pseudonym_uid(key: bytes, uid: str) -> str:
    """A keyed pseudonym of a UID, itself a valid one: 2.25 and a UUID (PS3.5 B.2)."""
    return f"2.25.{UUID(bytes=_digest(key, 'uid', uid)[:16], version=4).int}"


def _pseudonym(column: str, value: str, row: Mapping[str, object], key: bytes) -> str:
    if column in UID_COLUMNS:
        return pseudonym_uid(key, value)
    if column in PATH_COLUMNS:
        return pseudonym(key, "path", value)
    if column == "patient_id":
        # Two hospitals may give one number to two patients.
        return pseudonym(key, "patient_id", f"{row.get('issuer_of_patient_id') or ''}\n{value}")
    if column == "study_key":
        return _study_key(value, row, key)
    if column == "sha256":
        return _digest(key, "sha256", value).hex()
    return pseudonym(key, column, value)


def _study_key(value: str, row: Mapping[str, object], key: bytes) -> str:
    """Keeps the form that the contract gives it, so that the rows of one study still meet."""
    if value == row.get("study_instance_uid"):
        return pseudonym_uid(key, value)
    origin, colon, digest = value.partition(":")
    if colon and origin in {"file", "path"}:
        kind = "sha256" if origin == "file" else "path_sha256"
        return f"{origin}:{_digest(key, kind, digest).hex()}"
    return pseudonym(key, "study_key", value)


def _digest(key: bytes, kind: str, value: str) -> bytes:
    # A zero byte ends the kind: no kind and value can pass for another pair. Surrogates stand for
    # bytes of a path that are no text.
    message = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, message, hashlib.sha256)


def key_path(out: Path) -> Path:
    """Where the key of the pseudonyms in the reports of an output folder lies: `DIR.key`."""
    return out.with_name(f"{out.name}.key")


def report_key(out: Path) -> bytes:
    """The key of the pseudonyms in the reports of an output folder, as `read_key`."""
    return read_key(key_path(out), out)


def read_key(path: Path, out: Path) -> bytes:
    """The site's key; made on first use, readable by its owner alone.

    Args:
        path: The key file. Whoever has it can tell whether a patient stands in a report.
        out: The output folder, which may be given away and so must not hold the key.

    Raises:
        UsageError: The key lies in the output folder, is open to others or is no key.
        RunError: The file cannot be read or made.
    """
    if path.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            f"the key {str(path)!r} lies in the output folder",
            "whoever gets the report would get the key to its pseudonyms",
            "put it elsewhere, for example beside the site file",
        )
    return read_or_make_key(path)


def read_or_make_key(path: Path) -> bytes:
    """A key, wherever its file lies; made on first use, readable by its owner alone.

    Raises:
        UsageError: The key is open to others or is no key.
        RunError: The file cannot be read or made.
    """
    try:
        with suppress(FileNotFoundError):
            return _read_key(path)
        _make_key(path)
        return _read_key(path)
    except OSError as error:
        raise RunError(
            f"the key {str(path)!r} cannot be used: {os.strerror(error.errno or 0)}",
            "identifiers are hashed with it; nothing was written",
            _mend(path, error),
        ) from error


def _mend(path: Path, error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
        return "free space or mend the disk, then run the same command again"
    # os.path: it is not there where its folder may not be looked into.
    if not os.path.exists(path):
        return f"make it once, as root: {command_for_key(path)}"
    return f"give it to this account, as root: chown {this_account()} {quoted(path)}"


def command_for_key(path: Path) -> str:
    """The command by which root makes a key where this account may not."""
    return f"openssl rand -hex 32 | install -o {this_account()} -m 600 /dev/stdin {quoted(path)}"


def _read_key(path: Path) -> bytes:
    with path.open("rb") as stream:
        mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
        text = stream.read(4 * KEY_BYTES).strip()
    if mode & 0o077:
        raise UsageError(
            f"the key {str(path)!r} is open to others: mode {mode:o}",
            "whoever reads it can tell whether a patient stands in a report",
            f"chmod 600 {str(path)!r}; if someone may have read it, make a new one",
        )
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise UsageError(
            f"{str(path)!r} is no key",
            f"a key is {2 * KEY_BYTES} hexadecimal digits in one line",
            "restore it, or remove it and let a new one be made: pseudonyms will change",
        )
    return key


def _make_key(path: Path) -> None:
    """Make the key whole or not at all; of two that do so at once, the first one's stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_file(temporary, writer_of(f"{secrets.token_hex(KEY_BYTES)}\n".encode()))
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
