"""What states a view, what only hints at one, and what happens where they contradict each other."""

from __future__ import annotations

import pytest

from screener.domain import View
from screener.views import ViewEvidence, judge_description, judge_view

PA, AP, OTHER, UNKNOWN = View.PA, View.AP, View.OTHER, View.UNKNOWN


@pytest.mark.parametrize(
    ("position", "view"),
    [
        ("PA", PA), ("AP", AP), ("pa", PA), (" P.A. ", PA), ("P-A", PA), ("POSTERO_ANTERIOR", PA),
        ("Antero-posterior", AP), ("AP SUPINE", AP), ("AP_ERECT", AP), ("PA ERECT INSP", PA),
        ("LL", OTHER), ("RL", OTHER), ("LLD", OTHER), ("RLD", OTHER), ("LLO", OTHER),
        ("RLO", OTHER), ("LAT", OTHER), ("LATERAL", OTHER), ("L LAT", OTHER), ("LAO", OTHER),
        ("RPO", OTHER), ("AP AXIAL", OTHER), ("AP LORDOTIC", OTHER), ("AP OBLIQUE", OTHER),
        ("MLO", OTHER), ("SUNRISE", OTHER), ("LATERAL DECUBITUS", OTHER),
        ("", UNKNOWN), ("STANDING", UNKNOWN), ("PA/LAT", UNKNOWN), ("APLAT", UNKNOWN),
        ("PA AP", UNKNOWN), ("FRONTAL", UNKNOWN), ("PA\\LL", UNKNOWN), ("AP-LL", UNKNOWN),
        ("FACE PROFIL", UNKNOWN), ("FRONTAL LATERAL", UNKNOWN), ("P.A. + SEITLICH", UNKNOWN),
        ("DECUBITUS DORSAL", UNKNOWN), ("FRONTAL OBLIQUE", OTHER), ("PROFIL G", OTHER),
    ],
)  # fmt: skip
def test_view_position(position: str, view: View) -> None:
    assert judge_view(ViewEvidence(position=position))[0] is view


@pytest.mark.parametrize(
    ("code", "meaning", "view"),
    [
        ("R-10214", "", PA), ("272479007", "", PA), ("R-40888", "", PA), ("R-10206", "", AP),
        ("399348003", "", AP), ("R-10236", "", OTHER), ("399198007", "", OTHER),
        ("R-10202", "frontal", UNKNOWN), ("399182000", "", OTHER),
        ("LOCAL1", "Postero-Anterior", PA), ("LOCAL2", "left lateral", OTHER), ("X", "Y", UNKNOWN),
    ],
)  # fmt: skip
def test_view_codes(code: str, meaning: str, view: View) -> None:
    judged, source = judge_view(ViewEvidence(codes=((code, meaning),)))
    assert judged is view
    assert source == ("" if view is UNKNOWN else "ViewCodeSequence")


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("Chest lateral", OTHER), ("THORAX LAT", OTHER), ("Thorax seitlich", OTHER),
        ("Thorax de profil", OTHER), ("Tórax perfil", OTHER), ("Torace L-L", OTHER),
        ("Thorax schräg", OTHER), ("Chest oblique", OTHER), ("LT DECUB", OTHER),
        ("Apical lordotic", OTHER), ("CHEST DECUBITUS", OTHER), ("KLATKA PIERSIOWA BOCZNE", OTHER),
        ("Chest PA", UNKNOWN), ("Thorax p.a.", UNKNOWN), ("Thorax a-p im Liegen", UNKNOWN),
        ("Thorax face", UNKNOWN), ("Tórax frente", UNKNOWN), ("Chest frontal", UNKNOWN),
        ("Thorax décubitus dorsal", None), ("Tórax decúbito supino", None),
        ("Chest PA and lateral", None), ("Thorax p.a./seitl.", None), ("CHEST 2 VIEWS", None),
        ("Thorax face + profil", None), ("Bilateral chest", None), ("", None), ("Collateral", None),
        ("PLATE", None), ("CAPS", None),
    ],
)  # fmt: skip
def test_descriptions(text: str, view: View | None) -> None:
    assert judge_description(text) is view


