"""What `screener model verify` checks: that a bundle does what its card and the contract say."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from screener.bundle import MAX_BYTES, Bundle
from screener.classifier import Classifier, Outputs
from screener.graph_identities import find_faults
from screener.preprocess import SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TOLERANCE = 1e-4
LARGEST_AUC_FALL, LARGEST_CHANGE = 0.001, 0.005
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
