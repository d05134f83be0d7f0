"""Which words are the chest, which another part, and which nobody knows."""

from __future__ import annotations

import pytest

from screener.body_part import BodyPart, join_body_parts, judge_body_part

CHEST, OTHER = BodyPart.CHEST, BodyPart.OTHER
UNSTATED, NOT_KNOWN = BodyPart.UNSTATED, BodyPart.NOT_KNOWN


@pytest.mark.parametrize(
    "text",
    [
        "CHEST", "chest", "THORAX", "LUNG", "Lungs", "CHEST_PA", "CHEST PA", "CHESTABDOMEN",
        "CHEST_TO_ABDOMEN", "Thorax/Herz", "TÓRAX", "TORACE", "POUMON", "PULMÓN", "Lunge", "PECHO",
        "KLATKA PIERSIOWA", "GÖĞÜS", "胸部", "胸部正面", "흉부", "ГРУДНАЯ КЛЕТКА", "Легкие",
        "الصدر", "THORAX PORTABLE", "CXR", "LONG", "HEART", "Upper trunk / chest", "CHEST2VIEWS",
    ],
)  # fmt: skip
def test_chest(text: str) -> None:
    assert judge_body_part(text) is CHEST


@pytest.mark.parametrize(
    "text",
    [
        "ABDOMEN", "PELVIS", "EXTREMITY", "KNEE", "HAND", "SKULL", "CSPINE", "TSPINE", "LSPINE",
        "THORACIC SPINE", "THORACIC_SPINE", "THORACICSPINE", "RIB", "RIBS", "RIBS CHEST",
        "CHEST RIBS", "CLAVICLE", "STERNUM", "SHOULDER", "BREAST", "Schädel", "BECKEN", "HÜFTE",
        "Hüfte links", "GENOU", "RODILLA", "FUSS", "LEFT WRIST", "LONG LEG", "Sprunggelenk",
        "THORACIC AORTA", "SPINE THORAX", "BWS", "CERVICAL", "R KNEE 2 VIEWS", "épaule",
    ],
)  # fmt: skip
def test_other(text: str) -> None:
    assert judge_body_part(text) is OTHER


@pytest.mark.parametrize("text", ["", " ", "UNKNOWN", "OTHER", "Unspecified", "N/A", "---", "XXX"])
def test_unstated(text: str) -> None:
    assert judge_body_part(text) is UNSTATED


@pytest.mark.parametrize("text", ["WHOLE BODY", "RX1", "PRZEGLADOWE", "PEDIATRIC", "QWERTY"])
def test_words_nobody_knows_turn_nothing_away(text: str) -> None:
    assert judge_body_part(text) is NOT_KNOWN


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        ((), UNSTATED), ((CHEST, OTHER), CHEST), ((OTHER, UNSTATED), OTHER),
        ((OTHER, NOT_KNOWN), OTHER), ((UNSTATED, NOT_KNOWN), NOT_KNOWN),
        ((CHEST, NOT_KNOWN), CHEST), ((UNSTATED, UNSTATED), UNSTATED),
    ],
)  # fmt: skip
def test_join(parts: tuple[BodyPart, ...], joined: BodyPart) -> None:
    assert join_body_parts(*parts) is joined
