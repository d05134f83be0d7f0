"""What works on this machine: every line is tried, not read off a list.

Each line that fails names the command that mends it. What is absent but not needed (a GPU, an
extra) is said and fails nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from screener.accounts import quoted, refuse_root, this_account
from screener.errors import ScreenerError, UsageError
from screener.ledger_schema import files_of_state

EXTRAS = ("evaluate", "train", "pacs", "sign")
SPARE_BYTES = 1024**3
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs"})


class State(StrEnum):
    """How one line ended."""

    WORKS = "works"
    ABSENT = "absent"
    """Not there, and not needed for a scan."""
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was tried: what was found, and the command that mends it."""

    subject: str
    state: State
    found: str
    mend: str = ""

    def __post_init__(self) -> None:
        """What fails without a mend would leave its reader alone."""
        if self.state is State.FAILS and not self.mend:
            raise ValueError(f"{self.subject} fails without a mend")


def examine_machine(
    model: Path | None = None,
    out: Path | None = None,
    *,
    require_gpu: bool = False,
    state_elsewhere: bool = False,
) -> Iterator[Line]:
    """Try everything that a scan needs of the machine; `screener.site_checks` has the rest.

    Args:
        model: A bundle; None for the shipped one.
        out: The output folder of the nightly run, if it is to be tried too.
        require_gpu: Take a GPU that is not usable for a failure.
        state_elsewhere: The state does not lie in the output folder, which may be on a share then.
    """
    yield Line("python", State.WORKS, platform.python_version())
    yield from _packages()
    yield from _native_libraries()
    yield from _extras()
    yield from _decoders()
    yield _device(require_gpu)
    yield from _model(model)
    if out is not None:
        yield from _folder(out, state_elsewhere=state_elsewhere)


def _packages() -> Iterator[Line]:
    for name, least, found in _requirements(""):
        if not found:
            yield Line(name, State.FAILS, "not installed", f"pip install '{name}{least}'")
        elif not _satisfies(found, least):
            mend = f"pip install --upgrade '{name}{least}'"
            yield Line(name, State.FAILS, f"{found}, {least} is needed", mend)
        else:
            yield Line(name, State.WORKS, found)


def _native_libraries() -> Iterator[Line]:
    from screener.native_libraries import PYTHON, native_libraries

    for library in native_libraries():
        subject = f"{library.name} in {library.wheel}"
        if library.is_safe:
            yield Line(subject, State.WORKS, library.version)
            continue
        found = f"{library.version} has {library.mended}; {library.least} is needed"
        mend = f"pip install --upgrade {library.wheel}"
        if library.wheel == PYTHON:
            mend = f"install a Python whose {library.name} is {library.least} or newer"
        yield Line(subject, State.FAILS, found, mend)


def _extras() -> Iterator[Line]:
    for extra in EXTRAS:
        names = [(name, least, found) for name, least, found in _requirements(extra)]
        missing = [name for name, _, found in names if not found]
        old = [
            f"{name} {found}, {least} is needed"
            for name, least, found in names
            if found and not _satisfies(found, least)
        ]
        mend = f"pip install --upgrade '.[{extra}]' in the program's clone"
        if not names:
            # An installation in place keeps what the package said when it was made.
            yield Line(f"extra {extra}", State.ABSENT, "unknown to what is installed", mend)
        elif missing:
            yield Line(f"extra {extra}", State.ABSENT, f"without {', '.join(missing)}", mend)
        elif old:
            yield Line(f"extra {extra}", State.FAILS, "; ".join(old), mend)
        else:
            found = ", ".join(f"{name} {each}" for name, _, each in names)
            yield Line(f"extra {extra}", State.WORKS, found)


def _requirements(extra: str) -> Iterator[tuple[str, str, str]]:
    """Name, version range and installed version of what the package itself says that it needs."""
    from packaging.requirements import Requirement

    try:
        stated = requires("screener") or []
    except PackageNotFoundError:
        return
    for text in stated:
        requirement = Requirement(text)
        marker = requirement.marker
        if (marker is None and extra) or requirement.name == "screener":
            continue
        if marker is not None:
            if not marker.evaluate({"extra": extra}):
                continue
            if extra and marker.evaluate({"extra": ""}):
                continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = ""
        yield requirement.name, str(requirement.specifier), found


