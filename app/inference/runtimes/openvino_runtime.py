"""OpenVINO on CPU: the default without a GPU, and the only runtime in the extra `cpu`.

The network is compiled once for each batch size of each input size, in the warm-up: OpenVINO fuses more layers if
it knows the sizes. Each of these networks has its own memory for its layers' results: 2.5 MiB for each window of a
batch and each stream. `rest` gives it back until the next batch of that shape.

A measurement decides whether one batch runs on all threads, or one batch on each thread at a time: threads that
share a batch wait for each other after every layer.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
import openvino as ov

from app.errors import StartupError
from app.inference.runtimes.base import ANY_SIZE, Precision, inference_error, onnx_file, pick_precision
from model_store.optional import first_line
from model_store.pixels import Nchw
from model_store.store import Artefact

MIN_SPEEDUP = 1.1  # of a shared batch: under load its threads wait longer for each other than at start-up
TRIALS = 4
Shape = tuple[int, ...]  # of a batch, (N, 3, h, w), or of its images


class OpenVinoRuntime:
    name = "openvino"
    device = "cpu"

    def __init__(self, artefact: Artefact, *, device: str, threads: int, precision: Precision) -> None:
        if device not in ("auto", "cpu"):
            raise StartupError(
                f"TELESCOPE_RUNTIME=openvino runs on cpu, not on {device}; set TELESCOPE_DEVICE=cpu, "
                "or choose the runtime torch, paddle or onnx for a GPU."
            )
        core = ov.Core()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        # auto is the first one offered: bf16 is faster wherever a processor has it
        offered = ("bf16", "fp32") if has_bf16 else ("fp32",)
        self.precision = pick_precision(precision, offered, where="OpenVINO on this processor")
        config: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[self.precision],
            "ENABLE_CPU_PINNING": False,  # each compiled network would pin its first thread to the same core
        }
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        path = onnx_file(artefact, "onnx")
        self._trained: Shape = (3, *artefact.manifest.input_sizes[0])
        self._config = config
        self._compiled: dict[Shape, ov.CompiledModel] = {}
        self._locks: dict[Shape, threading.Lock] = defaultdict(threading.Lock)  # shapes are compiled in parallel
        self._idle: dict[Shape, list[ov.InferRequest]] = defaultdict(list)
        try:
            self._network = core.read_model(path)
            self._any_size = self._network
            if artefact.manifest.any_size:
                self._any_size = core.read_model(onnx_file(artefact, "onnx" + ANY_SIZE))
            self._hint: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
            self.streams = self._measured_streams()
        except RuntimeError as exc:
            raise StartupError(f"OpenVINO cannot load {path}: {first_line(exc)}.") from exc
        if self.streams > 1:
            self._hint = {"NUM_STREAMS": self.streams}

    def prepare(self, lr_nchw: Nchw) -> None:
        """Compiles the network for this shape; a first batch takes no longer than the next."""
        try:
            self._idle[lr_nchw.shape].append(self._request(lr_nchw.shape))
        except RuntimeError as exc:
            raise inference_error(exc) from exc

    def run(self, lr_nchw: Nchw) -> Nchw:
        try:
            request = self._request(lr_nchw.shape)
            sr: Nchw = request.infer([lr_nchw], share_inputs=True)[0]  # a copy
        except RuntimeError as exc:
            raise inference_error(exc) from exc
        self._idle[lr_nchw.shape].append(request)
        return sr

    def rest(self) -> None:
        for compiled in self._compiled.values():
            compiled.release_memory()

    def close(self) -> None:
        self._idle.clear()
        self._compiled.clear()
        del self._network, self._any_size

    def _request(self, shape: Shape) -> ov.InferRequest:
        """A request that no other thread uses."""
        with self._locks[shape]:
            if self._idle[shape]:
                return self._idle[shape].pop()
            if shape not in self._compiled:
                self._compiled[shape] = self._compile(shape, self._hint)
            return self._compiled[shape].create_infer_request()

    def _compile(self, shape: Shape, hint: dict[str, object]) -> ov.CompiledModel:
        network = self._network if shape[1:] == self._trained else self._any_size
        fixed = network.clone()
        fixed.reshape(list(shape))
        return ov.Core().compile_model(fixed, "CPU", self._config | hint)

    def _threads(self) -> int:
        """The threads that OpenVINO would give one network, which only a compiled network tells."""
        compiled = ov.Core().compile_model(_nothing(), "CPU", self._config | self._hint)
        return int(compiled.get_property("INFERENCE_NUM_THREADS"))

    def _measured_streams(self) -> int:
        """One stream for each thread, or a single one."""
        threads = self._threads()
        if threads == 1:
            return 1
        single = (1, *self._trained)
        lr = np.zeros((threads, *self._trained))
        with ThreadPoolExecutor() as pool:
            sharing = pool.submit(self._compile, lr.shape, self._hint)
            apart = self._compile(single, {"NUM_STREAMS": threads})
        together = sharing.result().create_infer_request()
        requests = [apart.create_infer_request() for _ in range(threads)]

        def at_once() -> None:
            for request, one in zip(requests, lr, strict=True):
                request.start_async([one[None]])
            for request in requests:
                request.wait()

        if together_pays(lambda: together.infer([lr]), at_once):
            return 1
        self._compiled[single] = apart
        return threads


def _nothing() -> ov.Model:
    """The smallest network: it gives back its input."""
    from openvino import opset13 as opset  # here, as only this function needs it

    number = opset.parameter([1], np.float32)
    return ov.Model([number], [number])


def together_pays(together: Callable[[], object], at_once: Callable[[], object]) -> bool:
    """Compares the fastest of several runs of each; they take turns, since the machine may be busy."""
    seconds: list[list[float]] = [[], []]
    for _ in range(TRIALS):
        for run, taken in zip((together, at_once), seconds, strict=True):
            started = perf_counter()
            run()
            taken.append(perf_counter() - started)
    return min(seconds[0]) * MIN_SPEEDUP < min(seconds[1])
