"""The interface of a runtime: one loaded network on one device, called by one thread for each of its streams."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from app.errors import InferenceFailed, OutOfMemory, StartupError
from model_store.optional import first_line
from model_store.pixels import Nchw
from model_store.store import Artefact

ANY_SIZE = "-any-size"  # suffix of a kind of files: the network's form for sizes other than the trained one
Precision = Literal["auto", "fp32", "bf16", "fp16"]  # of the products; input and output are float32


class Runtime(Protocol):
    name: str  # "paddle", "openvino", "onnx", "torch"
    device: str  # "cpu", "gpu:0"
    precision: str  # "fp32", "bf16", "fp16"
    streams: int  # batches it can run at once, each in its own thread; 1: all calls come from one thread

    def prepare(self, lr_nchw: Nchw) -> None:
        """Compile for this shape, or run once: the first batch then takes no longer than the next ones.

        Raises the errors of `run`.
        """
        ...

    def run(self, lr_nchw: Nchw) -> Nchw:
        """LR float32 (N, 3, h, w) -> SR float32 (N, 3, scale*h, scale*w), row by row.

        (h, w) is one of the manifest's input sizes: the trained size runs the network as it was trained, the
        others run its form for any size. The next call does not write into the result.

        Raises InferenceFailed, or OutOfMemory if a smaller batch might succeed.
        """
        ...

    def rest(self) -> None:
        """Free memory that only a running batch needs, until the next batch. No other call is in progress."""
        ...

    def close(self) -> None:
        """Free the device's memory; no other call follows."""
        ...


def pick_precision(asked: Precision, offered: Sequence[str], *, where: str) -> str:
    """The precision to compute in: `auto` is the first offered. Raises StartupError naming the choices."""
    if asked == "auto":
        return offered[0]
    if asked not in offered:
        raise StartupError(
            f"TELESCOPE_PRECISION={asked} cannot be had from {where}, which computes in {' or '.join(offered)}; "
            "choose that, or auto."
        )
    return asked


def onnx_file(artefact: Artefact, kind: str) -> Path:
    return next(path for path in artefact.files(kind) if path.suffix == ".onnx")


# The libraries' messages for it: they have no exception class of its own.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|bad_alloc|failed to allocate|ALLOC_FAILED|ResourceExhausted", re.IGNORECASE
)


def inference_error(exc: Exception) -> InferenceFailed:
    """Our error for an exception of a runtime's library."""
    kind = OutOfMemory if _OUT_OF_MEMORY.search(str(exc)) else InferenceFailed
    return kind(first_line(exc))
