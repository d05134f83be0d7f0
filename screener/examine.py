"""One path -> a radiograph or the reason why not. Runs in a worker; the one boundary for errors.

Whatever goes wrong with one file, in Python or in a decoder's Rust, becomes its rejection here.
What kills the process itself becomes one in `screener.workers`.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from screener.dicom import read_instance
from screener.dicom_pixels import read_stored
from screener.discovery import kind_of
from screener.domain import (
    Examined,
    FileKind,
    FileStamp,
    Instance,
    Limits,
    Radiograph,
    Rejection,
    Unchanged,
)
from screener.eligibility import judge_header
from screener.errors import FileRejected
from screener.examine_settings import ExamineSettings
from screener.outcomes import Outcome, ReasonCode, Warn
from screener.preprocess import preprocess
from screener.raster import read_raster

if TYPE_CHECKING:
    from collections.abc import Callable

    from screener.domain import Pixels

    Header = Callable[[Examined], None]

THUMBNAIL_BYTES = 4096
HEAD_BYTES = 1 << 20
"""Of a larger file so much is looked at before the rest is read: an archive may hold anything."""
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY


@dataclass(slots=True)
class _Way:
    """How far one file has come; what is known of it when something goes wrong."""

    stamp: FileStamp | None = None
    sha256: str = ""
    instance: Instance | None = None
    fallback: ReasonCode = ReasonCode.UNREADABLE
    started: float = field(default_factory=time.perf_counter)

    def examined(self, result: Radiograph | Rejection) -> Examined:
        """What is said of the file if its way ends here."""
        elapsed_ms = (time.perf_counter() - self.started) * 1000
        return Examined(self.stamp, self.sha256, self.instance, result, round(elapsed_ms, 3))


def examine(
    path: bytes,
    settings: ExamineSettings | None = None,
    known_sha256: str = "",
    on_header: Header = lambda _: None,
) -> Examined | Unchanged:
    """Read, judge and decode one file.

    Args:
        path: Never followed if it is a link, never waited on if it is a pipe.
        settings: None for the defaults.
        known_sha256: If the content has this hash, nothing is decoded.
        on_header: Told of what is known before decoding begins, with the rejection that holds
            should the decoder take the process with it.

    Raises:
        KeyboardInterrupt, SystemExit: and nothing else, whatever the file holds.
    """
    way = _Way()
    try:
        return _examine(path, settings or ExamineSettings(), known_sha256, on_header, way)
    except FileRejected as rejected:
        return way.examined(rejected.rejection)
    except MemoryError:
        return way.examined(Rejection(ReasonCode.OUT_OF_MEMORY))
    except (KeyboardInterrupt, SystemExit):
        raise
    # The one boundary. A panic in Rust arrives as a BaseException that is no Exception.
    except BaseException as error:  # noqa: BLE001
        return way.examined(Rejection(way.fallback, type(error).__name__))


def _examine(
    path: bytes, settings: ExamineSettings, known_sha256: str, on_header: Header, way: _Way
) -> Examined | Unchanged:
    content = _read(path, settings.limits, way)
    if known_sha256 and way.sha256 == known_sha256 and way.stamp is not None:
        return Unchanged(way.stamp, way.sha256)
    way.fallback = ReasonCode.MALFORMED
    kind = kind_of(content)
    if isinstance(kind, Rejection):
        return way.examined(kind)
    if kind is FileKind.DICOM:
        return _examine_dicom(content, settings, on_header, way)
    on_header(way.examined(Rejection(ReasonCode.DECODER_CRASH)))
    way.fallback = ReasonCode.DECODE_ERROR
    image = read_raster(content, kind, settings.limits, full_size=settings.exact)
    way.instance = image.instance
    rejection = judge_header(
        image.instance, settings.age_range, secondary_capture=settings.secondary_capture
    )
    if rejection is not None:
        return way.examined(rejection)
    presented = preprocess(image.stored.values, image.display, None, image.stored.extent)
    return way.examined(
        _radiograph(
            presented.pixels,
            presented.voi_source,
            image.stored.levels_dropped,
            image.stored.decoder,
            image.warnings,
        )
    )


def _examine_dicom(
    content: memoryview, settings: ExamineSettings, on_header: Header, way: _Way
) -> Examined:
    file = read_instance(content, settings.limits)
    way.instance = file.instance
    rejection = judge_header(
        file.instance, settings.age_range, secondary_capture=settings.secondary_capture
    )
    if rejection is not None:
        return way.examined(rejection)
    on_header(way.examined(Rejection(ReasonCode.DECODER_CRASH)))
    way.fallback = ReasonCode.DECODE_ERROR
    pixels = read_stored(file, settings.limits, full_size=settings.exact)
    way.instance = replace(file.instance, warnings=file.instance.warnings | pixels.warnings)
    presented = preprocess(pixels.stored.values, pixels.display, pixels.valid, pixels.stored.extent)
    warnings = pixels.warnings
    if presented.fell_back:
        warnings |= {Warn.VOI_FALLBACK}
    return way.examined(
        _radiograph(
            presented.pixels,
            presented.voi_source,
            pixels.stored.levels_dropped,
            pixels.stored.decoder,
            warnings,
        )
    )


def _read(path: bytes, limits: Limits, way: _Way) -> memoryview:
    """The whole content; its stamp and hash go into `way`."""
    try:
        descriptor = os.open(path, _OPEN)
    except OSError as error:
        if os.path.islink(path):
            raise FileRejected(ReasonCode.LINK) from None
        raise FileRejected(ReasonCode.UNREADABLE, os.strerror(error.errno or 0)) from None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise FileRejected(ReasonCode.NOT_REGULAR)
        way.stamp = FileStamp.of(before)
        if before.st_size > limits.file_bytes:
            raise FileRejected(ReasonCode.TOO_LARGE, f"{before.st_size} bytes")
        if before.st_size > HEAD_BYTES:
            kind = kind_of(memoryview(os.pread(descriptor, HEAD_BYTES, 0)))
            if isinstance(kind, Rejection) and kind.outcome is Outcome.NOT_AN_IMAGE:
                raise FileRejected(kind.code, kind.detail)
        # Read, not mapped: 10 MB cost 8.2 ms of the processor with their hash, mapped 7.6 to 7.9,
        # and a mapped file that another process cuts kills with SIGBUS.
        with open(descriptor, "rb", buffering=0, closefd=False) as stream:
            content = stream.read(before.st_size + 1)
        after = os.fstat(descriptor)
    except OSError as error:
        raise FileRejected(ReasonCode.UNREADABLE, os.strerror(error.errno or 0)) from None
    finally:
        os.close(descriptor)
    if FileStamp.of(after) != way.stamp or len(content) != before.st_size:
        way.stamp = FileStamp.of(after)
        raise FileRejected(ReasonCode.UNSTABLE)
    way.sha256 = hashlib.sha256(content).hexdigest()
    return memoryview(content)


def _radiograph(
    pixels: Pixels, voi_source: str, levels_dropped: int, decoder: str, warnings: frozenset[Warn]
) -> Radiograph:
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    return Radiograph(
        pixels, digest, voi_source, levels_dropped, decoder, make_thumbnail(pixels), warnings
    )


def make_thumbnail(pixels: Pixels) -> bytes:
    """A JPEG of at most 4 KB: as large and as good as fits.

    Args:
        pixels: float32 (224, 224) in [0, 1].
    """
    image = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    for side, quality in ((160, 45), (128, 45), (112, 35), (96, 20), (64, 10), (32, 5)):
        buffer = io.BytesIO()
        image.resize((side, side), Image.Resampling.BOX).save(
            buffer, "JPEG", quality=quality, optimize=True
        )
        if buffer.tell() <= THUMBNAIL_BYTES:
            break
    return buffer.getvalue()
