"""What a header says of the projection -> View. Pure; fed by `screener.dicom`.

ViewPosition and ViewCodeSequence belong to the image and state its view. PatientOrientation and
the descriptions are hints: they can make an unstated view a lateral one, or put a stated frontal
view in doubt, but never make a view frontal. What contradicts itself is UNKNOWN: it is scored,
novelty guards it, and the report says so.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from screener.domain import View

# Values of the first row and column of CID 4010 "DX View", with the older SRT codes.
_VIEW_CODES: dict[str, View] = (
    dict.fromkeys(("272479007", "R-40888", "R-10214"), View.PA)
    | dict.fromkeys(("399348003", "R-10206"), View.AP)
    # Frontal, without a direction: not known, and not another view either.
    | dict.fromkeys(("399033003", "R-10202"), View.UNKNOWN)
    | dict.fromkeys(
        (
            # lateral, left, right, latero-medial, medio-lateral, sagittal
            "399067008", "R-102CD", "399173006", "R-10236", "399198007", "R-10232", "399352003",
            "R-10228", "399260004", "R-10224", "30730003", "G-A145",
            # oblique of every kind
            "399038007", "R-10210", "399225005", "R-10250", "399059000", "R-10216", "399099002",
            "R-10230", "399288005", "R-10248", "399135007", "R-10220", "260427002", "R-40783",
            "399236003", "R-10234", "399368009", "R-10226", "399356000", "R-40985", "399312000",
            "R-10208", "399184004", "R-10238", "399182000", "R-102C1", "260426006", "R-40782",
            "399132005", "R-10252", "399325008", "R-10254", "399160007", "R-10204", "399004004",
            "R-10246", "399006002", "R-10212",
            # axial, tangential, cranio-caudal, and those of skull, foot and teeth
            "399061009", "R-10241", "399110001", "R-102C2", "399162004", "R-10242", "399196006",
            "R-10244", "399242004", "R-102C6", "399351005", "R-102C7", "260499007", "R-40810",
            "399071006", "R-102C3", "399360002", "R-10257", "399272005", "R-102C5", "399255003",
            "R-10256", "399335002", "R-102C4", "399316002", "R-102C8", "119376003", "G-8300",
        ),
        View.OTHER,
    )
)  # fmt: skip

# ViewPosition, all that is not a letter or digit taken away. Beyond the terms of PS3.3 C.8.1.1 and
# C.8.11.5 what consoles write.
_POSITIONS: dict[str, View] = (
    dict.fromkeys(
        ("PA", "POSTEROANTERIOR", "POSTERIORANTERIOR", "PAERECT", "PAUPRIGHT", "PASTANDING", "DV",
         "PACHEST", "CHESTPA", "PAINSP", "PAEXP"),
        View.PA,
    )
    | dict.fromkeys(
        ("AP", "ANTEROPOSTERIOR", "ANTERIORPOSTERIOR", "APERECT", "APUPRIGHT", "APSUPINE",
         "APSITTING", "APSEMIERECT", "APPORTABLE", "APBED", "APMOBILE", "VD", "APCHEST", "CHESTAP"),
        View.AP,
    )
    | dict.fromkeys(
        ("LL", "RL", "LLAT", "RLAT", "LATL", "LATR", "LTLAT", "RTLAT", "LLD", "RLD", "LLO", "RLO",
         "LAO", "RAO", "LPO", "RPO", "LM", "ML", "MLO", "LMO", "CC", "XCCL", "XCCM", "FB", "SIO",
         "AX", "AXIAL", "APAXIAL", "PAAXIAL", "TAN", "SKY", "SUNRISE", "MORTISE", "SWIMMERS",
         "APLORDOTIC", "LORDOTIC", "FROGLEG", "WATERS", "TOWNE", "CALDWELL", "SMV", "OM", "OF"),
        View.OTHER,
    )
)  # fmt: skip

# Whole words of descriptions, in capitals and without accents: English, German, French, Italian,
# Spanish, Portuguese, Dutch, the Nordic languages, Polish, Czech.
_FRONTAL_WORDS = frozenset(
    (
        "PA", "AP", "DV", "VD", "FRONTAL", "FRONTALE", "FRONTALT", "FRONTAAL", "POSTEROANTERIOR",
        "ANTEROPOSTERIOR", "POSTERIORANTERIOR", "ANTERIORPOSTERIOR", "POSTEROANTERIEUR",
        "ANTEROPOSTERIEUR", "POSTEROANTERIORE", "ANTEROPOSTERIORE", "FACE", "FRENTE", "FRONT",
    )
)  # fmt: skip
_LATERAL_WORDS = frozenset(
    (
        "LAT", "LATERAL", "LATERALE", "LATERALIS", "LATERAAL", "LATS", "LATERALS", "LLAT", "RLAT",
        "LL", "SEITLICH", "SEITL", "SEITE", "PROFIL", "PERFIL", "PROFILO", "ZIJDELINGS", "DWARS",
        "SIDO", "SIDEBILDE", "SIDEBILLEDE", "SIVU", "BOCZNE", "BOCNI",
    )
)  # fmt: skip
_OTHER_WORDS = _LATERAL_WORDS | frozenset(
    (
        "OBL", "OBLIQUE", "OBLIQUES", "OBLI", "OBLICUA", "OBLIQUA", "OBLIKT", "SCHRAEG", "SCHRAG",
        "LAO", "RAO", "LPO", "RPO", "DECUB", "DECUBITUS", "LLD", "RLD", "LORDOTIC", "LORDOSE",
        "LORDOTICA", "LORDOTIQUE", "APICOLORDOTIC", "TANGENTIAL", "AXIAL", "SWIMMERS",
    )
)  # fmt: skip
# "Thorax en decubitus dorsal" is a supine film, frontal; a bare decubitus is a lateral one.
_DECUBITUS_WORDS = frozenset(("DECUB", "DECUBITUS"))
_SUPINE_WORDS = frozenset(("DORSAL", "DORSALE", "SUPINE", "SUPINO", "SUPIN", "RUECKEN", "RUCKEN"))
_WORD = re.compile("[A-Z0-9]+")
_SPELLED = re.compile(r"\b([AP])[ ./-]{1,2}([AP])\b")
_SIDES = re.compile(r"\bL[./-]L\b")
_LETTERS = frozenset("LRAPHF")


@dataclass(frozen=True, slots=True)
class ViewEvidence:
    """What the header holds on the view, verbatim.

    `codes`: value and meaning of the items of ViewCodeSequence. `orientation`: the two values of
    PatientOrientation. `descriptions`: keyword and text, those of the image before those of the
    series.
    """

    position: str = ""
    codes: tuple[tuple[str, str], ...] = ()
    orientation: tuple[str, ...] = ()
    descriptions: tuple[tuple[str, str], ...] = ()


def judge_view(evidence: ViewEvidence) -> tuple[View, str]:
    """Tell the view and the keyword of the attribute that decided, empty for UNKNOWN."""
    stated = _stated(evidence)
    views = {view for view, _ in stated}
    hints = _hints(evidence)
    lateral = [keyword for view, keyword in hints if view is View.OTHER]
    if len(views - {View.UNKNOWN}) == 0:
        frontal = len(lateral) < len(hints) or View.UNKNOWN in views
        if lateral and not frontal:
            return View.OTHER, lateral[0]
        return View.UNKNOWN, ""
    if View.OTHER in views:
        # A series may carry the description of its first view; its images carry their own.
        return (View.OTHER, stated[0][1]) if len(views) == 1 else (View.UNKNOWN, "")
    if lateral:
        return View.UNKNOWN, ""
    return next((view, keyword) for view, keyword in stated if view is not View.UNKNOWN)


def _stated(evidence: ViewEvidence) -> list[tuple[View, str]]:
    stated = []
    position = _position(evidence.position)
    if position is not None:
        stated.append((position, "ViewPosition"))
    for value, meaning in evidence.codes:
        view = _VIEW_CODES.get(value.strip().upper())
        if view is None:
            view = _position(meaning)
        if view is not None:
            stated.append((view, "ViewCodeSequence"))
    return stated


def _hints(evidence: ViewEvidence) -> list[tuple[View, str]]:
    """Each hint is OTHER, or UNKNOWN where it speaks for a frontal view."""
    hints = []
    if _lateral_orientation(evidence.orientation):
        hints.append((View.OTHER, "PatientOrientation"))
    for keyword, text in evidence.descriptions:
        view = judge_description(text)
        if view is not None:
            hints.append((view, keyword))
    return hints


def _position(text: str) -> View | None:
    """Read ViewPosition or the meaning of a view code; None where it says nothing known."""
    letters = "".join(_WORD.findall(_plain(text)))
    if letters in _POSITIONS:
        return _POSITIONS[letters]
    words = _words(text)
    directions = words & {"PA", "AP"}
    if words & _OTHER_WORDS:
        # "AP OBLIQUE" is a view of its own; "AP LAT", "PA/LL" and "FACE PROFIL" are two.
        two = words & _FRONTAL_WORDS and words & _LATERAL_WORDS
        return View.UNKNOWN if two else View.OTHER
    if len(directions) == 1:
        return View(directions.pop())
    return View.UNKNOWN if words & _FRONTAL_WORDS else None


def judge_description(text: str) -> View | None:
    """OTHER where free text names only a view that is not frontal, UNKNOWN where only a frontal.

    None where it names neither or both: "PA and lateral" is of a study, not of an image.
    """
    words = _words(text)
    frontal, other = bool(words & _FRONTAL_WORDS), bool(words & _OTHER_WORDS)
    if frontal == other:
        return None
    return View.OTHER if other else View.UNKNOWN


def _words(text: str) -> set[str]:
    plain = _SIDES.sub(" LATERAL ", _SPELLED.sub(r" \1\2 ", _plain(text)))
    words = set(_WORD.findall(plain))
    return words - _DECUBITUS_WORDS if words & _SUPINE_WORDS else words


def _lateral_orientation(orientation: tuple[str, ...]) -> bool:
    r"""True where the rows run front to back (A\F) or the columns do (an axial view).

    L\F is what consoles write when nobody said otherwise: no evidence for a frontal view.
    """
    if len(orientation) != 2 or not all(set(part) <= _LETTERS and part for part in orientation):
        return False
    return orientation[0][0] in "AP" or orientation[1][0] in "AP"


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.upper())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
