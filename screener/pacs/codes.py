"""The coded concepts of what is written: the standard's where it has one, else private ones.

Private codes stand under 99SCREENER (PS3.16 8.2: designators that begin with 99 are private).
"""

from __future__ import annotations

from highdicom.sr import CodedConcept

PRIVATE = "99SCREENER"
_SHORT, _LONG = 16, 64


def private(value: str, meaning: str) -> CodedConcept:
    """A private concept; both texts are cut to what SH and LO can hold (PS3.5 6.2)."""
    return CodedConcept(value[:_SHORT], PRIVATE, meaning[:_LONG])


PLAIN_CHEST_RADIOGRAPHY = CodedConcept("399208008", "SCT", "Plain chest X-ray")
PERCENT = CodedConcept("%", "UCUM", "Percent")
DEVICE = CodedConcept("121007", "DCM", "Device")
ENGLISH = CodedConcept("en", "RFC5646", "English")

TRIAGE_CATEGORY = private("TRIAGE", "Triage category, research use, not for diagnosis")
TRIAGE = {
    "FLAGGED": private("FLAGGED", "Flagged: read earlier"),
    "NOT_SCREENED": private("NOT_SCREENED", "Not screened: no statement"),
    "NOT_FLAGGED": private("NOT_FLAGGED", "Not flagged: order unchanged"),
    "NOT_APPLICABLE": private("NOT_APPLICABLE", "Not applicable: no frontal chest radiograph"),
}
REASON = private("REASON", "Reason of the triage category")
REASONS = {
    "SCORE_ABOVE_THRESHOLD": private("ABOVE", "An image scored at or above the threshold"),
    "IMAGE_FAILED": private("FAILED", "An image could not be screened"),
    "FRONTAL_TURNED_AWAY": private("TURNED_AWAY", "A frontal image was turned away"),
    "NOTHING_SCORED": private("NOTHING_SCORED", "No image was scored"),
    "SCORES_BELOW_THRESHOLD": private("BELOW", "Every score is below the threshold"),
    "NO_CHEST_RADIOGRAPH": private("NO_CHEST", "No image is a frontal chest radiograph"),
}


def score_of(finding: str) -> CodedConcept:
    """The name of a score. It says nothing of whether the finding is there."""
    return private(f"S_{finding}", f"Calibrated score for {finding}")
