"""By what a failure was judged: a decoder's new version concerns its own films and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from screener import judge as module
from screener.decoding import with_version
from screener.domain import FileKind, Instance
from screener.examine_settings import ExamineSettings
from screener.judge import judge_of
from screener.outcomes import Outcome
from screener.screening import scan
from screener.settings import Settings
from tests.films import TINY, dataset, draw, save

JPEG_LS = Instance(FileKind.DICOM, transfer_syntax_uid="1.2.840.10008.1.2.4.80")
JPEG_2000 = Instance(FileKind.DICOM, transfer_syntax_uid="1.2.840.10008.1.2.4.90")
NATIVE = Instance(FileKind.DICOM, transfer_syntax_uid="1.2.840.10008.1.2.1")
UNKNOWN = Instance(FileKind.DICOM, transfer_syntax_uid="1.2.840.10008.1.2.4.102")
PNG = Instance(FileKind.PNG)
WRECK = None


def upgrade(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    def newer(name: str) -> str:
        return f"{name} 99" if name == library else with_version(name)

    monkeypatch.setattr(module, "with_version", newer)


@pytest.mark.parametrize(
    ("library", "again"),
    [
        ("imagecodecs/charls", [JPEG_LS, WRECK]),
        ("pillow/openjpeg", [JPEG_2000, WRECK]),
        ("imagecodecs/openjpeg", [JPEG_2000, WRECK]),
        ("imagecodecs/libpng", [PNG, WRECK]),
        ("numpy", [NATIVE, WRECK]),
    ],
)
def test_a_decoder_of_another_version_judges_its_own_failures_again(
    library: str, again: list[Instance | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = judge_of(ExamineSettings())
    upgrade(monkeypatch, library)
    after = judge_of(ExamineSettings())
    for instance in (JPEG_LS, JPEG_2000, NATIVE, UNKNOWN, PNG, WRECK):
        failed = before.judged_by(Outcome.FAILED, instance)
        assert before.is_still(failed)
        assert after.is_still(failed) is (instance not in again), instance
        assert after.is_still(before.judged_by(Outcome.INELIGIBLE, instance))


def test_other_settings_or_code_judge_again(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = judge_of(ExamineSettings()).judged_by(Outcome.FAILED, PNG)
    assert not judge_of(ExamineSettings(exact=True)).is_still(judged)
    monkeypatch.setattr(module, "_code", lambda: "another")
    assert not judge_of(ExamineSettings()).is_still(judged)


def test_another_age_range_judges_recent_studies_again_alone() -> None:
    judged = judge_of(ExamineSettings(age_range=(18, 99))).judged_by(Outcome.INELIGIBLE, PNG)
    other = judge_of(ExamineSettings(age_range=(4, 99)))
    assert not other.is_still(judged)
    assert other.is_still(judged, recent=False)


def test_a_decoder_that_does_not_load_is_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise ImportError(name)

    monkeypatch.setattr(module, "with_version", absent)
    failed = judge_of(ExamineSettings()).judged_by(Outcome.FAILED, JPEG_LS)
    monkeypatch.undo()
    assert not judge_of(ExamineSettings()).is_still(failed)


def test_an_old_wreck_does_not_eat_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, out = tmp_path / "studies", tmp_path / "out"
    save(dataset(draw(1), 1), studies / "film")
    save(dataset(draw(2) * 0, 2), studies / "constant")

    def examined() -> int:
        summary = scan(studies, out, Settings(model=TINY, workers=1))
        assert summary.outcomes["FAILED"] == {"INVALID_PIXELS": 1}
        return summary.examined

    assert [examined(), examined()] == [2, 0]
    upgrade(monkeypatch, "imagecodecs/charls")
    assert examined() == 0
    upgrade(monkeypatch, "numpy")
    assert [examined(), examined()] == [1, 0]
