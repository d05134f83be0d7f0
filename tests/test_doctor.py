"""The doctor tries things: each test breaks one for real, or looks at what works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from screener import doctor, native_libraries
from screener.decoding import DECODERS
from screener.doctor import (
    Line,
    State,
    _folder,
    _native_libraries,
    _requirements,
    examine_machine,
    file_system,
)
from screener.jpeg2000_decoders import IMAGECODECS_OPENJPEG
from tests.conftest import Run

TINY = Path(__file__).parent / "data" / "tiny.onnx"
SYNTAXES = 15


def test_everything_that_the_base_promises_works_here() -> None:
    lines = list(examine_machine(TINY))
    assert [line for line in lines if line.state is State.FAILS] == []
    subjects = {line.subject for line in lines}
    assert {"python", "pydicom", "imagecodecs", "pillow", "model"} <= subjects
    decoders = [line for line in lines if "JPEG" in line.subject or "VR" in line.subject]
    assert len(decoders) >= SYNTAXES - 4


def test_a_broken_model_fails_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    (line,) = [line for line in examine_machine(path) if line.subject == "model"]
    assert line.state is State.FAILS
    assert line.found


def test_nothing_fails_without_a_mend() -> None:
    with pytest.raises(ValueError, match="GPU fails without a mend"):
        Line("GPU", State.FAILS, "none")


def test_a_folder_that_is_not_there_fails_with_the_command(tmp_path: Path) -> None:
    (line,) = _folder(tmp_path / "none")
    assert line.state is State.FAILS
    assert line.mend.startswith("mkdir -p ")


@pytest.mark.parametrize(("mode", "states"), [(0o700, {State.WORKS}), (0o755, set(State))])
def test_a_folder_that_others_can_read_is_told(
    tmp_path: Path, mode: int, states: set[State]
) -> None:
    tmp_path.chmod(mode)
    lines = list(_folder(tmp_path))
    assert lines[-1].state is State.WORKS
    assert {line.state for line in lines} <= states
    assert any("chmod o-rwx" in line.mend for line in lines) is (mode == 0o755)
    # What was tried leaves nothing behind.
    assert list(tmp_path.iterdir()) == []


def test_thefile_system_of_a_folder_is_known(tmp_path: Path) -> None:
    if not Path("/proc/self/mounts").exists():
        pytest.skip("the system has no /proc")
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(tmp_path) not in {"", "proc"}


def test_requirements_are_the_packages_own() -> None:
    base = {name: (least, found) for name, least, found in _requirements("")}
    assert base["pydicom"][0] == ">=3.0.2"
    assert all(found for _, found in base.values())
    assert "torch" not in base
    assert "torch" in {name for name, _, _ in _requirements("train")}


def test_the_command_ends_with_1_where_something_fails(run_screener: Run, tmp_path: Path) -> None:
    good = run_screener("doctor", "--model", TINY)
    assert good.returncode == 0, good.stdout
    bad = run_screener("doctor", "--model", TINY, "--out", tmp_path / "none")
    assert bad.returncode == 1
    assert "fails" in bad.stdout
    assert f"mkdir -p {tmp_path / 'none'}" in bad.stdout
    assert os.fspath(tmp_path / "none") in bad.stdout


def test_a_library_with_a_known_hole_fails_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(native_libraries.LEAST, "pillow/openjpeg", ("99.0", "CVE-1"))
    monkeypatch.setitem(native_libraries.LEAST, "python/zlib", ("99.0", "CVE-2"))
    failed = {line.subject: line for line in _native_libraries() if line.state is State.FAILS}
    assert set(failed) == {"openjpeg in pillow", "zlib in python"}
    line = failed["openjpeg in pillow"]
    assert "CVE-1; 99.0 is needed" in line.found
    assert line.mend == "pip install --upgrade pillow"
    assert "Python" in failed["zlib in python"].mend


def test_every_library_that_decodes_is_asked() -> None:
    named = {decoder.library for decoder in DECODERS.values()} - {"numpy"}
    named |= {"imagecodecs/libpng", "imagecodecs/libtiff", IMAGECODECS_OPENJPEG}
    assert named <= set(native_libraries.LEAST)
    assert all(library.is_safe for library in native_libraries.native_libraries())


def test_an_extra_that_the_installation_does_not_know_is_no_extra_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", ("evaluate", "younger"))
    known, unknown = doctor._extras()
    assert known.state is State.WORKS
    assert known.found
    assert (unknown.state, unknown.found) == (State.ABSENT, "unknown to what is installed")
    assert ".[younger]" in unknown.mend
