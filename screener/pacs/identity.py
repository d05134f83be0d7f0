"""What a delivery says, as a hash, and the UIDs that are made of it: equal content, equal UID."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

# Changes where an object says something else of the same facts, so that a PACS takes the new one.
FORM = 1


def identity_of(row: Mapping[str, Any], kind: str, form: str = "") -> str:
    """Hash of all that an object or line says of a study.

    Args:
        row: As the ledger keeps it. Its `digest` stands for the identifiers and the images' hashes.
        kind: `sr`, `key_image`, `worklist`, `csv`.
        form: A choice of the site's that makes another object of it.
    """
    said = [
        FORM,
        kind,
        form,
        row["study_instance_uid"] or row["study_key"],
        row["patient_key"],
        row["digest"],
        row["model_sha256"],
        row["operating_point"],
        row["threshold"],
        row["triage"],
    ]
    if kind in {"worklist", "csv"}:
        said.append(row["priority"])
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def uid_of(*parts: str) -> str:
    """A UID made of text: 2.25 and a UUID (PS3.5 B.2), which needs no registered root."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return f"2.25.{UUID(bytes=digest[:16], version=4).int}"


def object_uid(identity: str, predecessor: str = "") -> str:
    """The SOP Instance UID of an object; one that returns after another needs one of its own."""
    return uid_of("instance", identity, predecessor)


def series_uid(study_instance_uid: str, kind: str) -> str:
    """One series a study and kind of object."""
    return uid_of("series", study_instance_uid, kind)
