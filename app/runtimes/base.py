"""What a runtime is: one loaded network on one device, called from one thread only."""

import re
from typing import Protocol

from app.errors import InferenceFailed, OutOfMemory
from model_store.pixels import Nchw


class Runtime(Protocol):
    name: str  # "paddle", "openvino", "onnx"
    device: str  # "cpu", "gpu:0"

    def run(self, lr_nchw: Nchw) -> Nchw:
        """LR float32 (N, 3, h, w) -> SR float32 (N, 3, scale*h, scale*w), row by row.

        The result is the caller's own: the next call does not write into it.
        Raises InferenceFailed, or OutOfMemory when a smaller batch might pass.
        """
        ...

    def close(self) -> None:
        """Give the device's memory back; the runtime is not used again."""
        ...


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
