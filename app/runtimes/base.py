"""What a runtime is: one loaded network on one device, called from one thread only."""

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


def inference_error(exc: Exception) -> InferenceFailed:
    """A library's exception as ours. The libraries name memory trouble only in the message."""
    text = str(exc)
    lowered = text.lower()
    kind = OutOfMemory if "out of memory" in lowered or "alloc" in lowered else InferenceFailed
    return kind(f"The predictor failed: {text.strip().splitlines()[0] if text.strip() else type(exc).__name__}")