def _satisfies(found: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(found, prereleases=True)


def _decoders() -> Iterator[Line]:
    from screener.decoding import decoders

    for status in decoders():
        found = f"{status.decoder} {status.version}".strip()
        state = State.WORKS if status.works else State.FAILS
        mend = "" if status.works else status.mend or "pip install --force-reinstall imagecodecs"
        yield Line(status.name, state, found, mend)


def _device(require_gpu: bool) -> Line:
    from screener.classifier_providers import check_installation, choose_providers

    try:
        check_installation()
        chosen, reasons = choose_providers("auto")
    except ScreenerError as error:
        mend = error.mend or "pip install --force-reinstall onnxruntime"
        return Line("onnxruntime", State.FAILS, error.what, mend)
    except ImportError:
        return Line("onnxruntime", State.FAILS, "does not load", "pip install onnxruntime")
    if chosen:
        return Line("device", State.WORKS, ", ".join(chosen))
    state = State.FAILS if require_gpu else State.ABSENT
    mend = "install the NVIDIA driver, then pip install '.[gpu]' in the clone"
    return Line("GPU", state, "; ".join(reasons) or "none", mend)


def _model(model: Path | None) -> Iterator[Line]:
    from screener.bundle import load_bundle
    from screener.verify import verify_bundle

    try:
        bundle = load_bundle(model)
        checks = verify_bundle(bundle)
    except ScreenerError as error:
        found = f"{error.what} {error.why}".strip()
        mend = error.mend or "screener model verify MODEL.onnx, or name another --model"
        yield Line("model", State.FAILS, found, mend)
        return
    bad = [check for check in checks if not check.ok]
    for check in bad:
        mend = "install the package again, or export the model again"
        yield Line("model", State.FAILS, f"{check.name}: {check.detail}", mend)
    if not bad:
        found = f"{bundle.name}, SHA-256 {bundle.sha256[:12]}, {len(checks)} checks"
        yield Line("model", State.WORKS, found)


def write_in(folder: Path) -> None:
    """Write, sync and rename in a folder, as a scan does; nothing of it stays.

    Raises:
        OSError: one of them is not possible.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-", delete=False) as stream:
        stream.write(b"screener doctor")
        os.fsync(stream.fileno())
    renamed = Path(f"{stream.name}.renamed")
    Path(stream.name).replace(renamed)
    renamed.unlink()


def folder_of_account(folder: Path) -> str:
    """The command by which root makes a folder that this account alone may use."""
    name = quoted(folder)
    return f"mkdir -p {name} && chown {this_account()} {name} && chmod 700 {name}"


def _folder(out: Path, *, state_elsewhere: bool = False) -> Iterator[Line]:
    """The output folder."""
    name = f"output {out}"
    try:
        write_in(out)
    except OSError as error:
        yield Line(name, State.FAILS, os.strerror(error.errno or 0), folder_of_account(out))
        return
    try:
        refuse_root(out)
    except UsageError as error:
        yield Line(name, State.FAILS, "another account's, and this is root", error.mend)
    closed = [each.name for each in _written_before(out) if not os.access(each, os.R_OK | os.W_OK)]
    if closed:
        mend = f"chown -R {this_account()} {quoted(out)}"
        yield Line(name, State.FAILS, f"{', '.join(closed)} may not be written", mend)
    free = shutil.disk_usage(out).free
    if free < SPARE_BYTES:
        yield Line(name, State.FAILS, f"{free / 1e6:.0f} MB are free", "free at least 1 GB")
    if out.stat().st_mode & 0o007:
        yield Line(name, State.FAILS, "open to every account", f"chmod o-rwx {quoted(out)}")
    kind = file_system(out)
    if kind in NETWORK_FILE_SYSTEMS and not state_elsewhere:
        mend = "give --state a file on a local disk"
        yield Line(name, State.FAILS, f"on {kind}: SQLite needs a local disk", mend)
    yield Line(name, State.WORKS, f"writable, {free / 1e9:.0f} GB free")


def _written_before(out: Path) -> list[Path]:
    """What each scan writes to again; the mode of a state of its own it mends itself."""
    own = {file for file in files_of_state(out / "state.sqlite") if file.exists()}
    own = {file for file in own if file.stat().st_uid != os.geteuid()}
    return sorted(own | {file for file in (out / ".lock", out / "runs") if file.exists()})


def file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on; empty where the system does not say."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    resolved = folder.resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        _, point, this_kind, *_ = line.split(" ")
        place = Path(point.replace("\\040", " "))
        # The last of equal ones is the mount that is seen.
        if resolved.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), this_kind
    return kind
