"""ONNX Runtime: model-sized pixels in, scores out. The only place that imports onnxruntime.

A GPU provider is asked for only after its libraries were found to load, because ONNX Runtime
otherwise writes pages to stderr and falls back without a word; what the session really uses is
compared with what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from screener.classifier_providers import (
    BATCH,
    CPU,
    Device,
    check_installation,
    choose_providers,
    cores,
    provider_options,
)
from screener.domain import Score
from screener.errors import GpuRequiredError, RunError, UsageError
from screener.preprocess import SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from screener.bundle import Bundle

OUTPUTS = ["cam", "logit", "score", "novelty"]
FATAL = 4
SCORE_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the graph gives for n images, K findings: all float32.

    `cam` (n, K, 7, 7), `logit` (n, K), `score` (n, K) in [0, 1], `novelty` (n,), 1.0 the limit.
    """

    cam: NDArray[np.float32]
    logit: NDArray[np.float32]
    score: NDArray[np.float32]
    novelty: NDArray[np.float32]


class Classifier:
    """One session over a checked bundle.

    Attributes:
        provider: The execution provider really used, by ONNX Runtime's name.
        notice: One line where another device was wished for than is used; empty otherwise.
        batch: Images of one call of the session; on a GPU fewer are padded, so that shapes never
            change.
        at_once: How many threads may call `run` or `score` at once and gain by it.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device = "auto",
        *,
        require_gpu: bool = False,
        threads: int = 0,
        batch: int = 0,
        cache: Path | None = None,
    ) -> None:
        """Start the session.

        Args:
            bundle: As `screener.bundle.load_bundle` gives it.
            device: `auto` takes TensorRT, then CUDA, then the processor.
            require_gpu: Refuse to run on the processor.
            threads: For one call; 0 for as many as this process has cores. With 1 several calls at
                once use the cores: beside other work threads that share one call wait for each
                other, which took a fifth more processor time a film.
            batch: 0 for the device's own.
            cache: Folder for what TensorRT builds of the model in minutes; None to build it anew.

        Raises:
            GpuRequiredError: `require_gpu`, and no GPU is usable.
            UsageError: both distributions of ONNX Runtime are installed, `require_gpu` with the
                device `cpu`, or ONNX Runtime refuses the model.
        """
        if require_gpu and device == "cpu":
            raise UsageError("--require-gpu contradicts --device cpu", mend="leave one of them out")
        check_installation()
        self.bundle = bundle
        self._findings = len(bundle.card.findings)
        chosen, reasons = choose_providers(device)
        runtime = _runtime_version()
        options = [(name, provider_options(name, cache, bundle.sha256, runtime)) for name in chosen]
        self._session, self.provider = open_session(bundle.content, options, threads or cores())
        asked = chosen[0] if chosen else CPU
        if self.provider != asked:
            reasons.append(f"{asked} did not start")
        why = "; ".join(reasons)
        if self.provider == CPU and require_gpu:
            raise GpuRequiredError(
                "a GPU is required and none is usable",
                why,
                "install the NVIDIA driver and `pip install '.[gpu]'` in the clone, then "
                "`screener doctor`",
            )
        fell_back = self.provider == CPU and device != "cpu"
        self.notice = f"runs on the processor ({why})" if fell_back else ""
        self.batch = batch or BATCH[self.provider]
        self.at_once = cores() if self.provider == CPU and threads == 1 else 1
        self._binding = None if self.provider == CPU else self._bind("cuda")

    def run(self, pixels: NDArray[np.float32]) -> Outputs:
        """Run the graph on any number of images, in batches of one shape.

        Args:
            pixels: float32 (n, 224, 224) in [0, 1], MONOCHROME2 polarity.
        """
        _check_shape(pixels)
        parts = [
            self._run_batch(pixels[i : i + self.batch]) for i in range(0, len(pixels), self.batch)
        ]
        if not parts:
            k = self._findings
            return Outputs(*(np.zeros(s, np.float32) for s in ((0, k, 7, 7), (0, k), (0, k), (0,))))
        return Outputs(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _run_batch(self, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]]
        if self._binding is None:
            outputs = self._session.run(OUTPUTS, {"pixels": np.ascontiguousarray(pixels)[:, None]})
            return outputs
        n = len(pixels)
        padded = np.zeros((self.batch, 1, SIZE, SIZE), np.float32)
        padded[:n, 0] = pixels
        binding, held = self._binding
        held.update_inplace(padded)
        self._session.run_with_iobinding(binding)
        outputs = binding.copy_outputs_to_cpu()
        return [output[:n] for output in outputs]

    def _bind(self, device: str) -> tuple[Any, Any]:
        """Input and outputs that stay on the device from one batch to the next."""
        import onnxruntime

        shape = (self.batch, 1, SIZE, SIZE)
        held = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32), device, 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("pixels", held)
        for name in OUTPUTS:
            binding.bind_output(name, device)
        return binding, held

    def score(self, pixels: NDArray[np.float32]) -> list[Score]:
        """Score images: probabilities are rounded to 4 decimals, as thresholds are meant.

        Args:
            pixels: float32 (n, 224, 224) in [0, 1], MONOCHROME2 polarity.

        Raises:
            RunError: the model gave something that is no number; that is never a negative. Or ONNX
                Runtime failed, of memory for one.
        """
        _check_shape(pixels)
        met: tuple[type[Exception], ...] = (MemoryError, *runtime_errors())
        try:
            outputs = self.run(pixels)
        except met as error:
            raise RunError(
                f"ONNX Runtime failed on {len(pixels)} images: {type(error).__name__}",
                "the last report is intact and what was examined is kept",
                "look for memory that others took, or run with --device cpu; see `screener doctor`",
            ) from error
        for name in OUTPUTS:
            if not np.isfinite(getattr(outputs, name)).all():
                raise RunError(
                    f"the model's {name} is not finite",
                    "nothing can be said of the images of this batch",
                    "run `screener model verify`, or with --device cpu",
                )
        return [
            Score(
                tuple(round(float(score), SCORE_DECIMALS) for score in outputs.score[i]),
                tuple(float(logit) for logit in outputs.logit[i]),
                float(outputs.novelty[i]),
                outputs.cam[i],
            )
            for i in range(len(pixels))
        ]


def _check_shape(pixels: NDArray[np.float32]) -> None:
    if pixels.dtype != np.float32 or pixels.shape[1:] != (SIZE, SIZE):
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not (n, {SIZE}, {SIZE})")


def open_session(
    content: bytes, providers: Sequence[tuple[str, dict[str, str]]], threads: int
) -> tuple[Any, str]:
    """Start a session; returns it and the provider that it really uses.

    Args:
        content: A checked ONNX file.
        providers: GPU providers to ask for and their options, best first; the processor stands in
            for them.
        threads: For one call.

    Raises:
        UsageError: ONNX Runtime refuses the model.
    """
    import onnxruntime

    for _, chosen in providers:
        if folder := chosen.get("trt_engine_cache_path"):
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    onnxruntime.set_default_logger_severity(FATAL)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The decoding workers want the cores too: threads that spin while they wait took 14 % more
    # processor time a film, and no less time, beside other work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=[*providers, CPU], enable_fallback=False
        )
    except runtime_errors() as error:
        if providers:
            # A GPU whose libraries load may still be too old or out of memory.
            return open_session(content, (), threads)
        raise UsageError(
            "ONNX Runtime refuses the model",
            type(error).__name__,
            "export it again, or update onnxruntime",
        ) from error
    return session, session.get_providers()[0]


def runtime_errors() -> tuple[type[Exception], ...]:
    """Everything that ONNX Runtime raises: a dozen types with no parent of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type)]
    return (RuntimeError, ValueError, *(kind for kind in own if issubclass(kind, Exception)))


def _runtime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
