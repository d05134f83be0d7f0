"""Headers under coverage-guided mutation with atheris; anyone can run it again.

    python -m tests.faults.fuzz_headers --minutes 5

`check` is the promise: whatever the bytes are, reading the header ends in values or in
FileRejected, in bounded time, with clean text, and what it gives passes to the scan unchanged.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from screener.dicom import read_instance
from screener.dicom_frames import check_described, read_frame
from screener.dicom_pixels import describe_pixels
from screener.discovery import kind_of
from screener.domain import Examined, FileKind, Instance, Limits, Rejection
from screener.eligibility import judge_header
from screener.errors import FileRejected
from screener.outcomes import ReasonCode
from screener.wire import pack_result, read_result, split
from tests.faults.seeds import CANARY, SYNTAXES, file_of, seed, values
from tests.films import dataset

SECONDS_EACH = 5.0
_LIMITS = Limits(memory_bytes=256 << 20, file_bytes=64 << 20)
_AGES = (18.0, 120.0)
_UNCLEAN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LONGEST = 3 * 64 + 2
# A detail is written by us: letters and a few signs, or the name of an exception.
_DETAIL = re.compile(r"[A-Za-z0-9 ,.:'()-]{0,80}")


def check(content: bytes) -> str:
    """Read a header as a worker does and hold it to what is promised; what became of it.

    Raises:
        AssertionError: A promise is broken. Any other exception breaks the first one.
    """
    started = time.perf_counter()
    said = _read(memoryview(content))
    elapsed_s = time.perf_counter() - started
    assert elapsed_s < SECONDS_EACH, f"{elapsed_s:.1f} s"
    return said


def _read(content: memoryview) -> str:
    kind = kind_of(content)
    if isinstance(kind, Rejection):
        return kind.code
    if kind is not FileKind.DICOM:
        return kind
    try:
        file = read_instance(content, _LIMITS)
    except FileRejected as rejected:
        return _told(rejected.rejection)
    _hold(file.instance)
    judged = judge_header(file.instance, _AGES, secondary_capture=False)
    if judged is not None:
        return _told(judged)
    try:
        check_described(file)
        frame = read_frame(file, describe_pixels(file))
    except FileRejected as rejected:
        return _told(rejected.rejection)
    assert len(frame) <= len(file.content)
    return "FRAME"


def _told(rejection: Rejection) -> str:
    assert _DETAIL.fullmatch(rejection.detail), "a detail that is not ours"
    assert CANARY.split("^", maxsplit=1)[0] not in rejection.detail
    return rejection.code


def _hold(instance: Instance) -> None:
    for item in fields(instance):
        value = getattr(instance, item.name)
        if isinstance(value, str):
            assert not _UNCLEAN.search(value), f"{item.name} holds control characters"
            assert len(value) <= _LONGEST, f"{item.name} has {len(value)} characters"
            value.encode("utf-8")
        elif isinstance(value, int):
            assert -(1 << 63) <= value < 1 << 63, f"{item.name} does not fit SQLite"
    examined = Examined(None, "", instance, Rejection(ReasonCode.DECODER_CRASH))
    frame = split(bytearray(pack_result(examined, final=True)))
    assert frame is not None
    assert read_result(*frame) == examined, "changed on its way to the scan"


# -- seeds --------------------------------------------------------------------------------------


def rich_header() -> Dataset:
    """A film with all that is read: sequences, LUTs, character sets, padding, descriptions."""
    film = values()[:4, :4]
    ds = dataset(film, 1, PatientName=CANARY, SpecificCharacterSet=["", "ISO 2022 IR 87"])
    ds.PatientName = b"Canary^\x1b$B;3ED\x1b(B"
    ds.PatientAge, ds.IssuerOfPatientID, ds.ImageType = "061Y", "HOSPITAL", ["ORIGINAL", "PRIMARY"]
    ds.SeriesDescription, ds.PatientOrientation = "Thorax p.a.", ["L", "F"]
    ds.AcquisitionDeviceProcessingDescription = "CHEST PA"
    ds.PixelPaddingValue, ds.WindowCenter, ds.WindowWidth = 0, ["2048", "1000"], ["4096", "100"]
    ds.RescaleSlope, ds.RescaleIntercept, ds.VOILUTFunction = "1", "0", "LINEAR"
    ds.PresentationLUTShape, ds.BurnedInAnnotation = "IDENTITY", "NO"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "R-10214", "SRT", "postero"
    ds.ViewCodeSequence = Items([code])
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "T-D3000", "SRT", "Chest"
    ds.AnatomicRegionSequence = Items([region])
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [4, 0, 16], bytes(range(8))
    lut["LUTDescriptor"].VR = "US"
    lut["LUTData"].VR = "OW"
    ds.VOILUTSequence = Items([lut])
    maker = Dataset()
    maker.Manufacturer = "maker"
    ds.ContributingEquipmentSequence = Items([maker])
    private = ds.private_block(0x0019, "MAKER", create=True)
    private.add_new(0x01, "UN", b"\xfe\xff\x00\xe0\x04\x00\x00\x00abcd")
    return ds


def corpus() -> list[bytes]:
    """Seeds for the fuzzer: the rich header in every native syntax, the rest without pixels."""
    seeds = []
    for name in ("implicit", "explicit", "big-endian", "deflated"):
        ds = rich_header()
        if name == "big-endian":
            ds.VOILUTSequence[0]["LUTData"].value = bytes(8)
        ds["PixelData"].VR = "OW"
        seeds.append(file_of(ds, SYNTAXES[name]))
    # Without preamble and meta information, as old archives hold them.
    seeds.append(seeds[0][132 + 12 + int.from_bytes(seeds[0][140:144], "little") :])
    seeds += [seed(name)[:1500] for name in SYNTAXES]
    return seeds


# -- the fuzzer ---------------------------------------------------------------------------------

_ATHERIS = """
import sys, warnings
import atheris
with atheris.instrument_imports(include=["screener", "pydicom"]):
    from tests.faults.fuzz_headers import check
