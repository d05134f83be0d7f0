"""The key image as marks over the film itself: a grayscale presentation state (PS3.3 A.33.1).

For a PACS that shows them: the film keeps its full size and its window, and nothing is copied.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from pydicom import Dataset, dcmread

from screener import __version__
from screener.domain import OWN_MANUFACTURER
from screener.pacs.film import plain, take_over
from screener.pacs.identity import series_uid
from screener.pacs.key_image import DESCRIPTION, NOTICE, SERIES_NUMBER, words
from screener.pacs.moment import local_moment, stamp_content

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.11.1"
_STRONG = 0.5


def presentation_state(
    row: Mapping[str, Any],
    content: bytes,
    header: Dataset,
    cam: NDArray[np.float32],
    *,
    uid: str,
) -> Dataset:
    """Marks over a film: a box where the score comes from, and the words.

    Args:
        row: The verdict, as the ledger keeps it.
        content: The film's file.
        header: Patient and study, as `screener.pacs.film` copies them.
        cam: float32 (7, 7).
        uid: The SOP Instance UID, made from what is said.

    Raises:
        ValueError, TypeError, AttributeError, LookupError: as highdicom does where the film's own
            display module breaks the standard.
    """
    with warnings.catch_warnings():
        # highdicom and pydicom warn of values that break the standard, in words that hold them.
        warnings.simplefilter("ignore")
        film = dcmread(io.BytesIO(content), stop_before_pixels=True)
        for element in plain(header):
            film[element.tag] = element
        layer = GraphicLayer("SCREENER", order=1, description=DESCRIPTION)
        rows, columns = int(film.Rows), int(film.Columns)
        lines = "\r\n".join(words(row))
        state: Dataset = GrayscaleSoftcopyPresentationState(
            referenced_images=[film],
            series_instance_uid=series_uid(str(header.StudyInstanceUID), "presentation_state"),
            series_number=SERIES_NUMBER + 1,
            sop_instance_uid=uid,
            instance_number=1,
            series_description=DESCRIPTION,
            manufacturer=OWN_MANUFACTURER,
            manufacturer_model_name=str(row["model"])[:64],
            software_versions=str(row["software_version"] or __version__),
            device_serial_number=str(row["model_sha256"])[:16],
            content_label="SCREENER",
            content_description=f"screener, {NOTICE}",
            content_creator_name=OWN_MANUFACTURER,
            graphic_layers=[layer],
            graphic_annotations=[
                GraphicAnnotation(
                    referenced_images=[film],
                    graphic_layer=layer,
                    graphic_objects=[
                        GraphicObject("POLYLINE", box_of(cam, rows, columns), units="PIXEL")
                    ],
                    text_objects=[
                        TextObject(
                            lines,
                            units="PIXEL",
                            bounding_box=(1, rows * 0.94, columns, rows),
                            text_justification="LEFT",
                        )
                    ],
                )
            ],
        )
        take_over(state, header)
        state.Laterality = ""
    moment = local_moment(str(row["screened_at"]), header)
    stamp_content(state, moment)
    state.PresentationCreationDate = state.ContentDate
    state.PresentationCreationTime = state.ContentTime
    del state.ContentDate, state.ContentTime
    return state


def box_of(cam: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float64]:
    """A closed box around the cells that hang together with the strongest: (5, 2), column, row."""
    low, high = float(cam.min()), float(cam.max())
    strong = (cam - low) >= _STRONG * ((high - low) or 1.0)
    peak = divmod(int(cam.argmax()), cam.shape[1])
    seen, waiting = set(), [peak]
    while waiting:
        row, column = waiting.pop()
        inside = 0 <= row < cam.shape[0] and 0 <= column < cam.shape[1]
        if (row, column) in seen or not inside or not strong[row, column]:
            continue
        seen.add((row, column))
        waiting += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    seen.add(peak)
    top, bottom = min(r for r, _ in seen), max(r for r, _ in seen) + 1
    left, right = min(c for _, c in seen), max(c for _, c in seen) + 1
    across, down = columns / cam.shape[1], rows / cam.shape[0]
    # PS3.3 C.10.5.1.2: the top left pixel's centre is at 1, 1.
    x0, x1 = max(left * across, 1.0), min(right * across, float(columns))
    y0, y1 = max(top * down, 1.0), min(bottom * down, float(rows))
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]])
