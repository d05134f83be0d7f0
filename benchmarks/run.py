"""All the figures of speed in one go, on data that it makes: `make bench`.

    python -m benchmarks.run [--model BUNDLE] [--large 10000] [--tree 100000]
    python -m benchmarks.run --large 100000 --tree 1000000      # the full sizes: 12 minutes
    python -m benchmarks.run --trial --out FILE --plot FILE     # does it run at all: a minute

Each goal is a ratio whose two sides are measured in this run, on the same files, cores and warm
cache. Writes benchmarks/results.json and docs/speed.svg. Let nothing else run beside it.

- screener: `screener scan` as a user starts it, from the command to its end, report included.
- its limit: the processor seconds of decoding alone and of inference alone, over the cores. What
  share of the processor time that the scan took they are is told too: of the wall it says what was
  waited for, of the processor's time what the rest costs, whatever else ran.
- the peers: benchmarks/peers, without the start of Python and PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import films
from benchmarks.cost import measure_cost
from benchmarks.machine import ROOT, machine, run_measured, scan
from benchmarks.rescan import measure_rescan
from screener.bundle import load_bundle
from screener.classifier import Classifier
from screener.domain import Examined, Radiograph
from screener.examine import examine
from screener.precision import choose_bundle
from screener.settings import Settings
from tests.films import dataset, draw, save

INFERRED = 96
MEMORY_GIB = 1.5
_MILLION = 1_000_000


@dataclass(frozen=True)
class Form:
    """A kind of film: how many screener gets, and the least ratios to the two peers."""

    name: str
    share: float
    seed: float
    practised: float
    syntax: str = ""


@dataclass(frozen=True)
class Sizes:
    """How much is measured: `films` of JPEG-LS, the others in proportion (`Form.share`), so that a
    scan is about as long as a night's of 1,000 films and its start weighs what it weighs there.

    `rows`, `columns`: of the DICOM films. `practised`: films of that peer, whole batches for each
    of its workers several times over, so that its start weighs little. `small`, `large`: files for
    the cost of one. `tree`: unchanged files of a rescan.
    """

    films: int = 600
    rows: int = 2500
    columns: int = 2048
    profiled: int = 24
    seed: int = 10
    practised: int = 64
    small: int = 1000
    large: int = 10_000
    tree: int = 100_000


TRIAL = Sizes(
    films=4, rows=500, columns=460, profiled=2, seed=2, practised=4, small=20, large=40, tree=60
)

FORMS = (
    Form("JPEG 2000, 5 megapixels", 1.5, 15, 8, films.JPEG_2000),
    Form("JPEG-LS, 5 megapixels", 1.0, 5, 2.5, films.JPEG_LS),
    Form("uncompressed, 5 megapixels", 1.5, 6, 2, films.UNCOMPRESSED),
    Form("PNG, 1 megapixel", 2.5, 4, 1.8),
)


def make(form: Form, folder: Path, count: int, sizes: Sizes) -> list[Path]:
    if form.syntax:
        return films.write_dicom(
            folder, form.syntax, count, distinct=8, rows=sizes.rows, columns=sizes.columns
        )
    return films.write_pngs(folder, count)


def decode_only(paths: list[Path]) -> tuple[float, list[np.ndarray[Any, Any]]]:
    """Core-seconds a film of all that a worker does, and the model input."""
    examine(os.fsencode(paths[0]))
    started, pixels = time.process_time(), []
    for path in paths:
        found = examine(os.fsencode(path))
        if not isinstance(found, Examined) or not isinstance(found.result, Radiograph):
            raise SystemExit(f"a film of the benchmark was not read: {found}")
        pixels.append(found.result.pixels)
    return (time.process_time() - started) / len(paths), pixels


def inference_only(pixels: list[np.ndarray[Any, Any]], model: Path | None) -> float:
    """Core-seconds a film on one thread, in the batches of a scan."""
    bundle = load_bundle(model) if model else choose_bundle(Settings()).bundle
    classifier = Classifier(bundle, "cpu", threads=1)
    batch = np.stack([pixels[i % len(pixels)] for i in range(INFERRED)])
    classifier.run(batch[: classifier.batch])
    started = time.process_time()
    classifier.run(batch)
    return (time.process_time() - started) / INFERRED


def peer(name: str, paths: list[Path], count: int, folder: Path, *more: str) -> float:
    """Seconds a film of a peer on the first films."""
    folder.mkdir()
    for path in paths[:count]:
        (folder / path.name).hardlink_to(path)
    ran = run_measured([sys.executable, "-m", f"benchmarks.peers.{name}", str(folder), *more])
    shutil.rmtree(folder)
    return float(json.loads(ran.stdout)["seconds_a_film"])


def measure_form(form: Form, folder: Path, sizes: Sizes, model: Path | None) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    count = max(round(sizes.films * form.share), sizes.practised)
    paths = make(form, folder / "films", count, sizes)
    # Else the first commits of the ledger wait until gigabytes of films are on the disk.
    os.sync()
    ran, facts = scan(folder / "films", folder / "out", model)
    scored = facts["outcomes"].get("SCORED", {}).get("", 0)
    novel = facts["outcomes"].get("INELIGIBLE", {}).get("NOVEL", 0)
    if scored + novel != count:
        raise SystemExit(f"{form.name}: {count} films gave {facts['outcomes']}")
    decode_s, pixels = decode_only(paths[: sizes.profiled])
    inference_s = inference_only(pixels, model)
    seed_s = peer("seed", paths, sizes.seed, folder / "few")
    practised_s = peer("practised", paths, sizes.practised, folder / "few", str(cores))
    shutil.rmtree(folder)
    each_s = ran.wall_s / count
    return {
        "form": form.name,
        "films": count,
        "precision": facts["precision"],
        "wall_s": round(ran.wall_s, 2),
        "cpu_s": round(ran.cpu_s, 2),
        "peak_mib": ran.peak_mib,
        "ms_a_film": round(1000 * each_s, 2),
        "decode_core_ms": round(1000 * decode_s, 2),
        "inference_core_ms": round(1000 * inference_s, 2),
        "other_core_ms": round(1000 * (ran.cpu_s / count - decode_s - inference_s), 2),
        "seed_ms": round(1000 * seed_s, 1),
        "practised_ms": round(1000 * practised_s, 1),
        "of_its_limit": round((decode_s + inference_s) / cores / each_s, 3),
        "of_its_processor_time": round((decode_s + inference_s) * count / ran.cpu_s, 3),
        "against_seed": round(seed_s / each_s, 2),
        "against_practised": round(practised_s / each_s, 2),
    }


def measure_start(folder: Path) -> dict[str, float]:
    """Seconds of `screener --help` and of the scan of one small film: the best of three."""
    film = save(dataset(draw(2), 2), folder / "one" / "film").parent
    helped = min(
        run_measured([sys.executable, "-m", "screener", "--help"]).wall_s for _ in range(3)
    )
    scanned = min(scan(film, folder / f"one-{i}", None)[0].wall_s for i in range(3))
    return {"help_s": round(helped, 2), "one_film_s": round(scanned, 2)}


def goals(forms: list[dict[str, Any]], cost: dict[str, Any], rescan: dict[str, Any],
          start: dict[str, float]) -> list[dict[str, Any]]:  # fmt: skip
    """Every goal, its value, and whether it was reached."""
    found: list[tuple[str, float, str, float]] = []
    for form, measured in zip(FORMS, forms, strict=True):
        found.append((f"{form.name}: of its own limit", measured["of_its_limit"], ">=", 0.9))
        found.append(
            (f"{form.name}: against the seed's way", measured["against_seed"], ">=", form.seed)
        )
        found.append(
            (
                f"{form.name}: against a practised user's",
                measured["against_practised"],
                ">=",
                form.practised,
            )
        )
    peak = max(
        [*(measured["peak_mib"] for measured in forms), *cost["peak_mib"], rescan["peak_mib"]]
    )
    found += [
        ("peak memory of all processes, GiB", round(peak / 1024, 2), "<=", MEMORY_GIB),
        (
            f"unchanged files a second, of {rescan['files']}, report included",
            rescan["files_a_second"],
            ">=",
            20_000,
        ),
        (f"cost a file at {cost['counts'][1]} over {cost['counts'][0]}", cost["ratio"], "<=", 1.05),
        ("screener --help, s", start["help_s"], "<=", 0.4),
        ("scan of one small film, s", start["one_film_s"], "<=", 2.5),
    ]
    if rescan["files"] >= _MILLION:
        found.append(("a million unchanged files, s", rescan["wall_s"], "<=", 60))
    return [
        {"goal": name, "value": value, "wanted": f"{sign} {wanted}",
         "reached": value >= wanted if sign == ">=" else value <= wanted}
        for name, value, sign, wanted in found
    ]  # fmt: skip


def draw_plot(results: dict[str, Any], path: Path) -> None:
    """Milliseconds a film of screener and of both peers, on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "screener"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    place = np.arange(len(results["forms"]))
    bars = (("ms_a_film", "screener", "#1b7837"), ("practised_ms", "practised user", "#878787"),
            ("seed_ms", "one at a time", "#c2c2c2"))  # fmt: skip
    for offset, (key, label, colour) in enumerate(bars):
        values = [form[key] for form in results["forms"]]
        drawn = axes.barh(place + (offset - 1) * 0.27, values, 0.25, label=label, color=colour)
        axes.bar_label(drawn, fmt=" %.0f", fontsize=8)
    axes.set_yticks(place, [form["form"] for form in results["forms"]])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(f"milliseconds a film, {results['machine']['cores']} cores, no GPU")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a bundle; what a scan would take by default")
    parser.add_argument("--large", type=int, default=Sizes.large, help="files for a file's cost")
    parser.add_argument("--tree", type=int, default=Sizes.tree, help="unchanged files of a rescan")
    parser.add_argument("--trial", action="store_true", help="tiny sizes: figures of no worth")
    parser.add_argument("--work", type=Path, help="where the data is made; 12 GB for a while")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results.json")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "speed.svg")
    options = parser.parse_args(arguments)
    sizes = TRIAL if options.trial else Sizes(large=options.large, tree=options.tree)
    started, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.work, prefix="screener-bench-") as name:
        work = Path(name)
        forms = []
        for number, form in enumerate(FORMS):
            forms.append(measure_form(form, work / str(number), sizes, options.model))
            print(json.dumps(forms[-1]), flush=True)
        cost = measure_cost(work / "cost", sizes.small, sizes.large)
        print(json.dumps(cost), flush=True)
        rescan = measure_rescan(work / "rescan", sizes.tree)
        print(json.dumps(rescan), flush=True)
        start = measure_start(work / "start")
    results = {
        "measured_at": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "load_before": round(load, 2),
        "forms": forms,
        "cost": cost,
        "rescan": rescan,
        "start": start,
        "goals": goals(forms, cost, rescan, start),
        "elapsed_s": round(time.monotonic() - started),
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    draw_plot(results, options.plot)
    print(f"\n{results['machine']['processor']}, {results['machine']['cores']} cores; "
          f"{results['elapsed_s']} s; load before it {results['load_before']}")  # fmt: skip
    for goal in results["goals"]:
        mark = "reached" if goal["reached"] else "MISSED"
        print(f"{mark:8} {goal['value']:>10} {goal['wanted']:>9}  {goal['goal']}")
    print(f"{options.out}, {options.plot}")


if __name__ == "__main__":
    main()
