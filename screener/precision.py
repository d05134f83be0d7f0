"""Which bundle a scan takes: the one that is named, or the shipped one of the precision in force.

The float and the int8 bundle score a little differently, so the choice is made once, when both are
there, and kept in the state: a report must not change because a night ran on another machine.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from screener.bundle import load_bundle, shipped_file
from screener.errors import UsageError
from screener.signature import require_signature, signature_beside

if TYPE_CHECKING:
    from screener.bundle import Bundle
    from screener.settings import Settings

Shipped = Literal["float", "int8"]
KEPT = "precision"
"""The key of the choice among the settings of the state."""
_CPU_INFO = Path("/proc/cpuinfo")
# As the kernel calls them: AVX512-VNNI, AVX-VNNI of smaller cores, AMX. Without them int8 gains
# little and its sums may saturate (ONNX Runtime, "Quantize ONNX models": reduce_range).
_INT8_FLAGS = {"avx512_vnni": "VNNI", "avx_vnni": "VNNI", "amx_int8": "AMX"}


@dataclass(frozen=True, slots=True)
class Choice:
    """A bundle and how it came to be taken.

    `why`: in words; empty where the user named it. `decided`: the choice was made by this run
    between two bundles, and is to be kept.
    """

    bundle: Bundle
    why: str = ""
    decided: bool = False


def choose_bundle(settings: Settings, kept: str | None = None) -> Choice:
    """The bundle that the settings name, or the shipped one of the precision in force.

    Args:
        settings: `model` and `precision`; a threshold of the site's own goes with its model.
        kept: The precision that an earlier run of this state decided for; None for none.

    Raises:
        UsageError: the model is not usable, has another precision than the one that is asked for,
            is not the one that the threshold was fitted to, or lacks a signature that is required.
    """
    choice = _choose(settings, kept)
    bundle = choice.bundle
    if settings.precision not in ("auto", bundle.card.precision):
        raise UsageError(
            f"the model {bundle.name!r} is {bundle.card.precision}, not {settings.precision}",
            "a scan never changes a model's precision by itself",
            "make one with `screener export --int8` and give it with --model",
        )
    _check_signature(settings, bundle)
    fitted_to = settings.threshold_model_sha256
    if fitted_to and fitted_to != bundle.sha256:
        raise UsageError(
            f"the threshold {settings.threshold!r} was fitted to another model",
            f"to {fitted_to[:12]}; the model in force is {bundle.sha256[:12]}",
            "run `screener calibrate` with this model, or choose an operating point",
        )
    return choice


def _choose(settings: Settings, kept: str | None) -> Choice:
    if settings.model is not None:
        return Choice(load_bundle(settings.model))
    if not shipped_file("int8").is_file():
        if settings.precision == "int8":
            raise UsageError(
                "no int8 model comes with this copy of the package",
                mend="leave --precision out, or make one with `screener export --int8` and give it "
                "with --model",
            )
        return Choice(load_bundle())
    if settings.precision != "auto":
        return Choice(load_bundle(precision=settings.precision))
    if settings.threshold_model_sha256:
        for precision in ("float", "int8"):
            bundle = load_bundle(precision=precision)
            if bundle.sha256 == settings.threshold_model_sha256:
                return Choice(bundle, "the site's threshold was fitted to it")
    if kept is not None:
        bundle = load_bundle(precision="int8" if kept == "int8" else "float")
        return Choice(bundle, "as this state's first run decided")
    precision, why = resolve_precision(settings.device)
    return Choice(load_bundle(precision=precision), why, decided=True)


def _check_signature(settings: Settings, bundle: Bundle) -> None:
    if settings.model_public_key is None:
        return
    if settings.model is None:
        raise UsageError(
            "model_public_key is set, and the model is the one that came with the package",
            "which no key of yours has signed",
            "copy it out of the package, sign it, and name it with --model",
        )
    require_signature(bundle, signature_beside(settings.model), settings.model_public_key)


def resolve_precision(device: str) -> tuple[Shipped, str]:
    """What suits this machine, and why: int8 on processors that are made for it, else float."""
    if device != "cpu" and has_nvidia_driver():
        from screener.classifier_providers import choose_providers

        if choose_providers("auto" if device == "auto" else "cuda")[0]:
            return "float", "a GPU is used"
    unit = int8_unit()
    if unit:
        return "int8", f"the processor has {unit}"
    return "float", "the processor has neither VNNI nor AMX"


def int8_unit() -> str:
    """VNNI or AMX where this processor multiplies int8 in hardware; empty otherwise."""
    try:
        text = _CPU_INFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        if line.startswith("flags"):
            flags = set(line.partition(":")[2].split())
            return next((unit for flag, unit in _INT8_FLAGS.items() if flag in flags), "")
    return ""


def has_nvidia_driver() -> bool:
    """Whether it is worth asking ONNX Runtime, which takes a moment to load."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
