"""Who was purged, by keyed hashes alone: enough to know a file of theirs, too little to name them.

The key is a file of its own beside the state, for this account alone. Whoever has both can test
whether one patient was purged; nobody can list who was.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from screener.errors import UsageError
from screener.identifiers import pseudonym, read_or_make_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from screener.domain import Instance
    from screener.ledger import Ledger

BEGUN = "purge_begun"
"""The key under which the state holds what a purge has still to remove."""
_CHECK = "tombstone_check"
_ANY_ISSUER = "patient of any issuer"


def key_of_tombstones(state: Path) -> Path:
    """The key file that belongs to a state."""
    return state.with_name(f"{state.name}.key")


class Tombstones:
    """The purged of one state. Reads the key where there are any, and makes it for the first."""

    def __init__(self, ledger: Ledger, state: Path) -> None:
        """Read them.

        Raises:
            UsageError: there are tombstones and their key is missing, another or open to others.
            RunError: the key cannot be read.
        """
        self._ledger = ledger
        self._file = key_of_tombstones(state)
        self._digests = {row[0] for row in ledger.db.execute("SELECT digest FROM tombstones")}
        self._key = b""
        if not self._digests:
            return
        if self._file.exists():
            self._key = read_or_make_key(self._file)
        if not self._key or pseudonym(self._key, _CHECK, "") != ledger.setting(_CHECK):
            raise UsageError(
                f"the key {str(self._file)!r} of the purged patients is "
                f"{'another one' if self._key else 'missing'}",
                "without it their files would be taken for new ones",
                "restore it from the backup of the state",
            )

    def put(self, patient_id: str, issuer: str | None, study_uids: Iterable[str]) -> None:
        """Remember a patient and the studies that are theirs alone. No commit.

        Raises:
            RunError: the key cannot be made.
        """
        if not self._key:
            self._key = read_or_make_key(self._file)
            self._ledger.keep_setting(_CHECK, pseudonym(self._key, _CHECK, ""))
        digests = {self._who(patient_id, issuer), *map(self._study, study_uids)}
        self._ledger.db.executemany(
            "INSERT OR IGNORE INTO tombstones VALUES (?)", ((digest,) for digest in digests)
        )
        self._digests |= digests

    def has(self, patient_id: str, issuer: str | None) -> bool:
        """Whether just this patient was purged before."""
        return bool(self._digests) and self._who(patient_id, issuer) in self._digests

    def hold(self, instance: Instance | None) -> bool:
        """Whether an image is a purged patient's; without a patient id its study decides."""
        if instance is None or not self._digests:
            return False
        patient_id, issuer = instance.patient_id.strip(), instance.issuer_of_patient_id.strip()
        if patient_id:
            digests = {self._any(patient_id), self._one(patient_id, issuer)}
            return not digests.isdisjoint(self._digests)
        uid = instance.study_instance_uid
        return bool(uid) and self._study(uid) in self._digests

    def name_of(self, path: bytes) -> bytes:
        """What stands for the path of a purged file: a path may hold a name."""
        return b"purged:" + self._digest("path", path.hex())[:32].encode()

    def _who(self, patient_id: str, issuer: str | None) -> str:
        return self._any(patient_id) if issuer is None else self._one(patient_id, issuer)

    def _one(self, patient_id: str, issuer: str) -> str:
        return self._digest("patient", f"{patient_id}\n{issuer}")

    def _any(self, patient_id: str) -> str:
        return self._digest(_ANY_ISSUER, patient_id)

    def _study(self, uid: str) -> str:
        return self._digest("study", uid)

    def _digest(self, kind: str, value: str) -> str:
        message = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, message, hashlib.sha256).hex()
