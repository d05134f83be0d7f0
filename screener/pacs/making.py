"""A queued item -> the DICOM object that is sent, made from the film where it is still there."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from screener.pacs.film import Film, FilmGoneError, header_of_row, read_film
from screener.pacs.key_image import cam_of, draw, key_image, with_meta, words
from screener.pacs.planning import FILM_GONE, KEY_IMAGE, SR
from screener.pacs.presentation_state import SOP_CLASS as PRESENTATION_STATE
from screener.pacs.presentation_state import presentation_state
from screener.pacs.queue import Item
from screener.pacs.structured_report import SOP_CLASSES, structured_report
from screener.settings import Settings

# What highdicom and pydicom raise on a header that breaks the standard.
UNFIT = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    RecursionError,
    EOFError,
    NotImplementedError,
    struct.error,
)


class CannotMakeError(Exception):
    """The object cannot be made; `code` says why, in no words of the film's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def make(item: Item) -> Dataset:
    """Make the object of an item, with its file meta information.

    Raises:
        CannotMakeError: the film is gone and the object needs it, or it breaks the standard so that
            no object can be made of it.
    """
    try:
        return with_meta(_make(item))
    except FilmGoneError:
        raise CannotMakeError(FILM_GONE) from None
    except UNFIT as error:
        raise CannotMakeError(f"UNFIT_{type(error).__name__}") from None


def sop_classes(settings: Settings, door: str) -> list[str]:
    """The SOP classes of what a door is to be given, also what older settings queued."""
    found: list[str] = []
    if door in settings.publish.structured_report:
        found += SOP_CLASSES.values()
    if door in settings.publish.key_image:
        found += [SecondaryCaptureImageStorage, PRESENTATION_STATE]
    return found


def header_for(payload: Mapping[str, Any]) -> Dataset:
    """Patient and study from the film of the deciding image, else from the report's row.

    Raises:
        ValueError: as pydicom raises it on values that are none.
    """
    row = payload["row"]
    for image in payload["images"]:
        try:
            header = _film(image).header()
        except FilmGoneError:
            continue
        if str(header.get("StudyInstanceUID") or "") == row["study_instance_uid"]:
            return header
    return header_of_row(row)


def _make(item: Item) -> Dataset:
    payload = item.payload
    row, images = payload["row"], payload["images"]
    header = header_for(payload)
    if item.kind == SR:
        return structured_report(
            row,
            images,
            header,
            uid=item.uid,
            predecessor=item.predecessor,
            predecessor_class=SOP_CLASSES[payload["form"]],
            sr_class=payload["form"],
        )
    if item.kind != KEY_IMAGE:
        raise ValueError(item.kind)
    film = _film(images[0])
    cam = cam_of(images[0]["cam"], payload["findings"].index(row["finding"]))
    if payload["form"] == "presentation-state":
        return presentation_state(row, film.content, header, cam, uid=item.uid)
    pixels = draw(film.picture(), cam, words(row))
    return key_image(row, images[0], header, pixels, uid=item.uid)


def _film(image: Mapping[str, str]) -> Film:
    return read_film(bytes.fromhex(image["path"]), image["sha256"])
