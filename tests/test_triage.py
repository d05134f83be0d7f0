"""The policy: a table for readers, then every combination against an oracle written apart."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from screener.domain import ImageFacts, OperatingPoint, Triage, View
from screener.outcomes import REASONS, Outcome, ReasonCode
from screener.triage import (
    STUDY_REASONS,
    StudyReason,
    priority_of,
    sort_key,
    triage_study,
)

POINT = (OperatingPoint("screening", "COVID-19", 0.5),)


def scored(score: float, uid: str = "", path: str = "", view: View = View.PA) -> ImageFacts:
    return ImageFacts(Outcome.SCORED, None, view, (score,), uid, path)


def rejected(
    code: str, view: View = View.UNKNOWN, uid: str = "", *, other_body_part: bool = False
) -> ImageFacts:
    reason = ReasonCode(code)
    return ImageFacts(
        REASONS[reason][0], reason, view, sop_instance_uid=uid, other_body_part=other_body_part
    )


HIGH, LOW = scored(0.9, "1"), scored(0.1, "2")

TABLE = [
    # one flagged image is enough, whatever became of the others
    ([HIGH], "FLAGGED", "SCORE_ABOVE_THRESHOLD"),
    ([scored(0.5)], "FLAGGED", "SCORE_ABOVE_THRESHOLD"),
    ([LOW, HIGH], "FLAGGED", "SCORE_ABOVE_THRESHOLD"),
    ([rejected("TRUNCATED"), HIGH], "FLAGGED", "SCORE_ABOVE_THRESHOLD"),
    ([rejected("NOVEL", View.PA), HIGH], "FLAGGED", "SCORE_ABOVE_THRESHOLD"),
    # a failure is never NOT_FLAGGED
    ([rejected("TRUNCATED")], "NOT_SCREENED", "IMAGE_FAILED"),
    ([LOW, rejected("TIMEOUT", uid="3")], "NOT_SCREENED", "IMAGE_FAILED"),
    ([LOW, rejected("UNREADABLE")], "NOT_SCREENED", "IMAGE_FAILED"),
    ([rejected("VIEW", View.OTHER), rejected("MALFORMED")], "NOT_SCREENED", "IMAGE_FAILED"),
    # unless another copy of it was scored
    ([LOW, rejected("TRUNCATED", uid="2")], "NOT_FLAGGED", "SCORES_BELOW_THRESHOLD"),
    (
        [LOW, rejected("TRUNCATED", uid="2"), rejected("TRUNCATED", uid="3")],
        "NOT_SCREENED",
        "IMAGE_FAILED",
    ),
    (
        [rejected("VIEW", View.OTHER, "2"), rejected("TRUNCATED", uid="2")],
        "NOT_SCREENED",
        "IMAGE_FAILED",
    ),
    # a film that its header calls frontal was turned away by the model's own limits
    ([rejected("NOVEL", View.PA)], "NOT_SCREENED", "FRONTAL_TURNED_AWAY"),
    ([LOW, rejected("NOVEL", View.AP)], "NOT_SCREENED", "FRONTAL_TURNED_AWAY"),
    ([LOW, rejected("AGE", View.PA)], "NOT_SCREENED", "FRONTAL_TURNED_AWAY"),
    # a scored film beside one of unknown view that looks like none: the usual unlabelled lateral
    ([LOW, rejected("NOVEL")], "NOT_FLAGGED", "SCORES_BELOW_THRESHOLD"),
    ([LOW, rejected("AGE")], "NOT_FLAGGED", "SCORES_BELOW_THRESHOLD"),
    # nothing scored, and it may be a chest film
    ([rejected("NOVEL")], "NOT_SCREENED", "NOTHING_SCORED"),
    ([rejected("AGE"), rejected("VIEW", View.OTHER)], "NOT_SCREENED", "NOTHING_SCORED"),
    ([rejected("FOR_PROCESSING", View.PA)], "NOT_SCREENED", "NOTHING_SCORED"),
    ([rejected("MULTI_FRAME", View.AP)], "NOT_SCREENED", "NOTHING_SCORED"),
    ([rejected("COLOUR", View.PA)], "NOT_SCREENED", "NOTHING_SCORED"),
    ([rejected("TOO_SMALL", View.AP)], "NOT_SCREENED", "NOTHING_SCORED"),
    ([LOW, rejected("FOR_PROCESSING", View.PA)], "NOT_FLAGGED", "SCORES_BELOW_THRESHOLD"),
    # scored and below
    ([LOW], "NOT_FLAGGED", "SCORES_BELOW_THRESHOLD"),
    ([scored(0.4999)], "NOT_FLAGGED", "SCORES_BELOW_THRESHOLD"),
    ([LOW, rejected("VIEW", View.OTHER)], "NOT_FLAGGED", "SCORES_BELOW_THRESHOLD"),
    # no chest film
    ([rejected("SOP_CLASS")], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    ([rejected("SOP_CLASS", View.PA)], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    ([rejected("MODALITY")], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    ([rejected("VIEW", View.OTHER)], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    ([rejected("BODY_PART", View.AP)], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    ([rejected("OWN_OUTPUT", View.PA)], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    ([rejected("PURGED", View.PA)], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    ([rejected("COLOUR")], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    ([rejected("TOO_SMALL")], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    ([rejected("FOR_PROCESSING")], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
    (
        [rejected("FOR_PROCESSING", View.AP, other_body_part=True)],
        "NOT_APPLICABLE",
        "NO_CHEST_RADIOGRAPH",
    ),
    ([rejected("OTHER_KIND")], "NOT_APPLICABLE", "NO_CHEST_RADIOGRAPH"),
]


@pytest.mark.parametrize(("images", "triage", "code"), TABLE)
def test_readable_table(images: list[ImageFacts], triage: str, code: str) -> None:
    verdicts = [triage_study(order, POINT) for order in permutations(images)]
    assert {(v.triage, v.reason_code) for v in verdicts} == {(triage, code)}
    assert len({v.reason for v in verdicts}) == 1


def oracle(images: tuple[ImageFacts, ...]) -> Triage:
    """The contract's sentences as a chain of questions about the whole study."""
    seen = {i.sop_instance_uid for i in images if i.scores and i.sop_instance_uid}
    if any(i.scores and i.scores[0] >= 0.5 for i in images):
        return Triage.FLAGGED
    for i in images:
        if i.outcome == "FAILED" and not (i.sop_instance_uid and i.sop_instance_uid in seen):
            return Triage.NOT_SCREENED
        if i.reason_code in ("NOVEL", "AGE") and i.view in ("PA", "AP"):
            return Triage.NOT_SCREENED
    if any(i.scores for i in images):
        return Triage.NOT_FLAGGED
    for i in images:
        match str(i.reason_code), str(i.view), i.other_body_part:
            case (("NOVEL" | "AGE"), "UNKNOWN", _):
                return Triage.NOT_SCREENED
            case (
                ("FOR_PROCESSING" | "MULTI_FRAME" | "COLOUR" | "TOO_SMALL"),
                ("PA" | "AP"),
                False,
            ):
                return Triage.NOT_SCREENED
    return Triage.NOT_APPLICABLE


