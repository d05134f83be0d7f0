"""BodyPartExamined and AnatomicRegionSequence -> is it the chest, another part, or not known? Pure.

Only a part that is known to be another one turns an image away. A word that no table holds may be
the chest in another language or a console's own; such an image is scored, guarded by novelty, with
a warning: a silent refusal of all of a hospital's films would be far worse.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache


class BodyPart(StrEnum):
    """What a header says of the body part."""

    CHEST = "CHEST"
    OTHER = "OTHER"
    UNSTATED = "UNSTATED"
    NOT_KNOWN = "NOT_KNOWN"
    """Stated in words that no table holds."""


_UNSTATED = frozenset(
    ("", "UNKNOWN", "UNSPECIFIED", "OTHER", "NONE", "NA", "N", "A", "UNDEFINED", "DEFAULT", "MISC",
     "SONSTIGES", "ANDERE", "AUTRE", "OTRO", "ALTRO", "STANDARD", "GENERAL", "NULL", "XX", "XXX")
)  # fmt: skip

# Words and stems, in capitals and without accents.
_CHEST_WORDS = frozenset(
    ("CHEST", "THORAX", "THORACIC", "THORACAL", "THORACIQUE", "TORAX", "TORACE", "LUNG", "LUNGS",
     "LUNGE", "LUNGEN", "PULMO", "PULMON", "PULMONES", "PULMAO", "PULMONARY", "POLMONE", "POLMONI",
     "POUMON", "POUMONS", "LONGEN", "LUNGOR", "LUNGER", "KEUHKOT", "KEUHKO",
     "THX", "CXR", "CHST", "BRUSTKORB", "BORSTKAS", "PECHO", "POITRINE", "HRUDNIK", "PLICE",
     "PLUCA", "KLATKA", "MELLKAS", "TUDO", "AKCIGER", "GOGUS", "TORAKS", "PLAMANI", "ОГК",
     "가슴", "الصدر", "صدر", "MEDIASTINUM",
     "HEART", "HERZ", "COEUR", "CORAZON", "CUORE", "HEMITHORAX")
)  # fmt: skip
_CHEST_ALONE = frozenset(("LONG", "LUNGA", "COR"))
"""Only where nothing stands beside them: a long leg is no lung."""
_CHEST_START = ("CHEST", "THORAX", "TORAX", "LUNG", "ГРУД", "ЛЕГК", "胸", "肺", "흉부")
# Beside a chest word these make it a spine or the ribs: "THORACIC SPINE", "RIBS CHEST".
_OVERRIDING = frozenset(
    ("SPINE", "RIB", "RIBS", "VERTEBRA", "VERTEBRAE", "COLUMN", "COLUMNA", "COLONNE", "COLONNA",
     "COLUNA", "RACHIS", "WIRBELSAULE", "WIRBELSAEULE", "WS", "WERVELKOLOM", "STERNUM", "AORTA",
     "OUTLET", "DISC", "ROCHIA", "KREGOSLUP", "RYGG")
)  # fmt: skip
_OTHER_WORDS = _OVERRIDING | frozenset(
    (
        # trunk
        "ABDOMEN", "ABDOMINAL", "ADDOME", "BAUCH", "BUIK", "KUB", "PELVIS", "BECKEN", "BASSIN",
        "BACINO", "BEKKEN", "CADERA", "CLAVICLE", "CLAVICULA", "CLAVICULE", "CLAVICOLA",
        "SCHLUSSELBEIN", "SCAPULA", "BREAST", "MAMMA", "BACK", "FLANK", "HIP", "HIPS", "HUFTE",
        "HUEFTE", "HANCHE", "ANCA", "HEUP", "SACRUM", "COCCYX", "SIJOINT", "SI", "RIPPEN", "COTES",
        "COSTAS", "COSTILLAS", "COSTOLE", "RIPPE", "KIDNEY", "BLADDER", "LIVER", "STOMACH",
        "COLON", "URINARY", "PROSTATE", "UTERUS", "ACJOINT", "SCJOINT", "GALLBLADDER", "PANCREAS",
        # spine
        "CSPINE", "TSPINE", "LSPINE", "SSPINE", "CTSPINE", "TLSPINE", "LSSPINE", "THORACICSPINE",
        "LUMBARSPINE", "CERVICALSPINE", "HWS", "BWS", "LWS", "LUMBAR", "CERVICAL", "LENDENWIRBEL",
        "WHOLESPINE", "FULLSPINE", "SCOLIOSIS",
        # head and neck
        "HEAD", "SKULL", "SCHADEL", "SCHAEDEL", "KOPF", "CRANE", "CRANIO", "CRANEO", "NECK",
        "HALS", "COU", "CUELLO", "COLLO", "BRAIN", "FACE", "FACIAL", "ORBIT", "ORBITS", "SINUS",
        "SINUSES", "SELLA", "MASTOID", "MAXILLA", "MANDIBLE", "JAW", "TEETH", "TOOTH", "NOSE",
        "NASAL", "NASALBONE", "TMJ", "ZYGOMA", "EAR", "EYE", "IAC", "LARYNX", "PHARYNX",
        "THYROID", "AIRWAY",
        # upper limb
        "EXTREMITY", "EXTREMITIES", "EXTREMITAT", "ARM", "UPPERARM", "FOREARM", "HAND", "MANO",
        "MAIN", "WRIST", "HANDGELENK", "POIGNET", "MUNECA", "POLSO", "POLS", "ELBOW", "ELLBOGEN",
        "COUDE", "CODO", "GOMITO", "HUMERUS", "RADIUS", "ULNA", "RADIUSULNA", "SHOULDER",
        "SCHULTER", "EPAULE", "HOMBRO", "OMBRO", "SPALLA", "SCHOUDER", "FINGER", "FINGERS",
        "THUMB", "SCAPHOID",
        # lower limb
        "LEG", "LEGS", "KNEE", "KNEES", "KNIE", "GENOU", "RODILLA", "JOELHO", "GINOCCHIO",
        "PATELLA", "FEMUR", "THIGH", "TIBIA", "FIBULA", "TIBIAFIBULA", "TIBFIB", "ANKLE",
        "SPRUNGGELENK", "CHEVILLE", "TOBILLO", "CAVIGLIA", "ENKEL", "FOOT", "FEET", "FUSS", "PIED",
        "PIE", "PIEDE", "VOET", "TOE", "TOES", "HEEL", "CALCANEUS", "LOWERLEG", "LEGLENGTH",
        "CALF",
    )
)  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")


# A hospital has some dozens of words for all its films, and every report judges every film.
@lru_cache(maxsize=1024)
def judge_body_part(text: str) -> BodyPart:
    """Judge one value, in whatever case and with whatever between its words."""
    decomposed = unicodedata.normalize("NFKD", text.upper())
    plain = unicodedata.normalize(
        "NFKC", "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    )
    words = _WORD.findall(plain)
    if not words or all(word in _UNSTATED for word in words):
        return BodyPart.UNSTATED
    joined = "".join(words)
    chest = joined in _CHEST_WORDS | _CHEST_ALONE or any(
        word in _CHEST_WORDS or word.startswith(_CHEST_START) for word in words
    )
    overridden = any(word in _OVERRIDING for word in words) or joined in _OTHER_WORDS
    if chest and not overridden:
        return BodyPart.CHEST
    if overridden or any(word in _OTHER_WORDS for word in words):
        return BodyPart.OTHER
    return BodyPart.NOT_KNOWN


def join_body_parts(*parts: BodyPart) -> BodyPart:
    """Join what several attributes say; chest in any of them counts."""
    for part in (BodyPart.CHEST, BodyPart.OTHER, BodyPart.NOT_KNOWN):
        if part in parts:
            return part
    return BodyPart.UNSTATED
