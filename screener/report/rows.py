"""What the report writers are fed: the row of a study and the row of a path, by column.

`screener.report.verdicts` makes the studies' rows; all writers read the same ones, so they agree.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from screener.discovery import display_path
from screener.outcomes import REASONS, Outcome, ReasonCode, Warn
from screener.report.columns import SCHEMA_VERSION

Row = sqlite3.Row | dict[str, Any]
_OWN_USE = frozenset({"digest", "reported", "patient_key", "differs", "taken_in"})
_SCORED = Outcome.SCORED.value
_HALF = np.dtype("<f2")


def shown_path(path: bytes) -> str:
    """A path as text; of an image that its path no longer holds, the path that it had."""
    return display_path(path.partition(b"\0")[0])


def triage_row(row: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """A verdict's row as `triage.csv` has it."""
    return {"rank": rank} | {name: value for name, value in row.items() if name not in _OWN_USE}


def image_row(row: Row, run_id: str, findings: Sequence[str]) -> dict[str, Any]:
    """A path's row as `images.csv` has it."""
    scored = row["outcome"] == _SCORED
    code = row["reason_code"]
    reason = REASONS[ReasonCode(code)][1] if code else ""
    if row["detail"]:
        reason = f"{reason} ({row['detail']})"
    warnings = row["warnings"]
    if row["uid_conflict"]:
        known = {name for name in warnings.split(";") if name}
        warnings = ";".join(sorted(known | {Warn.UID_CONFLICT.value}))
    scores = _numbers(row["scores"]) if scored else []
    logits = _numbers(row["logits"]) if scored else []
    best = max(range(len(scores)), key=scores.__getitem__) if len(scores) > 1 else 0
    peak = _cam_peak(row, best) if scored else (None, None)
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "path": shown_path(row["path"]),
        "sha256": row["sha256"],
        "outcome": row["outcome"],
        "reason_code": code,
        "reason": reason,
        "warnings": warnings,
        "study_key": row["study_key"],
        "study_instance_uid": row["study_instance_uid"] or "",
        "series_instance_uid": row["series_instance_uid"] or "",
        "sop_instance_uid": row["sop_instance_uid"] or "",
        "sop_class_uid": row["sop_class_uid"] or "",
        "transfer_syntax_uid": row["transfer_syntax_uid"] or "",
        "modality": row["modality"] or "",
        "view_position": row["view_position"] or "",
        "body_part_examined": row["body_part_examined"] or "",
        "photometric_interpretation": row["photometric_interpretation"] or "",
        "rows": row["rows"] or None,
        "columns": row["columns"] or None,
        "voi_source": row["voi_source"],
        "levels_dropped": row["levels_dropped"],
        "score": scores[best] if scores else None,
        "logit": logits[best] if logits else None,
        "novelty": row["novelty"],
        "cam_peak_row": peak[0],
        "cam_peak_column": peak[1],
        "decoder": row["decoder"],
        "decode_ms": row["decode_ms"] or None,
        "duplicate_of": shown_path(row["duplicate_of"]) if row["duplicate_of"] else "",
        "screened_at": row["scored_at"] or row["examined_at"],
    }
    if len(findings) > 1:
        for index, finding in enumerate(findings):
            values[f"score_{finding}"] = scores[index] if scores else None
    return values


def _numbers(text: str) -> list[float]:
    """A JSON list of numbers; one of a single number, which most models give, without a parser."""
    return json.loads(text) if "," in text or len(text) < 3 else [float(text[1:-1])]


def _cam_peak(row: Row, finding: int) -> tuple[int, int]:
    """The centre of the strongest cell of the class activation map, in the film's own pixels."""
    cam = np.frombuffer(row["cam"], _HALF, 49, finding * 49 * _HALF.itemsize)
    at_row, at_column = divmod(int(cam.argmax()), 7)
    return int((at_row + 0.5) / 7 * row["rows"]), int((at_column + 0.5) / 7 * row["columns"])
