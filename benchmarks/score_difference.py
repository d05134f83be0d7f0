"""How far a score moves where a film is decoded no larger than the model needs.

Every film is written in each transfer syntax, read once as `scan` reads it and once with `--exact`,
and both are scored. Three sets, reported apart: the real full-size films of pydicom-data, computed
radiographs, and labelled radiographs of a folder that is named, enlarged and given film noise.

    python -m benchmarks.score_difference --labelled FOLDER --cache pairs.npz --out record.json
    python -m benchmarks.score_difference --cache pairs.npz --model NEW.onnx --out record.json

Reading takes a second or two a film and syntax and does not depend on the model: with --cache it is
kept, and the second command scores another model in a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import data_store
import imagecodecs
import numpy as np
import pydicom
from PIL import Image

from benchmarks import films
from benchmarks.machine import machine
from benchmarks.phantom import BLACK, LARGEST, WHITE, make_film
from screener.bundle import load_bundle
from screener.classifier import Classifier
from screener.dicom import read_instance
from screener.dicom_pixels import read_stored
from screener.domain import Examined, Limits, Radiograph
from screener.examine import examine
from screener.examine_settings import ExamineSettings
from tests.films import dataset

LOSSY_JPEG_2000 = "1.2.840.10008.1.2.4.91"
REDUCED = {
    "JPEG 2000 lossless": films.JPEG_2000,
    "JPEG 2000 lossy": LOSSY_JPEG_2000,
    "HTJ2K": films.HTJ2K,
    "JPEG baseline": films.JPEG_BASELINE,
}
WHOLE = {
    "uncompressed": films.UNCOMPRESSED,
    "JPEG lossless": films.JPEG_LOSSLESS,
    "JPEG-LS": films.JPEG_LS,
}
"""They have no smaller form: the two ways are one, which a few films of each set confirm."""
WHOLE_OF_A_SET = 5
LARGE = 2500
REAL_ROWS = 1000
LARGEST_P99 = 0.01
NEAR = 0.01


@dataclass(frozen=True)
class Film:
    """`values`: uint16, `bits` of them used; `display`: keywords of its header."""

    values: np.ndarray[Any, Any]
    bits: int
    display: dict[str, Any]


def real_names() -> list[str]:
    """Files of pydicom-data that hold one large grey radiograph without compression."""
    found = []
    for path in sorted((Path(data_store.__file__).parent / "data").glob("*.dcm")):
        ds = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        plain = (
            "TransferSyntaxUID" in ds.file_meta and not ds.file_meta.TransferSyntaxUID.is_compressed
        )
        film = ds.get("Modality") in ("CR", "DX", "RG") and ds.get("Rows", 0) >= REAL_ROWS
        if plain and film and ds.get("SamplesPerPixel") == 1:
            found.append(str(path))
    return found


def real_film(path: str) -> Film:
    content = memoryview(Path(path).read_bytes())
    stored = read_stored(read_instance(content, Limits()), Limits(), full_size=True).stored
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    names = ("PhotometricInterpretation", "WindowCenter", "WindowWidth", "RescaleSlope",
             "RescaleIntercept", "PresentationLUTShape")  # fmt: skip
    display = {name: ds.get(name) for name in names if ds.get(name) not in (None, "")}
    return Film(stored.values.astype(np.uint16), int(ds.BitsStored), display)


def computed_film(seed: str) -> Film:
    number = int(seed)
    rows, columns = ((2500, 2048), (3072, 2560), (4280, 3520))[number % 3]
    return Film(make_film(number, rows, columns), 12, {})


def labelled_film(path: str) -> Film:
    """A small radiograph as a detector would have given it: enlarged, 12 bits, with grain."""
    with Image.open(path) as image:
        small = np.asarray(image.convert("L"), dtype=np.float32) / 255
    height, width = small.shape
    size = (round(LARGE * width / height), LARGE)
    tones = np.clip(np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)), 0, 1)
    noise = np.random.default_rng(len(path)).standard_normal(tones.shape, np.float32)
    noise += 0.5 * np.roll(noise, 1, axis=1)
    values = BLACK + tones * (WHITE - BLACK) + 14 * (0.6 + 0.8 * tones) * noise
    return Film(np.clip(np.rint(values), 0, LARGEST).astype(np.uint16), 12, {})


MAKERS = {"real": real_film, "computed": computed_film, "labelled": labelled_film}


def read_pairs(kind: str, name: str, *, whole: bool) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Syntax -> float32 (2, 224, 224): as scan reads it, and exactly."""
    film = MAKERS[kind](name)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for label, syntax in (REDUCED | (WHOLE if whole else {})).items():
            path = Path(folder) / "film"
            rows, columns = film.values.shape
            ds = dataset(np.zeros((8, 8), np.uint16), 1, **film.display)
            shift = 16 - film.bits if label == "JPEG lossless" and film.bits != 16 else 0
            frame = encode(film, syntax, label)
            films.save_frame(ds, frame, syntax, path, rows, columns, film.bits + shift)
            both = [_pixels(path, exact=exact) for exact in (False, True)]
            pairs.append((label, np.stack(both)))
    return pairs


