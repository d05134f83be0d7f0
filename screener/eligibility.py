"""The rules that a header must pass before its pixels are looked at. Pure; fed by `Instance`.

The first rule that applies decides, in the order below. What its header rules out is INELIGIBLE
however broken its pixels are: nobody needs to mend an MR that this program would not read anyway.
"""

from __future__ import annotations

from screener.body_part import BodyPart, join_body_parts, judge_body_part
from screener.domain import FileKind, Instance, Rejection, View
from screener.outcomes import ReasonCode

CR_IMAGE = "1.2.840.10008.5.1.4.1.1.1"
DX_IMAGE = "1.2.840.10008.5.1.4.1.1.1.1"
"""Digital X-Ray Image Storage - For Presentation."""
DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
FILM_SOP_CLASSES = frozenset({CR_IMAGE, DX_IMAGE, DX_FOR_PROCESSING, SECONDARY_CAPTURE})
"""Classes that may hold a radiograph, whether or not they are screened."""

# With a SOP class that says radiograph, an empty modality says nothing against it; RG is a
# digitised film, DR what some consoles write for DX.
_RADIOGRAPHY = frozenset({"CR", "DX", "DR", "RG", ""})
# A secondary capture says how it came to be or what it shows.
_CAPTURES = _RADIOGRAPHY | {"OT", "SC", "WSD", "HC"}
_MINIMUM_SIDE = 128
"""Below it no finding of the lung can be seen; thumbnails and test patterns are that small."""


def judge_header(
    instance: Instance, age_range: tuple[float, float] | None, *, secondary_capture: bool
) -> Rejection | None:
    """Apply the rules; None where the pixels may be looked at.

    Args:
        instance: What the header says. A PNG, JPEG or TIFF has none and passes all but the size.
        age_range: Of the model, in years, both ends included; None for no rule. A patient whose
            age is not known is taken as within it.
        secondary_capture: Whether the site has its secondary captures screened.
    """
    code = None
    if instance.kind is FileKind.DICOM:
        code = _judge(instance, age_range, secondary_capture=secondary_capture)
    if code is None and 0 < min(instance.rows, instance.columns) < _MINIMUM_SIDE:
        code = ReasonCode.TOO_SMALL
    return None if code is None else Rejection(code)


def _judge(
    instance: Instance, age_range: tuple[float, float] | None, *, secondary_capture: bool
) -> ReasonCode | None:
    captured = instance.sop_class_uid == SECONDARY_CAPTURE
    allowed = _CAPTURES if captured else _RADIOGRAPHY
    rules = (
        (not _screened_sop_class(instance, secondary_capture), ReasonCode.SOP_CLASS),
        (instance.own_output, ReasonCode.OWN_OUTPUT),
        (instance.number_of_frames > 1, ReasonCode.MULTI_FRAME),
        (_for_processing(instance), ReasonCode.FOR_PROCESSING),
        (instance.modality.upper() not in allowed, ReasonCode.MODALITY),
        (instance.view is View.OTHER, ReasonCode.VIEW),
        (states_other_body_part(instance), ReasonCode.BODY_PART),
        (_outside(instance.age_years, age_range), ReasonCode.AGE),
    )
    return next((code for applies, code in rules if applies), None)


def body_part_of(instance: Instance) -> BodyPart:
    """What BodyPartExamined and the anatomic region say together."""
    return join_body_parts(
        judge_body_part(instance.body_part_examined), judge_body_part(instance.anatomic_region)
    )


def states_other_body_part(instance: Instance) -> bool:
    """True where the header states a body part that is not the chest."""
    return body_part_of(instance) is BodyPart.OTHER


def _screened_sop_class(instance: Instance, secondary_capture: bool) -> bool:
    if instance.sop_class_uid == SECONDARY_CAPTURE:
        return secondary_capture
    # DX For Processing is a DX image; its own rule turns it away with the better reason.
    return instance.sop_class_uid in FILM_SOP_CLASSES


def _for_processing(instance: Instance) -> bool:
    stated = instance.presentation_intent.upper() == "FOR PROCESSING"
    return stated or instance.sop_class_uid == DX_FOR_PROCESSING


def _outside(age_years: float | None, age_range: tuple[float, float] | None) -> bool:
    if age_years is None or age_range is None:
        return False
    # An age is stated in whole years: 90 is anything below 91.
    return not age_range[0] <= age_years < age_range[1] + 1
