"""Which decoder for which transfer syntax: every permissive candidate on one 12-bit film.

    python benchmarks/decoders.py [--rows 2500 --columns 2048 --repeat 3]

Prints the processor time of one frame in milliseconds (best of several), whether the pixels came
out right, and which candidate `screener.decoding` uses, with the reason where it is not the
fastest. Candidates that are not installed are left out; dcmtk writes the lossless frames where
it is installed, imagecodecs otherwise.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from screener.decoding import DECODERS, decode_frame
from screener.domain import Limits, PixelDescription

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))

SYNTAX = "1.2.840.10008.1.2"
WHY_NOT = {
    "imagecodecs dicomrle": "reads past the end of a cut frame: segmentation fault",
    "pylibjpeg-rle": "panics on broken segments; another wheel for one syntax",
    "imagecodecs openjph": "wraps values beyond the range; decodes cut frames",
}


@dataclass(frozen=True)
class Case:
    syntax: str
    frame: bytes
    values: np.ndarray[Any, Any]
    largest_error: int
    candidates: dict[str, Callable[[bytes], Any]]


def film(rows: int, columns: int) -> np.ndarray[Any, Any]:
    """A smooth phantom with the noise of a real film: 12 bits."""
    y, x = np.mgrid[0:rows, 0:columns]
    noise = np.random.default_rng(0).normal(0, 12, (rows, columns))
    values = 2000 + 1200 * np.sin(x / 300) * np.cos(y / 400) + noise
    return values.clip(0, 4095).astype(np.uint16)


def by_pillow(frame: bytes, reduce: int = 0) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(frame)) as image:
        if reduce and image.format == "JPEG":
            image.draft("L", (image.width >> reduce, image.height >> reduce))
        elif reduce:
            image.reduce = reduce
        return np.asarray(image)


def rle_candidates(shape: tuple[int, int]) -> dict[str, Callable[[bytes], Any]]:
    found: dict[str, Callable[[bytes], Any]] = {
        "imagecodecs dicomrle": lambda f: np.frombuffer(
            imagecodecs.dicomrle_decode(f, "<u2"), "<u2"
        )
    }
    if importlib.util.find_spec("rle"):
        from rle.rle import decode_frame as rust

        found["pylibjpeg-rle"] = lambda f: np.frombuffer(
            rust(f, shape[0] * shape[1], 16, "<"), "<u2"
        )
    return found


def jpeg_ls_candidates() -> dict[str, Callable[[bytes], Any]]:
    found: dict[str, Callable[[bytes], Any]] = {"imagecodecs charls": imagecodecs.jpegls_decode}
    if importlib.util.find_spec("jpeg_ls"):
        import jpeg_ls

        found["pyjpegls"] = lambda f: np.frombuffer(jpeg_ls.decode_pixel_data(f)[0], "<u2")
    return found


def jpeg2000_candidates(shift: int) -> dict[str, Callable[[bytes], Any]]:
    found: dict[str, Callable[[bytes], Any]] = {
        "imagecodecs openjpeg": imagecodecs.jpeg2k_decode,
        "pillow openjpeg": lambda f: by_pillow(f) >> shift,
    }
    if importlib.util.find_spec("openjpeg"):
        import openjpeg

        found["pylibjpeg-openjpeg"] = lambda f: np.frombuffer(
            openjpeg.decode_pixel_data(f, version=2), "<u2"
        )
    return found


def cases(values: np.ndarray[Any, Any]) -> list[Case]:
    eight = (values >> 4).astype(np.uint8)
    frames: dict[str, bytes] = {
        ".4.50": bytes(imagecodecs.jpeg8_encode(eight, level=90)),
        ".4.51": bytes(imagecodecs.jpeg8_encode(values, level=90, bitspersample=12)),
        ".4.57": bytes(imagecodecs.jpeg8_encode(values, lossless=True, predictor=6)),
        ".4.70": bytes(imagecodecs.jpeg8_encode(values, lossless=True, predictor=1)),
        ".4.80": bytes(imagecodecs.jpegls_encode(values)),
        ".4.81": bytes(imagecodecs.jpegls_encode(values, level=2)),
        ".4.90": bytes(
            imagecodecs.jpeg2k_encode(
                values, level=0, codecformat="j2k", bitspersample=12, reversible=True
            )
        ),
        ".4.201": bytes(imagecodecs.htj2k_encode(values, reversible=True)),
    }
    if shutil.which("dcmcjpeg"):
        from make_codestreams import dcmtk

        # Not the lossy ones: dcmcjpeg subtracts the minimum (and writes a rescale intercept).
        commands = {
            ".5": ["dcmcrle"],
            ".4.57": ["dcmcjpeg", "+el"],
            ".4.70": ["dcmcjpeg", "+e1"],
            ".4.80": ["dcmcjpls", "+el"],
            ".4.81": ["dcmcjpls", "+en"],
        }
        frames |= {key: dcmtk(values, 12, *command)[0] for key, command in commands.items()}
    lossless_jpeg = {
        "imagecodecs libjpeg-turbo": imagecodecs.jpeg8_decode,
        "imagecodecs jpegsof3": imagecodecs.jpegsof3_decode,
        "imagecodecs liblj92": imagecodecs.ljpeg_decode,
    }
    table: dict[str, tuple[int, dict[str, Callable[[bytes], Any]]]] = {
        ".5": (0, rle_candidates(values.shape)),
        ".4.50": (40, {
            "imagecodecs libjpeg-turbo": imagecodecs.jpeg8_decode, "pillow libjpeg-turbo": by_pillow
        }),
        ".4.51": (400, {"imagecodecs libjpeg-turbo": imagecodecs.jpeg8_decode}),
        ".4.57": (0, lossless_jpeg),
        ".4.70": (0, lossless_jpeg),
        ".4.80": (0, jpeg_ls_candidates()),
        ".4.81": (2, jpeg_ls_candidates()),
        ".4.90": (0, jpeg2000_candidates(4)),
        ".4.201": (0, jpeg2000_candidates(0) | {"imagecodecs openjph": imagecodecs.htj2k_decode}),
    }  # fmt: skip
    return [
        Case(suffix, frames[suffix], eight if suffix == ".4.50" else values, *table[suffix])
        for suffix in table
        if suffix in frames
    ]


def best_ms(function: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    times = []
    for _ in range(repeat):
        start = time.process_time()
        result = function()
        times.append(1000 * (time.process_time() - start))
    return min(times), result


def describe(case: Case) -> PixelDescription:
    rows, columns = case.values.shape
    bits = 8 if case.values.dtype == np.uint8 else 16 if case.syntax == ".4.201" else 12
    return PixelDescription(
        rows, columns, 1, "MONOCHROME2", 8 * case.values.itemsize, bits, bits - 1, False, 0,
        SYNTAX + case.syntax,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--columns", type=int, default=2048)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    values = film(options.rows, options.columns)
    print(f"{'syntax':8} {'decoder':32} {'ms':>8}  pixels")
    for case in cases(values):
        for name, decode in case.candidates.items():
            elapsed, result = best_ms(lambda d=decode, f=case.frame: d(f), options.repeat)
            error = np.abs(np.asarray(result).reshape(values.shape).astype(int) - case.values).max()
            verdict = "right" if error <= case.largest_error else "WRONG"
            reason = WHY_NOT.get(name, "")
            print(f"{case.syntax:8} {name:32} {elapsed:8.1f}  {verdict} {reason}")
        description, frame = describe(case), memoryview(case.frame)
        for full_size in (True, False):
            elapsed, stored = best_ms(
                lambda d=description, f=frame, w=full_size: decode_frame(
                    f, d, full_size=w, limits=Limits()
                ),
                options.repeat,
            )
            if full_size or stored.levels_dropped:
                library = DECODERS[description.transfer_syntax_uid].library
                name = f"* {library}" + ("" if full_size else f" -{stored.levels_dropped} levels")
                print(f"{case.syntax:8} {name:32} {elapsed:8.1f}  {stored.values.shape}")
    print("* what screener does, all checks included")


if __name__ == "__main__":
    main()