def encode(film: Film, syntax: str, label: str) -> bytes:
    if label == "JPEG 2000 lossy":
        # 60 dB: what archives call visually lossless.
        return bytes(
            imagecodecs.jpeg2k_encode(
                film.values, level=60, codecformat="j2k", bitspersample=film.bits, reversible=False
            )
        )
    if label == "JPEG lossless":
        return films.encode(film.values << (16 - film.bits), syntax, 16)
    return films.encode(film.values, syntax, film.bits)


def _pixels(path: Path, *, exact: bool) -> np.ndarray[Any, Any]:
    # Ample: the study measures scores, and the machine may be busy.
    found = examine(os.fsencode(path), ExamineSettings(exact=exact, limits=Limits(wall_s=600)))
    if not isinstance(found, Examined) or not isinstance(found.result, Radiograph):
        raise SystemExit(f"a film of the study was not read: {found}")
    return found.result.pixels


def read_all(jobs: list[tuple[str, str, bool]], processes: int) -> dict[str, np.ndarray[Any, Any]]:
    """ "set/syntax" -> float32 (n, 2, 224, 224)."""
    pairs: dict[str, list[np.ndarray[Any, Any]]] = defaultdict(list)
    with ProcessPoolExecutor(processes) as pool:
        running = [(kind, pool.submit(read_pairs, kind, name, whole=w)) for kind, name, w in jobs]
        for number, (kind, future) in enumerate(running, 1):
            for label, pair in future.result():
                pairs[f"{kind}/{label}"].append(pair)
            if number % 10 == 0:
                print(f"{number} of {len(running)} films read", flush=True)
    return {name: np.stack(found) for name, found in pairs.items()}


def jobs(
    computed: int, labelled: Path | None, labelled_count: int
) -> Iterator[tuple[str, str, bool]]:
    sets: dict[str, list[str]] = {
        "real": real_names(), "computed": [str(seed) for seed in range(computed)]
    }  # fmt: skip
    if labelled is not None:
        files = sorted(
            p for p in labelled.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg")
        )
        sets["labelled"] = [str(p) for p in files[:: max(1, len(files) // labelled_count)]][
            :labelled_count
        ]
    for kind, names in sets.items():
        for index, name in enumerate(names):
            yield kind, name, index < WHOLE_OF_A_SET


def compare(
    pairs: np.ndarray[Any, Any], classifier: Classifier, thresholds: dict[str, float]
) -> dict[str, Any]:
    """The figures of one set in one syntax."""
    reduced, exact = (
        np.array([s.scores[0] for s in classifier.score(np.ascontiguousarray(pairs[:, way]))])
        for way in (0, 1)
    )
    difference = np.abs(reduced - exact)
    changed = {
        name: int((((reduced >= t) != (exact >= t)) & (np.abs(exact - t) > NEAR)).sum())
        for name, t in thresholds.items()
    }
    return {
        "films": len(pairs),
        "median": round(float(np.median(difference)), 5),
        "p99": round(float(np.percentile(difference, 99)), 5),
        "largest": round(float(difference.max()), 5),
        "changed_side": changed,
        "met": bool(np.percentile(difference, 99) <= LARGEST_P99 and not any(changed.values())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a bundle; the shipped float one by default")
    parser.add_argument("--labelled", type=Path, help="a folder of radiographs, at any depth")
    parser.add_argument("--labelled-count", type=int, default=300)
    parser.add_argument("--computed", type=int, default=50)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--cache", type=Path, help="what was read is kept here, and taken from here"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("score_difference.json")
    )
    options = parser.parse_args()
    if options.cache and options.cache.exists():
        with np.load(options.cache) as kept:
            pairs = {name: kept[name] for name in kept.files}
    else:
        wanted = list(jobs(options.computed, options.labelled, options.labelled_count))
        pairs = read_all(wanted, options.processes)
        if options.cache:
            np.savez(options.cache, **pairs)
    bundle = load_bundle(options.model)
    classifier = Classifier(bundle, "cpu")
    thresholds = {point.name: point.threshold for point in bundle.card.operating_points}
    record = {
        "model": bundle.name,
        "model_sha256": bundle.sha256,
        "thresholds": thresholds,
        "machine": machine(),
        "sets": {
            name: compare(found, classifier, thresholds) for name, found in sorted(pairs.items())
        },
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(
        f"{'set and syntax':34} {'films':>5} {'median':>8} {'p99':>8} {'largest':>8}  changed side"
    )
    for name, found in record["sets"].items():
        print(
            f"{name:34} {found['films']:5} {found['median']:8.4f} {found['p99']:8.4f} "
            f"{found['largest']:8.4f}  {found['changed_side']}"
        )


if __name__ == "__main__":
    main()