SERIES = "SeriesDescription"


@pytest.mark.parametrize(
    ("evidence", "view", "source"),
    [
        # A hint makes an unstated view a lateral one, never a frontal one.
        (ViewEvidence(descriptions=((SERIES, "Chest PA"),)), UNKNOWN, ""),
        (ViewEvidence(descriptions=((SERIES, "Chest lateral"),)), OTHER, SERIES),
        (ViewEvidence(orientation=("A", "F")), OTHER, "PatientOrientation"),
        (ViewEvidence(orientation=("P", "F")), OTHER, "PatientOrientation"),
        (ViewEvidence(orientation=("L", "P")), OTHER, "PatientOrientation"),
        (ViewEvidence(orientation=("L", "F")), UNKNOWN, ""),
        (ViewEvidence(orientation=("F", "L")), UNKNOWN, ""),
        (ViewEvidence(orientation=("A",)), UNKNOWN, ""),
        (ViewEvidence(orientation=("ANYTHING", "F")), UNKNOWN, ""),
        # Hints that contradict each other.
        (ViewEvidence(orientation=("A", "F"), descriptions=((SERIES, "PA"),)), UNKNOWN, ""),
        (ViewEvidence(descriptions=((SERIES, "Lat"), ("X", "Chest AP"))), UNKNOWN, ""),
        # A stated frontal view that a hint puts in doubt.
        (ViewEvidence("PA", orientation=("A", "F")), UNKNOWN, ""),
        (ViewEvidence("PA", descriptions=((SERIES, "Chest lateral"),)), UNKNOWN, ""),
        (ViewEvidence("AP", descriptions=((SERIES, "Lateral decubitus"),)), UNKNOWN, ""),
        # And one that holds.
        (ViewEvidence("PA", orientation=("L", "F")), PA, "ViewPosition"),
        (ViewEvidence("PA", descriptions=((SERIES, "Chest PA and lateral"),)), PA, "ViewPosition"),
        (ViewEvidence("", codes=(("R-10214", ""),)), PA, "ViewCodeSequence"),
        (ViewEvidence("STANDING", codes=(("R-10206", ""),)), AP, "ViewCodeSequence"),
        (ViewEvidence("PA", codes=(("R-10202", "frontal"),)), PA, "ViewPosition"),
        (ViewEvidence("PA", codes=(("R-10206", ""),)), PA, "ViewPosition"),
        # A stated lateral is one, also in a series that is called after its first image.
        (ViewEvidence("LL", descriptions=((SERIES, "Chest PA"),)), OTHER, "ViewPosition"),
        (ViewEvidence("LL", orientation=("L", "F")), OTHER, "ViewPosition"),
        # Position and code of one image contradict each other.
        (ViewEvidence("PA", codes=(("R-10236", ""),)), UNKNOWN, ""),
        (ViewEvidence("LL", codes=(("R-10214", ""),)), UNKNOWN, ""),
        (ViewEvidence("LL", codes=(("R-10202", ""),)), UNKNOWN, ""),
        # Frontal without a direction is no lateral, whatever a series is called.
        (ViewEvidence("FRONTAL", descriptions=((SERIES, "Lateral"),)), UNKNOWN, ""),
        (ViewEvidence(), UNKNOWN, ""),
    ],
)
def test_evidence(evidence: ViewEvidence, view: View, source: str) -> None:
    assert judge_view(evidence) == (view, source)


def test_only_position_and_code_make_a_view_frontal() -> None:
    hints = ("Chest PA", "Chest AP erect", "Thorax p.a.", "PA", "AP")
    for orientation in ((), ("L", "F"), ("R", "F")):
        evidence = ViewEvidence(
            orientation=orientation, descriptions=tuple((SERIES, hint) for hint in hints)
        )
        assert judge_view(evidence) == (UNKNOWN, "")