# A library warns in the words of the file: none may get out.
warnings.simplefilter("error")
atheris.Setup(sys.argv, lambda content: check(content) and None)
atheris.Fuzz()
"""


def fuzz(seconds: float, executions: int, found: Path, start: int = 1) -> tuple[int, str]:
    """Run atheris in a process of its own.

    Args:
        seconds: When to end; so does `executions`, whatever comes first.
        executions: 0 for no bound.
        found: A folder for what breaks a promise.
        start: Number that the mutations begin with.

    Returns:
        The executions, and what was printed where a promise was broken (else empty).
    """
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(corpus()):
            Path(folder, f"seed-{number}").write_bytes(content)
        options = {
            "max_total_time": max(1, int(seconds)),
            "runs": executions or -1,
            "max_len": 8192,
            "timeout": int(SECONDS_EACH * 4),
            "rss_limit_mb": 2048,
            "print_final_stats": 1,
            "seed": start,
            "artifact_prefix": f"{found}/",
        }
        ended = subprocess.run(
            [
                *(sys.executable, "-c", _ATHERIS),
                *(f"-{name}={value}" for name, value in options.items()),
                folder,
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", ended.stderr)
    done = int(counted[1]) if counted else 0
    # Ends with 0 when time or number is used up, otherwise with libFuzzer's code of the fault.
    return done, "" if ended.returncode == 0 and counted else ended.stderr[-4000:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz for some minutes and print one line of figures; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz_headers")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--executions", type=int, default=0)
    parser.add_argument("--start", type=int, default=1, help="seed of the mutations")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"))
    parser.add_argument("--check", type=Path, help="hold one file to the promises and end")
    given = parser.parse_args(arguments)
    if given.check:
        print(check(given.check.read_bytes()))
        return 0
    started = time.monotonic()
    done, fault = fuzz(given.minutes * 60, given.executions, given.found, given.start)
    elapsed_s = round(time.monotonic() - started)
    print(json.dumps({"executions": done, "seed": given.start, "elapsed_s": elapsed_s}), flush=True)
    if fault:
        print(fault, file=sys.stderr)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
