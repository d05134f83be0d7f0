"""The queue in the state: what was told, what of it is to be sent, and what was delivered.

A delivery is found by study, kind and door. Its identity is a hash of what it says: while the
report says the same there is nothing to send, whatever became of the object since. Every change is
a transaction of its own, so a kill forgets nothing: what was sent and not marked is sent again
under the same SOP Instance UID, which a server stores once.

States: QUEUED; DELIVERED; REPLACED, by a newer one before it was sent or after; WITHDRAWN, for the
files of a worklist; IMPOSSIBLE, where what it is made of is gone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from screener.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that the report says and a door should know.

    `identity`: hash of all that is said. `uid`: for a DICOM object, made from `identity`.
    `urgency`: lower is sent first. `payload`: what it is made of, as JSON.
    """

    study_key: str
    patient_key: str
    kind: str
    door: str
    identity: str
    urgency: int
    payload: str


@dataclass(frozen=True, slots=True)
class Item:
    """A delivery that waits."""

    number: int
    study_key: str
    patient_key: str
    kind: str
    door: str
    identity: str
    uid: str
    predecessor: str
    attempts: int
    code: str
    payload: Mapping[str, Any]


Row = sqlite3.Row
_TEXTS = ("study_key", "patient_key", "kind", "door", "identity", "uid", "predecessor", "code")


