"""What the ledger tells the report of each path: counts, failures, and the rows of `images.csv`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from screener.keys import under

SCORED = """
LEFT JOIN points p ON p.id = i.points_id
LEFT JOIN scores s ON i.pixels_sha256 != '' AND s.pixels_sha256 = i.pixels_sha256
    AND s.bundle_sha256 = p.bundle_sha256
    AND s.preprocessing = (SELECT max(preprocessing) FROM scores t
        WHERE t.pixels_sha256 = s.pixels_sha256 AND t.bundle_sha256 = s.bundle_sha256)
"""
"""Joins to images `i` the points that judged each, and the score that it got from their model."""
# What a row of `images.csv` is made of, and no more: with all of it a row costs twice as much.
_ROW_OF_AN_IMAGE = """
SELECT i.path, i.sha256, i.study_key, i.outcome, i.reason_code, i.detail, i.warnings, i.examined_at,
    i.voi_source, i.levels_dropped, i.decoder, i.decode_ms, i.study_instance_uid,
    i.series_instance_uid, i.sop_instance_uid, i.sop_class_uid, i.transfer_syntax_uid, i.modality,
    i.view_position, i.body_part_examined, i.photometric_interpretation, i.rows, i.columns,
    s.scores, s.logits, s.novelty, s.cam, s.scored_at, n.duplicate_of, n.uid_conflict
FROM images i"""


class PathStore:
    """The paths at or below some roots in an open state, those that are there."""

    def __init__(self, db: sqlite3.Connection, roots: Sequence[bytes]) -> None:
        self._db = db
        self._condition, self._values = under(roots)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many there are by outcome and reason code."""
        rows = self._db.execute(
            f"SELECT outcome, reason_code, count(*) FROM images WHERE gone = 0 AND"
            f" {self._condition} GROUP BY 1, 2 ORDER BY 1, 2",
            self._values,
        )
        found: dict[str, dict[str, int]] = {}
        for outcome, code, count in rows:
            found.setdefault(outcome, {})[code] = count
        return found

    def new_failures(self) -> int:
        """How many fail now and had not failed in the last published report."""
        row = self._db.execute(
            "SELECT count(*) FROM images WHERE outcome = 'FAILED' AND gone = 0"
            f" AND failure_reported = 0 AND {self._condition}",
            self._values,
        ).fetchone()
        return int(row[0])

    def rows(self) -> Iterator[dict[str, Any]]:
        """All of them with their scores, in the order of the paths."""
        return dictionaries(
            self._db,
            # What is noted is of its study: a path that is of none any more keeps an old note.
            f"{_ROW_OF_AN_IMAGE} LEFT JOIN notes n ON n.path = i.path AND i.study_key != ''"
            f" {SCORED} WHERE i.gone = 0 AND {self._condition.replace('path', 'i.path')}"
            " ORDER BY i.path",
            self._values,
        )

    def failed(self) -> Iterator[tuple[int, bytes, str, bool]]:
        """Row in `images.csv` from 1, path, reason code, whether the last report said so too."""
        # An own cursor's rows, one at a time: a wrecked archive may hold a million.
        rows = self._db.execute(
            "SELECT number, path, reason_code, failure_reported FROM (SELECT path, reason_code,"
            " failure_reported, outcome, row_number() OVER (ORDER BY path) AS number FROM images"
            f" WHERE gone = 0 AND {self._condition}) WHERE outcome = 'FAILED'",
            self._values,
        )
        for number, path, code, reported in rows:
            yield number, path, code, bool(reported)

    def failures(self, most: int) -> list[dict[str, Any]]:
        """The first that fail, those before all that had not failed before."""
        return list(
            dictionaries(
                self._db,
                "SELECT path, reason_code, detail FROM images WHERE outcome = 'FAILED'"
                f" AND gone = 0 AND {self._condition} ORDER BY failure_reported, path LIMIT ?",
                [*self._values, most],
            )
        )


def dictionaries(
    db: sqlite3.Connection, query: str, values: Sequence[object]
) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries: `sqlite3.Row` looks a name up by comparing it with all before it."""
    cursor = db.cursor()
    cursor.row_factory = None
    cursor.execute(query, tuple(values))
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))
