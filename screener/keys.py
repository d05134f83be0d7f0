"""By what the ledger finds an image again: its study, its patient, the root that it lies under."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from screener.domain import Examined, Instance, Rejection
from screener.outcomes import Outcome, ReasonCode


def is_below(path: bytes, root: bytes) -> bool:
    """Whether a path is a root or lies below it."""
    return path == root or path.startswith(root.rstrip(b"/") + b"/")


def under(roots: Sequence[bytes]) -> tuple[str, list[bytes]]:
    """The SQL condition that a path is one of `roots` or lies below one, and its values."""
    parts, values = [], []
    for root in roots:
        base = root.rstrip(b"/")
        # Below the root, the root itself, and the images that it held before.
        parts.append("(path = ? OR (path >= ? AND path < ?) OR (path >= ? AND path < ?))")
        values += [root, base + b"/", base + b"0", base + b"\0", base + b"\1"]
    return f"({' OR '.join(parts)})", values


def study_key(path: bytes, examined: Examined, outcome: str) -> str:
    """The study of a path: its UID, else its content, else the path itself.

    Empty for no image, and for a purged one, of which nothing is kept.
    """
    if outcome == Outcome.NOT_AN_IMAGE or examined.result == Rejection(ReasonCode.PURGED):
        return ""
    if examined.instance is not None and examined.instance.study_instance_uid:
        return examined.instance.study_instance_uid
    if examined.sha256 and outcome != Outcome.FAILED:
        return f"file:{examined.sha256}"
    return f"path:{hashlib.sha256(path).hexdigest()}"


def patient_key(instance: Instance | None) -> str:
    """Tells patients of one study apart; empty where the header names none."""
    if instance is None or not instance.patient_id.strip():
        return ""
    return f"{instance.patient_id.strip()}\x1f{instance.issuer_of_patient_id.strip()}"
