"""Which execution providers ONNX Runtime is asked for on this machine, and with what options.

A GPU provider is asked for only after its libraries were found to load, because ONNX Runtime
otherwise writes pages to stderr and falls back without a word. Beside `screener.classifier`.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from screener.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

Device = Literal["auto", "cpu", "cuda", "tensorrt"]
CPU = "CPUExecutionProvider"
PROVIDERS = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider"}
BATCH = {CPU: 8, PROVIDERS["cuda"]: 64, PROVIDERS["tensorrt"]: 64}
"""Images of one call: on a core 4 to 32 cost the same, a GPU wants more."""


def choose_providers(device: Device) -> tuple[list[str], list[str]]:
    """The GPU providers to ask for, best first, and why the others cannot be had."""
    wanted = {"auto": ["tensorrt", "cuda"], "tensorrt": ["tensorrt", "cuda"], "cuda": ["cuda"]}
    chosen: list[str] = []
    reasons: list[str] = []
    for name in wanted.get(device, []):
        why = _why_unusable(PROVIDERS[name])
        if not why:
            chosen.append(PROVIDERS[name])
        elif why not in reasons:
            reasons.append(why)
    return chosen, reasons


def _why_unusable(provider: str) -> str:
    """Empty where the provider's libraries load and there is a GPU, else the reason."""
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        return "the installed ONNX Runtime is built for the processor alone"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver: libcuda.so.1 does not load"
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or not count:
        return "the NVIDIA driver finds no GPU"
    with contextlib.redirect_stdout(io.StringIO()):
        # Loads the CUDA libraries of NVIDIA's wheels; prints what it does not find.
        onnxruntime.preload_dlls()
    folder = Path(onnxruntime.__file__).parent / "capi"
    library = f"libonnxruntime_providers_{'cuda' if 'CUDA' in provider else 'tensorrt'}.so"
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / library))
    except OSError as error:
        return f"{provider}: {str(error).split(':')[0]} does not load"
    return ""


def provider_options(
    provider: str, cache: Path | None, model_sha256: str, runtime: str
) -> dict[str, str]:
    """What a GPU provider is started with (ONNX Runtime, "TensorRT" and "CUDA Execution Provider").

    TensorRT computes in half precision and keeps the engine that it builds, which takes it minutes:
    in a folder for each model and version of the runtime, for an engine of another is refused or,
    worse, taken. CUDA tries all convolutions at the start, because shapes never change.

    Args:
        provider: By ONNX Runtime's name.
        cache: Where engines are kept; None for nowhere.
        model_sha256: Of the bundle.
        runtime: Version of ONNX Runtime.
    """
    if provider == PROVIDERS["cuda"]:
        return {"cudnn_conv_algo_search": "EXHAUSTIVE", "arena_extend_strategy": "kSameAsRequested"}
    if provider != PROVIDERS["tensorrt"]:
        return {}
    options = {"trt_fp16_enable": "True"}
    if cache is not None:
        # An engine fits one kind of GPU: TensorRT itself puts that into the file's name.
        folder = str(cache / f"{model_sha256[:16]}-{runtime}")
        options |= {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": folder,
        }
    return options


def check_installation(path: Sequence[str] | None = None) -> None:
    """Refuse two distributions that overwrite each other's files.

    Args:
        path: Folders of installed distributions; None for this program's own.

    Raises:
        UsageError: `onnxruntime` and `onnxruntime-gpu` are both there.
    """
    folders = list(sys.path if path is None else path)
    names = ("onnxruntime", "onnxruntime-gpu")
    if all(any(distributions(name=name, path=folders)) for name in names):
        raise UsageError(
            "both onnxruntime and onnxruntime-gpu are installed",
            "they overwrite each other's files, and a GPU may go unused without a word",
            "`pip uninstall -y onnxruntime onnxruntime-gpu`, then `pip install onnxruntime-gpu`",
        )


def cores() -> int:
    """How many cores this process may use."""
    # Not ONNX Runtime's own count: it takes the machine's cores, and complains in a container.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
