"""ONNX Runtime on CPU, or on an NVIDIA GPU with the package onnxruntime-gpu."""

import onnxruntime as ort

from app.errors import StartupError
from app.runtimes.base import first_line, inference_error
from model_store.pixels import Nchw
from model_store.store import Artefact


class OnnxRuntime:
    name = "onnx"

    def __init__(self, artefact: Artefact, *, device: str, threads: int) -> None:
        cuda = "CUDAExecutionProvider"
        if device == "auto":
            device = "gpu:0" if cuda in ort.get_available_providers() else "cpu"
        elif device != "cpu" and cuda not in ort.get_available_providers():
            raise _no_cuda(device)
        self.device = device
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # what is a failure reaches us as an exception
        provider = "CPUExecutionProvider" if device == "cpu" else (cuda, {"device_id": device[len("gpu:") :]})
        path = next(path for path in artefact.files("onnx") if path.suffix == ".onnx")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=[provider])
        except Exception as exc:  # its exceptions derive straight from Exception
            raise StartupError(f"ONNX Runtime cannot load {path} on {device}: {first_line(exc)}.") from exc
        # A provider that fails to start is dropped with a warning, and the processor takes over.
        if device != "cpu" and self._session.get_providers()[0] != cuda:
            raise _no_cuda(device)
        self._input = self._session.get_inputs()[0].name

    def run(self, lr_nchw: Nchw) -> Nchw:
        try:
            (sr,) = self._session.run(None, {self._input: lr_nchw})
        except Exception as exc:
            raise inference_error(exc) from exc
        return sr  # type: ignore[no-any-return]

    def close(self) -> None:
        del self._session


def _no_cuda(device: str) -> StartupError:
    return StartupError(
        f"ONNX Runtime has no working CUDA for TELESCOPE_DEVICE={device}; install onnxruntime-gpu for your CUDA "
        "version, or set TELESCOPE_DEVICE=cpu."
    )