class Queue:
    """The deliveries of an open ledger. Every method that writes commits."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.db

    # -- what was told ------------------------------------------------------------------------

    def told(self) -> Iterator[dict[str, Any]]:
        """The newest published statement on each study, study by study."""
        rows = self._db.execute(
            "SELECT t.row, r.started_at FROM told t JOIN studies USING (study_key)"
            " JOIN runs r ON r.number = t.run"
            " ORDER BY t.study_key, t.patient_key"
        )
        for row in rows:
            yield json.loads(row[0]) | {"said_at": row[1]}

    def last_run(self) -> str:
        """The id of the newest published run; empty where none was published."""
        row = self._db.execute(
            "SELECT run_id FROM runs WHERE published_at IS NOT NULL ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return "" if row is None else str(row[0])

    def images(self, study_key: str) -> list[sqlite3.Row]:
        """Every image of a study, with what its model input gave under the model in force then."""
        return list(
            self._db.execute(
                "SELECT i.path, i.gone, i.patient_key, i.sop_class_uid, i.sop_instance_uid,"
                " i.series_instance_uid, i.outcome, i.sha256, i.pixels_sha256, s.cam"
                " FROM images i LEFT JOIN points p ON p.id = i.points_id"
                " LEFT JOIN scores s ON i.pixels_sha256 != ''"
                " AND s.pixels_sha256 = i.pixels_sha256 AND s.bundle_sha256 = p.bundle_sha256"
                " WHERE i.study_key = ? GROUP BY i.path ORDER BY i.gone, i.path",
                (study_key,),
            )
        )

    def findings(self, model_sha256: str) -> list[str]:
        """The findings of a bundle, in the order of its maps."""
        row = self._db.execute(
            "SELECT findings FROM bundles WHERE sha256 = ?", (model_sha256,)
        ).fetchone()
        return [] if row is None else list(json.loads(row[0]))

    # -- what is to be sent -------------------------------------------------------------------

    def last(self, study_key: str, patient_key: str, kind: str, door: str) -> sqlite3.Row | None:
        """The newest delivery of one thing that was not replaced; None where there is none."""
        row: sqlite3.Row | None = self._db.execute(
            "SELECT * FROM deliveries WHERE study_key = ? AND patient_key = ? AND kind = ?"
            " AND door = ? AND state != 'REPLACED' ORDER BY id DESC LIMIT 1",
            (study_key, patient_key, kind, door),
        ).fetchone()
        return row

    def put(self, wanted: Wanted, uid: str, predecessor: str, now: str) -> None:
        """Queue something in the place of what waited or was delivered before. No commit."""
        self._db.execute(
            "UPDATE deliveries SET state = 'REPLACED', payload = '' WHERE study_key = ?"
            " AND patient_key = ? AND kind = ? AND door = ? AND state != 'REPLACED'",
            (wanted.study_key, wanted.patient_key, wanted.kind, wanted.door),
        )
        self._db.execute(
            "INSERT INTO deliveries (study_key, patient_key, kind, door, identity, uid,"
            " predecessor, state, urgency, queued_at, payload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'QUEUED', ?, ?, ?)",
            (
                wanted.study_key,
                wanted.patient_key,
                wanted.kind,
                wanted.door,
                wanted.identity,
                uid,
                predecessor,
                wanted.urgency,
                now,
                wanted.payload,
            ),
        )

    def delivered_uid(self, study_key: str, patient_key: str, kind: str, door: str) -> str:
        """The object of one kind that a door was given last; empty where it was given none."""
        row = self._db.execute(
            "SELECT uid FROM deliveries WHERE study_key = ? AND patient_key = ? AND kind = ?"
            " AND door = ? AND done_at != '' AND uid != '' ORDER BY id DESC LIMIT 1",
            (study_key, patient_key, kind, door),
        ).fetchone()
        return "" if row is None else str(row[0])

    def uid_used(self, uid: str, door: str) -> bool:
        """Whether a door was ever to be given this object."""
        row = self._db.execute(
            "SELECT 1 FROM deliveries WHERE uid = ? AND uid != '' AND door = ? LIMIT 1", (uid, door)
        ).fetchone()
        return row is not None

    def drop_others(self, study_key: str, patient_key: str, wished: set[tuple[str, str]]) -> None:
        """Drop what waits for a study and is no longer wished, by kind and door. No commit."""
        rows = self._db.execute(
            "SELECT id, kind, door FROM deliveries WHERE study_key = ? AND patient_key = ?"
            " AND state = 'QUEUED'",
            (study_key, patient_key),
        )
        unwished = [(row[0],) for row in rows if (row[1], row[2]) not in wished]
        self._db.executemany("DELETE FROM deliveries WHERE id = ?", unwished)

    def hold_back(self, study_key: str) -> None:
        """Drop what waits for a study that must not be sent: it is queued anew when it may."""
        self._db.execute(
            "DELETE FROM deliveries WHERE study_key = ? AND state = 'QUEUED'", (study_key,)
        )

    def requeue(self, number: int) -> None:
        """Let something wait again that could not be made. No commit."""
        self._db.execute(
            "UPDATE deliveries SET state = 'QUEUED', code = '' WHERE id = ?", (number,)
        )

    def commit(self) -> None:
        """Make what was queued durable."""
        self._ledger.commit()

    # -- sending ------------------------------------------------------------------------------

    def waiting(self, kinds: Sequence[str], door: str) -> list[int]:
        """The numbers of what waits at a door, most urgent first, what failed before last."""
        marks = ",".join("?" * len(kinds))
        rows = self._db.execute(
            f"SELECT id FROM deliveries WHERE state = 'QUEUED' AND door = ? AND kind IN ({marks})"
            " ORDER BY attempts, urgency, id",
            (door, *kinds),
        )
        return [row[0] for row in rows]

    def item(self, number: int) -> Item:
        """One delivery that waits."""
        row = self._db.execute(
            f"SELECT {', '.join(_TEXTS)}, attempts, payload FROM deliveries WHERE id = ?", (number,)
        ).fetchone()
        texts = {name: str(row[name]) for name in _TEXTS}
        return Item(number, attempts=row["attempts"], payload=json.loads(row["payload"]), **texts)

    def mark_delivered(self, number: int, now: str, code: str = "") -> None:
        """It is there: kept without what it was made of."""
        self._db.execute(
            "UPDATE deliveries SET state = 'DELIVERED', done_at = ?, code = ?, payload = '',"
            " attempts = attempts + 1 WHERE id = ?",
            (now, code, number),
        )
        self._ledger.commit()

    def mark_failed(self, number: int, code: str) -> None:
        """It stays queued, and why."""
        self._db.execute(
            "UPDATE deliveries SET attempts = attempts + 1, code = ? WHERE id = ?", (code, number)
        )
        self._ledger.commit()

    def mark_impossible(self, number: int, code: str) -> None:
        """It can no longer be made; it waits again when the film is back."""
        self._db.execute(
            "UPDATE deliveries SET state = 'IMPOSSIBLE', code = ? WHERE id = ?", (code, number)
        )
        self._ledger.commit()

    def mark_all_delivered(self, numbers: Sequence[int], now: str) -> None:
        """They are there, all of them, in one transaction."""
        self._db.executemany(
            "UPDATE deliveries SET state = 'DELIVERED', done_at = ?, code = '', payload = '',"
            " attempts = attempts + 1 WHERE id = ?",
            ((now, number) for number in numbers),
        )
        self._ledger.commit()

    def mark_withdrawn(self, number: int, *, for_good: bool) -> None:
        """Its file is gone from the worklist; for good: the same verdict brings it back never."""
        self._db.execute(
            "UPDATE deliveries SET state = ?, payload = '' WHERE id = ?",
            ("WITHDRAWN" if for_good else "REPLACED", number),
        )
        self._ledger.commit()

    def standing(self, kind: str, door: str) -> list[sqlite3.Row]:
        """What a door holds of one kind, with what is said of the study today, if anything."""
        return list(
            self._db.execute(
                "SELECT d.id, d.study_key, d.patient_key, d.done_at, d.identity, t.row"
                " FROM deliveries d LEFT JOIN told t USING (study_key, patient_key)"
                " WHERE d.kind = ? AND d.door = ? AND d.state = 'DELIVERED'",
                (kind, door),
            )
        )

    def forget_unknown(self) -> None:
        """Forget the studies that the state no longer knows.

        Of a patient who was purged nothing is sent. What stands in a worklist is kept until it was
        withdrawn.
        """
        self._db.execute(
            "DELETE FROM deliveries WHERE NOT (state = 'DELIVERED' AND kind = 'worklist')"
            " AND study_key NOT IN (SELECT study_key FROM studies)"
        )
        self._ledger.commit()

    def impossible(self) -> dict[tuple[str, str, str], int]:
        """How many could not be made, by kind, door and why."""
        rows = self._db.execute(
            "SELECT kind, door, code, count(*) FROM deliveries WHERE state = 'IMPOSSIBLE'"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    def counts(self) -> dict[tuple[str, str, str], int]:
        """How many wait, by kind, door and the code of the last failure."""
        rows = self._db.execute(
            "SELECT kind, door, code, count(*) FROM deliveries WHERE state = 'QUEUED'"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        return {(row[0], row[1], row[2]): row[3] for row in rows}
