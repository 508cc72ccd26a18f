"""OpenVINO on CPU: the default where no GPU is found, and all that the `cpu` extra installs.

Each batch size is compiled for itself when it first comes, which is at start-up: with sizes that are known
OpenVINO fuses more. Whether batches run as one, on all threads together, or in parts, one a thread, is measured.
"""

from time import perf_counter

import numpy as np
import openvino as ov

from app.errors import StartupError
from app.runtimes.base import Precision, first_line, inference_error, pick_precision
from model_store.pixels import Nchw
from model_store.store import Artefact

SPLIT_PAYS = 1.03  # a split batch has to be this much faster, or noise would decide
TRIALS = 2


class OpenVinoRuntime:
    name = "openvino"
    device = "cpu"

    def __init__(self, artefact: Artefact, *, device: str, threads: int, precision: Precision) -> None:
        if device not in ("auto", "cpu"):
            raise StartupError(
                f"TELESCOPE_RUNTIME=openvino runs on cpu, not on {device}; set TELESCOPE_DEVICE=cpu, "
                "or choose the runtime paddle or onnx for a GPU."
            )
        core = ov.Core()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        # auto is bf16, twice as fast at no cost that was measured: docs/performance.md
        offered = ("bf16", "fp32") if has_bf16 else ("fp32",)
        self.precision = pick_precision(precision, offered, where="OpenVINO on this processor")
        config: dict[str, object] = {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[self.precision]}
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        path = next(path for path in artefact.files("onnx") if path.suffix == ".onnx")
        try:
            self._network = _Network(core.read_model(path), config)
            self._batches = {1: self._network.compiled(1)}
        except RuntimeError as exc:
            raise StartupError(f"OpenVINO cannot load {path}: {first_line(exc)}.") from exc
        self._threads = self._batches[1].threads
        self._splits: bool | None = None  # batches that every thread has a part of; None until it was measured

    def run(self, lr_nchw: Nchw) -> Nchw:
        try:
            if len(lr_nchw) not in self._batches:
                self._batches[len(lr_nchw)] = self._compiled(lr_nchw)
            return self._batches[len(lr_nchw)].run(lr_nchw)
        except RuntimeError as exc:
            raise inference_error(exc) from exc

    def close(self) -> None:
        self._batches.clear()
        del self._network

    def _compiled(self, lr_nchw: Nchw) -> "_Batch":
        size = len(lr_nchw)
        could_split = self._threads > 1 and size % self._threads == 0
        if not could_split or self._splits is False:
            return self._network.compiled(size)
        split = self._network.compiled(size, parts=self._threads)
        if self._splits is None:
            whole = self._network.compiled(size)
            self._splits = split_pays(split, whole, lr_nchw)
            return split if self._splits else whole
        return split


class _Network:
    def __init__(self, model: ov.Model, config: dict[str, object]) -> None:
        self._model = model
        self._config = config

    def compiled(self, size: int, *, parts: int = 1) -> "_Batch":
        """For batches of `size`, as `parts` of equal size at once, each on its share of the threads."""
        fixed = self._model.clone()
        fixed.reshape([size // parts, *list(self._model.input(0).partial_shape)[1:]])
        hint = {"PERFORMANCE_HINT": "LATENCY"} if parts == 1 else {"NUM_STREAMS": parts}
        return _Batch(ov.Core().compile_model(fixed, "CPU", self._config | hint), parts)


class _Batch:
    """The network for one batch size."""

    def __init__(self, model: ov.CompiledModel, parts: int) -> None:
        self.threads = int(model.get_property("INFERENCE_NUM_THREADS"))
        self._requests = [model.create_infer_request() for _ in range(parts)]

    def run(self, lr_nchw: Nchw) -> Nchw:
        parts = np.split(lr_nchw, len(self._requests))
        for request, part in zip(self._requests, parts, strict=True):
            request.start_async([part], share_inputs=True)
        for request in self._requests:
            request.wait()
        return np.concatenate([request.get_output_tensor(0).data for request in self._requests])  # a copy


def split_pays(split: _Batch, whole: _Batch, lr_nchw: Nchw) -> bool:
    """Whether the best of several runs is faster in parts; they take turns, for the machine may be busy."""
    seconds: list[list[float]] = [[], []]
    for _ in range(TRIALS + 1):  # the first pays for allocation and is never the best
        for batch, taken in zip((split, whole), seconds, strict=True):
            started = perf_counter()
            batch.run(lr_nchw)
            taken.append(perf_counter() - started)
    return min(seconds[0]) * SPLIT_PAYS < min(seconds[1])