def _one_image(uid: str) -> list[ImageFacts]:
    """Every image that the program can tell apart, of one SOP Instance UID."""
    kinds = [
        ImageFacts(Outcome.SCORED, None, view, (score,), uid)
        for view, score in product((View.PA, View.UNKNOWN), (0.1, 0.4999, 0.5, 0.9))
    ]
    kinds += [
        ImageFacts(REASONS[code][0], code, view, (), uid, other_body_part=other)
        for code, view, other in product(ReasonCode, View, (False, True))
    ]
    return kinds


def _representatives(uid: str) -> list[ImageFacts]:
    """One image for each answer that any rule can give, the untold ones beside it."""
    codes = ("TRUNCATED", "NOVEL", "AGE", "COLOUR", "FOR_PROCESSING", "VIEW", "PURGED", "EMPTY")
    rest = [
        rejected(code, view, uid, other_body_part=other)
        for code, view, other in product(codes, (View.PA, View.OTHER, View.UNKNOWN), (False, True))
        if code in ("COLOUR", "FOR_PROCESSING") or not other
    ]
    return [scored(0.9, uid), scored(0.1, uid), *rest]


def test_every_study_of_one_and_two_images() -> None:
    first, same, other = _one_image("1"), _one_image("1"), _one_image("2")
    studies = [(image,) for image in first + _one_image("")]
    for images in [*studies, *product(first, same), *product(first[::3], other)]:
        assert triage_study(images, POINT).triage is oracle(images), images


def test_every_study_of_three_images() -> None:
    """All orders, and all ways in which three images share a SOP Instance UID."""
    found = set()
    for uids in (("1", "1", "1"), ("1", "1", "2"), ("1", "2", "3"), ("", "", "")):
        for images in product(*(_representatives(uid) for uid in uids)):
            verdict = triage_study(images, POINT)
            assert verdict.triage is oracle(images), images
            assert STUDY_REASONS[StudyReason(verdict.reason_code)][0] is verdict.triage
            assert (verdict.image is None) == (not any(i.scores for i in images))
            found.add(verdict.reason_code)
    assert found == set(StudyReason)


@pytest.mark.parametrize(
    ("images", "worst"),
    [
        ([scored(0.2, "1"), scored(0.7, "2"), scored(0.6, "3")], 1),
        ([scored(0.7, "2"), scored(0.7, "1")], 1),
        ([scored(0.7, "1", "b"), scored(0.7, "1", "a")], 1),
        ([rejected("TRUNCATED"), scored(0.1)], 1),
        ([rejected("NOVEL", View.PA), rejected("VIEW", View.OTHER)], None),
    ],
)
def test_worst_image(images: list[ImageFacts], worst: int | None) -> None:
    verdict = triage_study(images, POINT)
    assert verdict.image == worst
    assert verdict.finding == (None if worst is None else 0)


