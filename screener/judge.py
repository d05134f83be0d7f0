"""By what a path was judged, so that an old wreck is judged again only where that changed.

A path's `judged_by` is the program (version, code, settings), the age range of the model and, for a
failure, what decoded it or would have: an upgrade of the JPEG-LS decoder tries the broken JPEG-LS
films again and no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from screener import __version__
from screener.decoding import DECODERS, JPEG_LIBRARY, with_version
from screener.domain import FileKind, Instance
from screener.examine_settings import ExamineSettings
from screener.jpeg2000_decoders import IMAGECODECS_OPENJPEG
from screener.outcomes import Outcome

_BY = " by "
_AGED = " aged "
_AND = "; "
# Modules of the package's own folder that judge no file: they may change without a new verdict.
_ELSEWHERE = ("cli", "console", "doctor", "explain", "site_", "publication", "reporting", "switch")
_JPEG = "imagecodecs/libjpeg-turbo"
_RASTER = {
    FileKind.PNG: ("imagecodecs/libpng",),
    FileKind.JPEG: (JPEG_LIBRARY, _JPEG),
    # A TIFF may hold any of them.
    FileKind.TIFF: ("imagecodecs/libtiff", JPEG_LIBRARY, _JPEG, "imagecodecs/imcd"),
}
_PYDICOM = "pydicom"
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Judge:
    """What judges in this run.

    Attributes:
        program: Version, code and settings.
        versions: Decoder -> what `judged_by` calls it, its version included.
        ages: The age range of the model.
    """

    program: str
    versions: Mapping[str, str]
    ages: str = ""

    def judged_by(self, outcome: str, instance: Instance | None) -> str:
        """What is kept with a path's verdict."""
        program = f"{self.program}{_AGED}{self.ages}"
        if outcome != Outcome.FAILED:
            return program
        names = sorted(self.versions[library] for library in _decoders_of(instance))
        return f"{program}{_BY}{_AND.join(names)}"

    def is_still(self, judged_by: str, *, recent: bool = True) -> bool:
        """Whether program, age range and decoders of a verdict are the ones of this run.

        A new model's age range is for the `recent` studies: older ones keep their verdict.
        """
        judge, by, decoders = judged_by.partition(_BY)
        program, _, ages = judge.partition(_AGED)
        if program != self.program or (recent and ages != self.ages):
            return False
        return not by or set(decoders.split(_AND)) <= set(self.versions.values())


def judge_of(settings: ExamineSettings) -> Judge:
    """The judge of a run with these settings."""
    libraries = {decoder.library for decoder in DECODERS.values()} | {IMAGECODECS_OPENJPEG}
    libraries |= {name for names in _RASTER.values() for name in names} | {_PYDICOM}
    versions = {library: _versioned(library) for library in libraries}
    every = _AND.join(sorted(versions.values()))
    # In one word: they stand in the row of each wreck.
    versions[_ALL] = f"{_ALL} {hashlib.sha256(every.encode()).hexdigest()[:16]}"
    program = f"{__version__} {_code()} {replace(settings, age_range=None)!r}"
    return Judge(program, versions, f"{settings.age_range}")


def _decoders_of(instance: Instance | None) -> tuple[str, ...]:
    """What decodes such a file; everything together where its header is not known."""
    if instance is None:
        return (_ALL,)
    if instance.kind is not FileKind.DICOM:
        return _RASTER[instance.kind]
    decoder = DECODERS.get(instance.transfer_syntax_uid)
    if decoder is None:
        return (_PYDICOM,)
    if decoder.name.startswith("JPEG 2000"):
        return (_PYDICOM, decoder.library, IMAGECODECS_OPENJPEG)
    return (_PYDICOM, decoder.library)


def _versioned(library: str) -> str:
    """The library with its version; without one where it cannot be loaded, which may be mended."""
    if library == _PYDICOM:
        with suppress(PackageNotFoundError):
            return f"{library} {version(library)}"
        return library
    try:
        return with_version(library)
    except (ImportError, AttributeError):
        return library


@cache
def _code() -> str:
    """A hash of the program's own modules that judge: a clone changes without a new version."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.name.startswith(_ELSEWHERE):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
