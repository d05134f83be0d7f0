"""Frames of a worker: what was packed comes back; what a broken worker sends is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screener.domain import (
    Examined,
    FileKind,
    FileStamp,
    Instance,
    Radiograph,
    Rejection,
    Unchanged,
    View,
)
from screener.outcomes import ReasonCode, Warn
from screener.wire import HEAD, LONGEST, BrokenFrame, pack, pack_result, read_result, split

STAMP = FileStamp(1, 2, 3, 4)
INSTANCE = Instance(
    FileKind.DICOM,
    rows=2500,
    patient_name="Ψευδής^Ἀσθενής=山田^太郎",
    view=View.PA,
    age_years=43.5,
    warnings=frozenset({Warn.LOSSY, Warn.CHARSET}),
)
FILM = Radiograph(
    np.linspace(0, 1, 224 * 224, dtype=np.float32).reshape(224, 224),
    "a" * 64,
    "WINDOW_LINEAR",
    2,
    "decoder 1.0",
    b"\xff\xd8 thumbnail",
    frozenset({Warn.VOI_FALLBACK}),
)
RESULTS = [
    Examined(STAMP, "b" * 64, INSTANCE, Rejection(ReasonCode.VIEW, "why"), 1.5),
    Examined(None, "", None, Rejection(ReasonCode.UNREADABLE)),
    Unchanged(STAMP, "c" * 64),
]


def unpack(frame: bytes) -> Examined | Unchanged:
    message = split(bytearray(frame))
    assert message is not None
    return read_result(*message)


@pytest.mark.parametrize("result", RESULTS)
def test_round_trip(result: Examined | Unchanged) -> None:
    assert unpack(pack_result(result, final=True)) == result


def test_round_trip_of_a_radiograph() -> None:
    back = unpack(pack_result(Examined(STAMP, "b" * 64, INSTANCE, FILM, 2.0), final=True))
    assert isinstance(back, Examined)
    assert isinstance(back.result, Radiograph)
    assert np.array_equal(back.result.pixels, FILM.pixels)
    assert back.result.thumbnail == FILM.thumbnail
    assert back.result.warnings == FILM.warnings
    assert back.instance == INSTANCE


def test_half_a_frame_waits_for_the_rest() -> None:
    frame = pack_result(RESULTS[0], final=True)
    for cut in range(len(frame)):
        buffer = bytearray(frame[:cut])
        assert split(buffer) is None
        assert len(buffer) == cut


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.01])
def test_pixels_out_of_range_are_refused(value: float) -> None:
    pixels = FILM.pixels.copy()
    pixels[3, 4] = value
    film = Radiograph(pixels, "a" * 64, "", 0, "", b"", frozenset())
    with pytest.raises(BrokenFrame):
        unpack(pack_result(Examined(STAMP, "", INSTANCE, film), final=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decode_ms", 10**400),
        ("decode_ms", float("nan")),
        ("sha256", 7),
        ("stamp", {"size": "1"}),
        ("stamp", {"size": 1, "mtime_ns": 10**30, "ctime_ns": 1, "inode": 1}),
        ("instance", {"rows": 1}),
        ("rejection", ["NO_SUCH_CODE", ""]),
        ("rejection", ["VIEW", 3]),
    ],
)
def test_forged_values_are_refused(name: str, value: object) -> None:
    message = split(bytearray(pack_result(RESULTS[0], final=True)))
    assert message is not None
    with pytest.raises(BrokenFrame):
        read_result(message[0] | {name: value}, message[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", -1),
        ("rows", "7"),
        ("age_years", "x"),
        ("patient_id", None),
        ("lossy", "yes"),
        ("patient_name", "half \ud800"),
    ],
)
def test_forged_header_is_refused(name: str, value: object) -> None:
    message = split(bytearray(pack_result(RESULTS[0], final=True)))
    assert message is not None
    message[0]["instance"][name] = value
    with pytest.raises(BrokenFrame):
        read_result(*message)


def test_endless_frame_is_refused() -> None:
    with pytest.raises(BrokenFrame):
        split(bytearray(HEAD.pack(LONGEST + 1, 0)))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_a_wait_or_refused(content: bytes) -> None:
    for frame in (content, HEAD.pack(len(content), 0) + content, pack({"stamp": [1]}, content)):
        try:
            message = split(bytearray(frame))
            if message is not None:
                read_result(*message)
        except BrokenFrame:
            continue
