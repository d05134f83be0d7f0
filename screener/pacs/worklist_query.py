"""A worklist asked as a modality asks it: C-FIND of the Modality Worklist (PS3.4 K)."""

from __future__ import annotations

import warnings

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association

from screener.pacs.answer import DONE, Answer, Reply, of_retrieve
from screener.pacs.dimse import associate, contexts_for
from screener.pacs.doors import Dimse
from screener.pacs.site import Worklist

WORKLIST = UID("1.2.840.10008.5.1.4.31")
_PENDING = frozenset({0xFF00, 0xFF01})


def ask_worklist(worklist: Worklist, dimse: Dimse, made: Dataset) -> Answer:
    """Whether a server gives an entry to who asks for its priority, and the priority as it is.

    Args:
        worklist: Where the server is, and the AE title of the entries.
        dimse: Whose AE title and patience we ask with.
        made: The entry, as it was written.
    """
    door = Dimse(
        host=worklist.server,
        port=worklist.server_port,
        ae_title=worklist.server_ae_title or worklist.ae_title,
        calling_ae_title=dimse.calling_ae_title,
        timeout_s=dimse.timeout_s,
    )
    opened = associate(door, contexts_for([WORKLIST]))
    if isinstance(opened, Answer):
        return opened
    try:
        found = _found(opened, _query(worklist, made))
    finally:
        if opened.is_established:
            opened.release()
    if isinstance(found, Answer):
        return found
    mine = [each for each in found if each.get("StudyInstanceUID") == made.StudyInstanceUID]
    if not mine:
        return Answer(Reply.LATER, "NOT_LISTED")
    priority = str(mine[0].get("RequestedProcedurePriority") or "")
    if priority != made.RequestedProcedurePriority:
        return Answer(Reply.REFUSED, "OTHER_PRIORITY")
    return DONE


def _found(association: Association, query: Dataset) -> list[Dataset] | Answer:
    found: list[Dataset] = []
    try:
        for told, identifier in association.send_c_find(query, WORKLIST):
            status = told.get("Status")
            if status is None:
                break
            if status == 0:
                return found
            if status not in _PENDING:
                return of_retrieve(int(status))
            if identifier is not None:
                found.append(identifier)
    except ValueError:
        return Answer(Reply.UNREACHABLE, "NO_QUERY")
    except (RuntimeError, OSError):
        pass
    return Answer(Reply.UNREACHABLE, "CONNECTION_LOST")


def _query(worklist: Worklist, made: Dataset) -> Dataset:
    """For entries of our AE title with that priority, and what is to be told of each."""
    query, step = Dataset(), Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step.ScheduledStationAETitle = worklist.ae_title
        step.ScheduledProcedureStepStartDate = ""
        step.Modality = ""
        query.ScheduledProcedureStepSequence = [step]
        query.RequestedProcedurePriority = made.RequestedProcedurePriority
        query.ReportingPriority = ""
        query.AccessionNumber = made.AccessionNumber
        query.PatientID = ""
        query.StudyInstanceUID = ""
        query.RequestedProcedureID = ""
    return query