def test_largest_margin_decides_between_findings() -> None:
    """0.60 over a threshold of 0.20 says more than 0.80 over one of 0.70."""
    points = (OperatingPoint("s", "pneumonia", 0.7), OperatingPoint("s", "COVID-19", 0.2))
    images = [
        ImageFacts(Outcome.SCORED, scores=(0.8, 0.1), sop_instance_uid="1"),
        ImageFacts(Outcome.SCORED, scores=(0.1, 0.6), sop_instance_uid="2"),
    ]
    verdict = triage_study(images, points)
    assert (verdict.triage, verdict.image, verdict.finding) == (Triage.FLAGGED, 1, 1)
    one = triage_study(images[:1], points)
    assert (one.triage, one.image, one.finding) == (Triage.FLAGGED, 0, 0)
    none = triage_study([ImageFacts(Outcome.SCORED, scores=(0.69, 0.1))], points)
    assert (none.triage, none.image, none.finding) == (Triage.NOT_FLAGGED, 0, 0)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([HIGH], "an image scored at or above the threshold"),
        (
            [HIGH, rejected("TRUNCATED")],
            (
                "an image scored at or above the threshold; "
                "an image could not be screened: the file ends too early"
            ),
        ),
        (
            [LOW, rejected("TIMEOUT"), rejected("TRUNCATED"), rejected("TIMEOUT")],
            (
                "an image could not be screened: "
                "decoding took longer than the limit (2 images), the file ends too early"
            ),
        ),
        (
            [rejected("AGE", View.PA)],
            "a frontal image was turned away: the patient is outside the model's age range",
        ),
        (
            [rejected("NOVEL"), rejected("VIEW", View.OTHER)],
            (
                "nothing was scored, though no header rules a frontal chest radiograph out: "
                "does not look like a frontal chest radiograph"
            ),
        ),
        ([LOW], "every score is below the threshold"),
        (
            [rejected("MODALITY")],
            (
                "no image is a frontal chest radiograph for this model: "
                "the modality is not radiography"
            ),
        ),
    ],
)
def test_reason_in_words(images: list[ImageFacts], reason: str) -> None:
    assert triage_study(images, POINT).reason == reason


def test_every_code_has_words_and_no_path() -> None:
    assert set(STUDY_REASONS) == set(StudyReason)
    for code in ReasonCode:
        image = ImageFacts(REASONS[code][0], code, View.PA, (), "1.2.3", "/archive/DOE^JANE.dcm")
        verdict = triage_study([image], POINT)
        assert REASONS[code][1] in verdict.reason
        assert "DOE" not in verdict.reason
        assert "1.2.3" not in verdict.reason


@pytest.mark.parametrize(
    ("images", "points"),
    [
        ([], POINT),
        ([HIGH], ()),
        ([scored(float("nan"))], POINT),
        ([scored(float("inf"))], POINT),
        ([ImageFacts(Outcome.SCORED)], POINT),
        ([ImageFacts(Outcome.SCORED, scores=(0.1, 0.2))], POINT),
    ],
)
def test_what_the_caller_got_wrong(
    images: list[ImageFacts], points: tuple[OperatingPoint, ...]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        triage_study(images, points)


def test_order_of_the_report() -> None:
    studies = [
        (Triage.FLAGGED, 0.9, "z"),
        (Triage.FLAGGED, 0.6, "a"),
        (Triage.FLAGGED, 0.6, "b"),
        (Triage.NOT_SCREENED, 0.1, "a"),
        (Triage.NOT_SCREENED, None, "b"),
        (Triage.NOT_SCREENED, 0.4, "c"),
        (Triage.NOT_FLAGGED, 0.4, "z"),
        (Triage.NOT_FLAGGED, 0.2, "y"),
        (Triage.NOT_APPLICABLE, None, "a"),
        (Triage.NOT_APPLICABLE, None, "b"),
    ]
    jumbled = studies[1::2] + studies[::2]
    assert sorted(jumbled, key=lambda study: sort_key(*study)) == studies


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({}, ["HIGH", "", "", ""]),
        ({Triage.FLAGGED: "STAT"}, ["STAT", "", "", ""]),
        ({Triage.FLAGGED: "STAT", Triage.NOT_SCREENED: "MEDIUM"}, ["STAT", "MEDIUM", "", ""]),
        ({Triage.FLAGGED: ""}, ["", "", "", ""]),
    ],
)
def test_priority(mapping: dict[Triage, str], words: list[str]) -> None:
    assert [priority_of(triage, mapping) for triage in Triage] == words
    assert priority_of(Triage.FLAGGED) == "HIGH"


def test_no_priority_lowers_an_unread_film() -> None:
    with pytest.raises(ValueError, match="NOT_FLAGGED"):
        priority_of(Triage.FLAGGED, {Triage.NOT_FLAGGED: "LOW"})
