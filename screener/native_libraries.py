"""The C and C++ libraries that read other people's files, and their versions without known holes.

A wheel's own version says little about them: each library is asked for its own. Used by `doctor`,
and by the bill of materials (`make sbom`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.version import Version

from screener.decoding import with_version

PYTHON = "python"
# The version that mends what a file can reach through this program; none where no hole is known.
# libpng's holes of 2026 (CVE-2026-33416, CVE-2026-34757) need a palette or tRNS, which it never
# gets (`screener.png`); libtiff's CVE-2025-9900 and CVE-2026-4775 need its RGBA interface, which
# is not called. OpenJPEG has one that no release mends (OSV-2025-219): SECURITY.md.
LEAST: dict[str, tuple[str, str]] = {
    "pillow/openjpeg": ("2.5.4", "CVE-2025-54874"),
    "pillow/libjpeg-turbo": ("3.0.1", "CVE-2023-2804"),
    "imagecodecs/openjpeg": ("2.5.4", "CVE-2025-54874"),
    "imagecodecs/libjpeg-turbo": ("3.0.1", "CVE-2023-2804"),
    "imagecodecs/libpng": ("1.6.51", "CVE-2025-64720, CVE-2025-65018"),
    "imagecodecs/libtiff": ("4.7.0", "CVE-2024-7006"),
    "imagecodecs/charls": ("", ""),
    "imagecodecs/imcd": ("", ""),
    "python/zlib": ("1.2.13", "CVE-2022-37434"),
}


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """One library inside a wheel or beside Python. `mended`: the holes that `least` closed."""

    wheel: str
    name: str
    version: str
    least: str
    mended: str

    @property
    def is_safe(self) -> bool:
        """Whether no known hole is left that a file could reach."""
        return not self.least or Version(self.version) >= Version(self.least)


def native_libraries() -> Iterator[NativeLibrary]:
    """Ask every library that decodes for its version."""
    for key, (least, mended) in LEAST.items():
        wheel, _, name = key.partition("/")
        if wheel == PYTHON:
            # zlib-ng adds a suffix of its own: "1.3.1.zlib-ng".
            version = zlib.ZLIB_RUNTIME_VERSION.partition(".zlib")[0]
        else:
            version = with_version(key).rpartition(" ")[2]
        yield NativeLibrary(wheel, name, version, least, mended)
