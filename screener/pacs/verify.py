"""`screener verify-pacs`: every door that the site file names, tried with objects of nobody.

Each step is tried on its own and says what it found; a test object is taken back where the server
lets that be done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime

import requests
from pydicom import Dataset

from screener.durable import private_files
from screener.errors import UsageError
from screener.pacs.answer import DONE, Answer, Reply
from screener.pacs.archive import Archive, Film, Question, UnansweredError
from screener.pacs.arrival import fault_of
from screener.pacs.check import Check, State, check_of
from screener.pacs.dicomweb import WebStore, of_request_error, open_client, open_session
from screener.pacs.dimse import DimseStore, echo
from screener.pacs.dimse_archive import DimseArchive
from screener.pacs.making import UNFIT, sop_classes
from screener.pacs.pull import SOP_CLASSES, open_archive, source_of
from screener.pacs.trial import PATIENT_ID, trial_key_image, trial_report, trial_row
from screener.pacs.verify_folders import verify_folder, verify_worklist
from screener.pacs.web_archive import WebArchive
from screener.pacs.window import zone_of
from screener.settings import Settings

_FINDING_TAKES_S = 10.0


@private_files()
def verify_pacs(settings: Settings, *, with_pull: bool = False) -> list[Check]:
    """Try each door, step by step.

    Args:
        settings: The doors.
        with_pull: Fetch through `[pull]` too.

    Raises:
        UsageError: the site file names no door, or a certificate or secret cannot be used.
    """
    if not any(
        (
            settings.dicomweb.open,
            settings.dimse.open,
            settings.worklist.folder is not None,
            bool(settings.csv),
        )
    ):
        raise UsageError(
            "the site file names no door",
            "there is nothing to try",
            "give --config with [dicomweb], [dimse], [worklist] or [csv.NAME]; see docs/pacs.md",
        )
    if with_pull:
        source_of(settings)
    return list(_checks(settings, with_pull=with_pull))


def _checks(settings: Settings, *, with_pull: bool) -> Iterator[Check]:
    stored: list[tuple[str, Dataset]] = []
    if settings.dicomweb.open:
        yield from _network("dicomweb", settings, stored)
    if settings.dimse.open:
        yield from _network("dimse", settings, stored)
    if with_pull:
        yield from _pull(settings, stored)
    yield from _take_back(settings, stored)
    if settings.worklist.folder is not None:
        yield from verify_worklist(settings, settings.worklist.folder)
    for name, importer in settings.csv.items():
        yield verify_folder(f"csv {name}", importer.folder)


# -- the network doors ------------------------------------------------------------------------


def _network(door: str, settings: Settings, stored: list[tuple[str, Dataset]]) -> Iterator[Check]:
    """Is it there, does it take what is published, does it give that back."""
    began = time.monotonic()
    answer = _echo(door, settings)
    yield check_of(door, "echo", answer, f"{(time.monotonic() - began) * 1000:.0f} ms")
    if answer.reply is not Reply.DONE:
        return
    row = trial_row("")
    made = {
        "report": (settings.publish.structured_report, trial_report, settings.publish.sr_class),
        "key image": (settings.publish.key_image, trial_key_image, settings.publish.key_image_kind),
    }
    for what, (doors, make, form) in made.items():
        if door not in doors:
            yield Check(door, f"store {what}", State.NOT_TRIED, "[publish] does not send it there")
            continue
        try:
            dataset = make(row, form)  # type: ignore[operator]
        except UNFIT as error:
            yield Check(door, f"store {what}", State.FAILS, f"UNFIT_{type(error).__name__}")
            continue
        answer = _store(door, settings, dataset)
        yield check_of(door, f"store {what}", answer, answer.code)
        if answer.reply is Reply.DONE:
            stored.append((door, dataset))
            yield check_of(door, f"find {what}", _find(door, settings, dataset))


def _echo(door: str, settings: Settings) -> Answer:
    if door == "dimse":
        return echo(settings.dimse)
    with WebArchive(settings.dicomweb, 1, 1, 1) as archive:
        try:
            archive.studies(Question(datetime.now().astimezone().date(), "CR"), 0)
        except UnansweredError as error:
            return error.answer
    return DONE


def _store(door: str, settings: Settings, dataset: Dataset) -> Answer:
    if door == "dicomweb":
        with WebStore(settings.dicomweb) as web:
            return web.store(dataset)
    with DimseStore(settings.dimse, sop_classes(settings, door)) as dimse:
        return dimse.store(dataset)


def _find(door: str, settings: Settings, dataset: Dataset) -> Answer:
    """Ask for the object until it is found: an archive may take a moment to list it."""
    ends = time.monotonic() + _FINDING_TAKES_S
    archive: WebArchive | DimseArchive
    if door == "dicomweb":
        archive = WebArchive(settings.dicomweb, 10, 1, 1)
    else:
        archive = DimseArchive(settings.dimse, (), None)
    with archive:
        while True:
            try:
                page = archive.objects(dataset.StudyInstanceUID, dataset.SeriesInstanceUID, 0)
            except UnansweredError as error:
                return error.answer
            if any(each.uid == dataset.SOPInstanceUID for each in page.entries):
                return DONE
            if time.monotonic() > ends:
                return Answer(Reply.LATER, "NOT_FOUND")
            time.sleep(0.5)


def _take_back(settings: Settings, stored: list[tuple[str, Dataset]]) -> Iterator[Check]:
    """Delete the test objects where DICOMweb lets that be done; C-STORE knows no taking back."""
    left = f"delete the patient {PATIENT_ID} there"
    for door in dict.fromkeys(door for door, _ in stored):
        uids = {str(each.StudyInstanceUID) for one, each in stored if one == door}
        if not settings.dicomweb.open:
            yield Check(door, "take back", State.NOT_TRIED, "it stays", left)
            continue
        with open_session(settings.dicomweb) as session:
            client = open_client(settings.dicomweb, session)
            try:
                for uid in uids:
                    client.delete_study(uid)
            except requests.RequestException as error:
                code = of_request_error(error).code
                yield Check(door, "take back", State.NOT_TRIED, f"it stays: {code}", left)
                continue
        yield Check(door, "take back", State.WORKS)


# -- fetching ---------------------------------------------------------------------------------


def _pull(settings: Settings, stored: list[tuple[str, Dataset]]) -> Iterator[Check]:
    """List today, and fetch one object without keeping it: a test object, else one of today's."""
    via = f"pull {settings.pull.via}"
    today = datetime.now(zone_of(settings.pull.time_zone)).date()
    classes = (*SOP_CLASSES, *(str(each.SOPClassUID) for _, each in stored))
    with ExitStack() as stack:
        archive = open_archive(settings, stack, classes)
        films: list[Film] = [
            Film(
                str(each.SOPInstanceUID),
                str(each.SeriesInstanceUID),
                str(each.StudyInstanceUID),
                sop_class_uid=str(each.SOPClassUID),
            )
            for _, each in stored
        ]
        for modality in settings.pull.modality:
            try:
                studies = archive.studies(Question(today, modality), 0).entries
                films += _first_film(archive, [each.uid for each in studies], modality)
            except UnansweredError as error:
                yield check_of(via, f"list {modality}", error.answer)
                continue
            yield Check(via, f"list {modality}", State.WORKS, f"{len(studies)} studies of today")
        if not films:
            yield Check(via, "fetch", State.NOT_TRIED, "no object to fetch today")
            return
        try:
            content = archive.fetch(films[0])
        except UnansweredError as error:
            yield check_of(via, "fetch", error.answer)
            return
        fault = fault_of(content, films[0])
        answer = Answer(Reply.REFUSED, fault) if fault else DONE
        yield check_of(via, "fetch", answer, f"{len(content)} bytes")


def _first_film(archive: Archive, studies: list[str], modality: str) -> list[Film]:
    for study in studies[:1]:
        for series in archive.series(study, 0).entries:
            if series.modality != modality:
                continue
            for each in archive.objects(study, series.uid, 0).entries[:1]:
                return [Film(each.uid, series.uid, study, sop_class_uid=each.sop_class)]
    return []
