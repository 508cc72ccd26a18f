"""What a runtime is: one loaded network on one device, called by as many threads as it has streams."""

import re
from collections.abc import Sequence
from typing import Literal, Protocol

from app.errors import InferenceFailed, OutOfMemory, StartupError
from model_store.pixels import Nchw

ANY_SIZE = "-any-size"  # behind a kind of files: the form for other sizes than the trained one
Precision = Literal["auto", "fp32", "bf16", "fp16"]  # what products are computed in; in and out are float32


class Runtime(Protocol):
    name: str  # "paddle", "openvino", "onnx"
    device: str  # "cpu", "gpu:0"
    precision: str  # "fp32", "bf16", "fp16"
    streams: int  # batches that it can run at once, each in a thread of its own; 1: all calls come from one thread

    def run(self, lr_nchw: Nchw) -> Nchw:
        """LR float32 (N, 3, h, w) -> SR float32 (N, 3, scale*h, scale*w), row by row.

        (h, w) is one of the manifest's input sizes: the trained one is the network as it was trained, the others
        are its form for any size.

        The result is the caller's own: the next call does not write into it.
        Raises InferenceFailed, or OutOfMemory when a smaller batch might pass.
        """
        ...

    def close(self) -> None:
        """Give the device's memory back; the runtime is not used again."""
        ...


def pick_precision(asked: Precision, offered: Sequence[str], *, where: str) -> str:
    """The precision to compute in: `auto` is the first offered. Raises StartupError naming what there is."""
    if asked == "auto":
        return offered[0]
    if asked not in offered:
        raise StartupError(
            f"TELESCOPE_PRECISION={asked} cannot be had from {where}, which computes in {' or '.join(offered)}; "
            "choose that, or auto."
        )
    return asked


# How the libraries name memory trouble; they have no exception of its own.
_OUT_OF_MEMORY = re.compile(r"out of memory|bad_alloc|failed to allocate|ResourceExhausted", re.IGNORECASE)


def inference_error(exc: Exception) -> InferenceFailed:
    """A library's exception as ours."""
    kind = OutOfMemory if _OUT_OF_MEMORY.search(str(exc)) else InferenceFailed
    return kind(first_line(exc))


def first_line(exc: BaseException) -> str:
    """What a library says in its first line; the rest is for its developers."""
    text = str(exc).strip()
    return text.splitlines()[0] if text else type(exc).__name__
