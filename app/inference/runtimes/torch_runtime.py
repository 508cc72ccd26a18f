"""PyTorch on an NVIDIA GPU or on CPU, from the published weights; PyPI's builds run on current GPUs.

    batch -> pinned memory -> GPU -> CUDA graph of the shape -> pinned memory -> SR

A CUDA graph starts all kernels of the network in one call. Each shape has its own, captured in the warm-up. A GPU
has two streams, each with its own graphs and buffers, so that one copies while the other computes. A CPU has one
stream and no graphs; OpenVINO is faster there.
"""

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.errors import StartupError
from app.inference.runtimes.base import Precision, inference_error, pick_precision
from app.inference.runtimes.torch_network import FoldedTBSRN, read_weights
from model_store.optional import first_line
from model_store.pixels import Nchw
from model_store.store import Artefact

GPU_STREAMS = 2
TRIALS = 3  # of a shape before its graph is captured: the libraries choose their kernels in them
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_PREPARING = threading.RLock()  # the choice of kernels is a setting of the whole process
# Streams of closed models, by device: PyTorch has 32 for each and then hands them out again, in use or not.
_SPARE: dict[torch.device, list[Any]] = defaultdict(list)
Shape = tuple[int, ...]  # of a batch, (N, 3, h, w)
Compute = Callable[[Nchw], Nchw]


class TorchRuntime:
    name = "torch"

    def __init__(self, artefact: Artefact, *, device: str, threads: int, precision: Precision) -> None:
        seen = visible_gpus()
        if device == "auto":
            device = "gpu:0" if seen else "cpu"
        self.device = device
        # auto is the first one offered; on 48 crops fp16 is within 0.7 of 255 levels of fp32, and bf16 within 5
        offered = ("fp32",) if device == "cpu" else ("fp16", "bf16", "fp32")
        self.precision = pick_precision(precision, offered, where=f"PyTorch on {device}")
        if device != "cpu" and int(device[len("gpu:") :]) >= seen:
            raise StartupError(
                f"TELESCOPE_DEVICE={device}, but the installed PyTorch {torch.__version__} sees {seen} GPUs; "
                "install a build for your driver's CUDA version, or set TELESCOPE_DEVICE=cpu."
            )
        if threads:
            torch.set_num_threads(threads)
        (path,) = artefact.files("weights")
        self._place = torch.device(device.replace("gpu", "cuda"))
        self.streams = 1 if device == "cpu" else GPU_STREAMS
        try:
            network = FoldedTBSRN(*read_weights(path)).to(self._place, TYPES[self.precision])
            self._idle = [Stream(network, self._place) for _ in range(self.streams)]
        except RuntimeError as exc:
            raise StartupError(f"PyTorch cannot use {device}: {first_line(exc)}.") from exc

    def prepare(self, lr_nchw: Nchw) -> None:
        with _PREPARING:  # the threads of a warm-up share the streams
            for stream in self._idle:
                self._guarded(stream.run, lr_nchw)

    def run(self, lr_nchw: Nchw) -> Nchw:
        stream = self._idle.pop()  # no other thread uses it
        try:
            return self._guarded(stream.run, lr_nchw)
        finally:
            self._idle.append(stream)

    def rest(self) -> None:
        with self._current():
            torch.cuda.empty_cache()

    def close(self) -> None:
        with _PREPARING:  # a graph must not be freed while another one is captured
            while self._idle:
                self._idle.pop().close()
            self.rest()

    def _current(self) -> AbstractContextManager[None]:
        """Makes the GPU the current one; else PyTorch would also take memory of the first GPU."""
        on_gpu = self._place.type == "cuda"
        return torch.cuda.device(self._place) if on_gpu else nullcontext()

    def _guarded(self, call: Compute, lr_nchw: Nchw) -> Nchw:
        try:
            with self._current(), torch.inference_mode():
                return call(lr_nchw)
        except Exception as exc:
            raise inference_error(exc) from exc


class Stream:
    """One queue of work of a device, with the buffers and graphs of its shapes; one thread uses it at a time."""

    def __init__(self, network: FoldedTBSRN, place: torch.device) -> None:
        self._network, self._place = network, place
        self._on_gpu = place.type == "cuda"
        self._computes: dict[Shape, Compute] = {}
        if self._on_gpu:
            with _PREPARING:
                spare = _SPARE[place]
                self._stream: Any = spare.pop() if spare else torch.cuda.Stream(place)  # type: ignore[no-untyped-call]
            self._memory: Any = torch.cuda.graph_pool_handle()  # one for all graphs, as one runs at a time

    def close(self) -> None:
        self._computes.clear()  # each refers to this object
        if self._on_gpu:
            _SPARE[self._place].append(self._stream)

    def run(self, lr_nchw: Nchw) -> Nchw:
        """Prepares a new shape first."""
        if lr_nchw.shape not in self._computes:
            with _PREPARING:
                self._computes[lr_nchw.shape] = self._captured(lr_nchw.shape) if self._on_gpu else self._on_cpu
        return self._computes[lr_nchw.shape](lr_nchw)

    def _on_cpu(self, lr_nchw: Nchw) -> Nchw:
        sr: Nchw = self._network(torch.from_numpy(np.array(lr_nchw))).numpy()
        return sr

    def _captured(self, shape: Shape) -> Compute:
        given = pinned(shape)
        with torch.cuda.stream(self._stream), kernels(exact=self._network.slope.dtype == torch.float32):
            lr = torch.zeros(shape, device=self._place)
            sr, replay = capture(lambda: self._network(lr), self._stream, self._memory)
        taken = pinned(sr.shape)

        def compute(lr_nchw: Nchw) -> Nchw:
            np.copyto(given.numpy(), lr_nchw)
            with torch.cuda.stream(self._stream):
                lr.copy_(given, non_blocking=True)
                replay()
                taken.copy_(sr, non_blocking=True)
            self._stream.synchronize()
            return taken.numpy().copy()

        return compute


def pinned(shape: Shape) -> Tensor:
    """Memory that a GPU reads and writes without the processor."""
    return torch.zeros(shape, pin_memory=True)


def capture(
    work: Callable[[], Tensor],
    stream: torch.cuda.Stream,
    memory: Any,  # noqa: ANN401  PyTorch has no type for it
) -> tuple[Tensor, Callable[[], None]]:
    """The result of `work`, and a call that computes it again, into the same memory, on the current stream."""
    for _ in range(TRIALS):
        work()
    graph = torch.cuda.CUDAGraph()
    # other threads go on with batches of their own while this one captures
    with torch.cuda.graph(graph, memory, stream, capture_error_mode="thread_local"):
        result = work()
    return result, graph.replay


def kernels(*, exact: bool) -> AbstractContextManager[None]:
    """Times cuDNN's kernels for each shape. exact: without TF32, which would round fp32 products to 10 bits."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=True, allow_tf32=not exact
    )
    return flags


def visible_gpus() -> int:
    """The number of GPUs that the installed PyTorch can use; 0 for a CPU build."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
