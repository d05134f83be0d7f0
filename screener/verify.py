"""What `screener model verify` checks: that a bundle does what its card and the contract say."""

from __future__ import annotations

import hashlib
import resource
import typing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from screener.bundle import MAX_BYTES, Bundle
from screener.classifier import Classifier, Outputs, runtime_errors
from screener.errors import UsageError
from screener.graph_identities import find_faults
from screener.preprocess import SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

TOLERANCE = 1e-4
LARGEST_AUC_FALL, LARGEST_CHANGE = 0.001, 0.005
RUN_SECONDS, RUN_BYTES = 120, 4_000_000_000
LARGEST = {"float": 50_000_000, "int8": 25_000_000}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table: what was checked, whether it holds, and the figure."""

    name: str
    ok: bool
    detail: str


def verify_bundle(bundle: Bundle) -> list[Check]:
    """Check a bundle that `load_bundle` has let in, by running it on the processor.

    Raises:
        UsageError: ONNX Runtime refuses the model.
    """
    return list(_checks(bundle))


def verify_in_child(
    bundle: Bundle, *, seconds: int = RUN_SECONDS, memory_bytes: int = RUN_BYTES
) -> list[Check]:
    """Check a bundle in a process of its own, which may hang or ask for all memory without harm.

    Plain operators can do both: a chain of concatenations doubles a tensor each time.

    Args:
        bundle: As `load_bundle` has let it in.
        seconds: Processor and wall time, each.
        memory_bytes: Address space beyond what a process holds that has loaded this module.

    Raises:
        UsageError: the model crashed or met a limit, or ONNX Runtime refuses it.
    """
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(sending, bundle, seconds, memory_bytes))
    child.start()
    sending.close()
    try:
        # A child that crashed closes its end.
        answer = receiving.recv() if receiving.poll(seconds) else None
    except EOFError:
        answer = None
    finally:
        child.kill()
        child.join()
    if isinstance(answer, tuple):
        raise UsageError(*answer)
    if answer is None:
        raise UsageError(
            f"the model {bundle.name!r} crashed, or ran into a limit",
            f"five images may take {seconds} s and {memory_bytes / 1e9:.1f} GB",
            "use a model that `screener export` wrote",
        )
    return typing.cast("list[Check]", answer)


def _answer(sending: Connection, bundle: Bundle, seconds: int, memory_bytes: int) -> None:
    """The life of the child. Any other error than ours ends it with a traceback of our own code."""
    met: tuple[type[Exception], ...] = (MemoryError, *runtime_errors())
    try:
        _limit(seconds, memory_bytes)
        sending.send(verify_bundle(bundle))
    except UsageError as error:
        sending.send((error.what, error.why, error.mend))
    except met:
        # A limit that was met: the other end hears that nothing came.
        sending.close()


def _limit(seconds: int, memory_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    held = pages * resource.getpagesize()
    # No more than the account is limited to already.
    for kind, most in ((resource.RLIMIT_AS, held + memory_bytes), (resource.RLIMIT_CPU, seconds)):
        _, hard = resource.getrlimit(kind)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _checks(bundle: Bundle) -> Iterator[Check]:
    card = bundle.card
    digest = hashlib.sha256(bundle.content).hexdigest()
    yield Check("hash", digest == bundle.sha256, f"SHA-256 {digest}")
    size, limit = len(bundle.content), LARGEST[card.precision]
    yield Check("size", size < min(limit, MAX_BYTES), f"{size / 1e6:.1f} of {limit / 1e6:.0f} MB")
    # `load_bundle` raises where one of these fails; the table names what it has checked.
    yield Check("operators", True, "plain operators in one graph, no data outside the file")
    yield Check("card", True, f"schema {card.schema_version}, graph {card.graph_sha256[:12]}")
    yield Check("preprocessing", True, f"version {card.preprocessing['version']}, as the program's")
    yield from _by_construction(bundle)

    pixels = np.random.default_rng(1).random((5, SIZE, SIZE), dtype=np.float32)
    pixels[0], pixels[1] = 0, 1
    by_batch = [Classifier(bundle, "cpu", batch=batch).run(pixels) for batch in (1, 5)]
    outputs = by_batch[0]
    yield _finite(outputs)
    yield _identity(
        "mean(cam) + b = logit",
        outputs.cam.mean((2, 3)) + np.array([k.b for k in card.calibration]),
        outputs.logit,
    )
    a, c = (np.array([getattr(k, name) for k in card.calibration]) for name in "ac")
    calibrated = 1 / (1 + np.exp(-(a * outputs.logit.astype(np.float64) + c)))
    yield _identity("sigmoid(a logit + c) = score", calibrated, outputs.score)
    inside = float(outputs.score.min()) >= 0 and float(outputs.score.max()) <= 1
    yield Check(
        "score in 0 to 1", inside, f"{outputs.score.min():.4f} to {outputs.score.max():.4f}"
    )
    lowest = float(outputs.novelty.min())
    yield Check("novelty not negative", lowest >= 0, f"lowest {lowest:.4f}")
    turned_away = int((outputs.novelty > card.novelty.limit).sum())
    yield Check(
        "novelty of black, white, noise", turned_away == len(pixels), f"{turned_away} of 5 above 1"
    )
    yield _identity("any number of images", by_batch[1].score, outputs.score)


def _by_construction(bundle: Bundle) -> Iterator[Check]:
    """What holds of every image because of how the graph is built, and what its makers compared."""
    import onnx

    card = bundle.card
    faults = find_faults(onnx.load_model_from_string(bundle.content).graph)
    held = "1 x 1 map, logit from it, score from the logit, float after the last block"
    yield Check("head by construction", not faults, "; ".join(faults) or held)
    yield Check(
        "parity with PyTorch, as stated",
        card.parity <= TOLERANCE,
        f"largest score difference {card.parity:.1e}",
    )
    if card.precision == "int8":
        found = card.acceptance
        fall = found.auc_float - found.auc_int8 if found else 1.0
        changed = found.decisions_changed if found else 1.0
        yield Check(
            "int8 against float, as stated",
            # Both areas are rounded to 5 decimals.
            fall <= LARGEST_AUC_FALL + 1e-9 and changed <= LARGEST_CHANGE,
            f"AUC falls by {fall:.5f}, {changed:.2%} of decisions changed"
            if found
            else "the card holds no comparison",
        )


def _finite(outputs: Outputs) -> Check:
    names = ("cam", "logit", "score", "novelty")
    bad = [name for name in names if not np.isfinite(getattr(outputs, name)).all()]
    return Check("finite", not bad, f"not finite: {', '.join(bad)}" if bad else "all outputs")


def _identity(name: str, computed: NDArray[Any], given: NDArray[Any]) -> Check:
    difference = float(np.abs(computed - given).max())
    return Check(name, difference <= TOLERANCE, f"largest difference {difference:.1e}")
