"""The rules of a header: each alone, and every pair in the contract's order."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from screener.domain import FileKind, Instance, View
from screener.eligibility import (
    CR_IMAGE,
    DX_FOR_PROCESSING,
    DX_IMAGE,
    SECONDARY_CAPTURE,
    judge_header,
    states_other_body_part,
)
from screener.outcomes import Outcome, ReasonCode

CHEST = Instance(
    kind=FileKind.DICOM,
    rows=2000,
    columns=1800,
    sop_class_uid=CR_IMAGE,
    modality="CR",
    view=View.PA,
    body_part_examined="CHEST",
    age_years=50.0,
)
ADULTS = (16.0, 90.0)

# One violation of each rule, in the order of the contract.
VIOLATIONS: tuple[tuple[ReasonCode, dict[str, Any]], ...] = (
    (ReasonCode.SOP_CLASS, {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2"}),
    (ReasonCode.OWN_OUTPUT, {"own_output": True}),
    (ReasonCode.MULTI_FRAME, {"number_of_frames": 2}),
    (ReasonCode.FOR_PROCESSING, {"presentation_intent": "FOR PROCESSING"}),
    (ReasonCode.MODALITY, {"modality": "RF"}),
    (ReasonCode.VIEW, {"view": View.OTHER}),
    (ReasonCode.BODY_PART, {"body_part_examined": "KNEE"}),
    (ReasonCode.AGE, {"age_years": 4.0}),
    (ReasonCode.TOO_SMALL, {"rows": 16, "columns": 16}),
)


def judge(instance: Instance, *, secondary_capture: bool = False) -> ReasonCode | None:
    rejection = judge_header(instance, ADULTS, secondary_capture=secondary_capture)
    if rejection is None:
        return None
    assert rejection.outcome is Outcome.INELIGIBLE
    return rejection.code


def test_a_chest_radiograph_passes() -> None:
    assert judge(CHEST) is None


@pytest.mark.parametrize(("code", "change"), VIOLATIONS)
def test_each_rule(code: ReasonCode, change: dict[str, Any]) -> None:
    assert judge(replace(CHEST, **change)) is code


@pytest.mark.parametrize(("first", "second"), list(combinations(VIOLATIONS, 2)))
def test_the_first_rule_decides(first: Any, second: Any) -> None:
    assert judge(replace(CHEST, **{**second[1], **first[1]})) is first[0]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sop_class_uid": DX_IMAGE, "modality": "DX"}, None),
        ({"sop_class_uid": DX_IMAGE, "modality": "CR"}, None),
        ({"sop_class_uid": DX_IMAGE, "modality": ""}, None),
        ({"sop_class_uid": DX_IMAGE, "modality": "DR"}, None),
        ({"modality": "RG"}, None),
        ({"modality": "cr"}, None),
        ({"modality": "OT"}, ReasonCode.MODALITY),
        ({"modality": "MG"}, ReasonCode.MODALITY),
        ({"sop_class_uid": DX_IMAGE, "presentation_intent": "FOR PRESENTATION"}, None),
        ({"sop_class_uid": DX_FOR_PROCESSING}, ReasonCode.FOR_PROCESSING),
        ({"sop_class_uid": DX_FOR_PROCESSING, "number_of_frames": 2}, ReasonCode.MULTI_FRAME),
        ({"sop_class_uid": SECONDARY_CAPTURE}, ReasonCode.SOP_CLASS),
        ({"sop_class_uid": ""}, ReasonCode.SOP_CLASS),
        ({"sop_class_uid": DX_IMAGE + ".9"}, ReasonCode.SOP_CLASS),
        ({"view": View.AP}, None),
        ({"view": View.UNKNOWN}, None),
        ({"body_part_examined": ""}, None),
        ({"body_part_examined": "SOMETHING"}, None),
        ({"body_part_examined": "", "anatomic_region": "Knee joint"}, ReasonCode.BODY_PART),
        ({"body_part_examined": "CHEST", "anatomic_region": "Rib"}, None),
        ({"age_years": None}, None),
        ({"age_years": 16.0}, None),
        ({"age_years": 15.9}, ReasonCode.AGE),
        ({"age_years": 90.7}, None),
        ({"age_years": 91.0}, ReasonCode.AGE),
        ({"rows": 127}, ReasonCode.TOO_SMALL),
        ({"rows": 128, "columns": 128}, None),
        # Missing dimensions are no small ones: the file is broken, and FAILED later.
        ({"rows": 0, "columns": 0}, None),
    ],
)
def test_edges(change: dict[str, Any], code: ReasonCode | None) -> None:
    assert judge(replace(CHEST, **change)) is code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"modality": "OT"}, None),
        ({"modality": "US"}, ReasonCode.MODALITY),
        ({"own_output": True}, ReasonCode.OWN_OUTPUT),
        ({"view": View.OTHER}, ReasonCode.VIEW),
    ],
)
def test_secondary_captures_only_where_the_site_says_so(
    change: dict[str, Any], code: ReasonCode | None
) -> None:
    capture = replace(CHEST, **{"sop_class_uid": SECONDARY_CAPTURE, **change})
    assert judge(capture, secondary_capture=True) is code
    assert judge(capture) is ReasonCode.SOP_CLASS


def test_without_an_age_range_every_age_passes() -> None:
    assert judge_header(replace(CHEST, age_years=0.1), None, secondary_capture=False) is None


@pytest.mark.parametrize("kind", [FileKind.PNG, FileKind.JPEG, FileKind.TIFF])
def test_raster_files_have_no_header_to_judge(kind: FileKind) -> None:
    assert judge(Instance(kind=kind, rows=299, columns=299)) is None
    assert judge(Instance(kind=kind)) is None
    assert judge(Instance(kind=kind, rows=64, columns=299)) is ReasonCode.TOO_SMALL


def test_another_body_part_is_known_whatever_rule_decided() -> None:
    knee = replace(CHEST, sop_class_uid="1.2.3", body_part_examined="KNEE")
    assert judge(knee) is ReasonCode.SOP_CLASS
    assert states_other_body_part(knee)
    assert not states_other_body_part(CHEST)
