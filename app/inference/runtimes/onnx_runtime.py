"""ONNX Runtime on CPU, or on an NVIDIA GPU with the package onnxruntime-gpu.

fp32    CPUExecutionProvider, or CUDAExecutionProvider without TF32
bf16, fp16    TensorrtExecutionProvider, which needs TensorRT beside onnxruntime-gpu
"""

import numpy as np
import onnxruntime as ort

from app.errors import StartupError
from app.inference.runtimes.base import ANY_SIZE, Precision, inference_error, onnx_file, pick_precision
from model_store.optional import first_line
from model_store.pixels import Nchw
from model_store.store import Artefact

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
Provider = str | tuple[str, dict[str, object]]


class OnnxRuntime:
    name = "onnx"
    streams = 1

    def __init__(self, artefact: Artefact, *, device: str, threads: int, precision: Precision) -> None:
        available = ort.get_available_providers()
        if device == "auto":
            device = "gpu:0" if CUDA in available else "cpu"
        elif device != "cpu" and CUDA not in available:
            raise _not_working(CUDA, device)
        self.device = device
        offered = ("fp32", "bf16", "fp16") if device != "cpu" and TENSORRT in available else ("fp32",)
        where = f"ONNX Runtime on {device} with {', '.join(available)}"
        # auto is fp32, the only precision that was measured on a GPU
        self.precision = pick_precision(precision, offered, where=where)
        if device != "cpu":
            ort.preload_dlls()  # CUDA's and cuDNN's libraries, if they are packages of pip
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors alone: a failure raises an exception, too
        self._trained = artefact.manifest.input_sizes[0]
        self._session = self._opened(artefact, "onnx", options)
        has_others = artefact.manifest.any_size
        self._any_size = self._opened(artefact, "onnx" + ANY_SIZE, options) if has_others else self._session
        self._input, self._output = self._session.get_inputs()[0].name, self._session.get_outputs()[0].name
        self._staging: dict[tuple[int, ...], ort.OrtValue] = {}  # batch's shape -> its input on the GPU

    def _opened(self, artefact: Artefact, kind: str, options: ort.SessionOptions) -> ort.InferenceSession:
        path = onnx_file(artefact, kind)
        wanted, names = _providers(self.device, self.precision)
        try:
            session = ort.InferenceSession(str(path), options, providers=wanted)
        except Exception as exc:  # its exceptions derive straight from Exception
            raise StartupError(f"ONNX Runtime cannot load {path} on {self.device}: {first_line(exc)}.") from exc
        # A provider that fails to start is dropped with a warning, and the next one takes over.
        if session.get_providers()[0] != names[0]:
            raise _not_working(names[0], self.device)
        return session

    def prepare(self, lr_nchw: Nchw) -> None:
        self.run(lr_nchw)

    def run(self, lr_nchw: Nchw) -> Nchw:
        try:
            session = self._session if lr_nchw.shape[2:] == self._trained else self._any_size
            if self.device != "cpu":
                return self._run_on_gpu(lr_nchw, session)
            (sr,) = session.run(None, {self._input: lr_nchw})
        except Exception as exc:
            raise inference_error(exc) from exc
        return sr  # type: ignore[no-any-return]

    def rest(self) -> None:
        """Its memory is one arena for all shapes, as large as the largest batch needs."""

    def close(self) -> None:
        self._staging.clear()
        del self._session, self._any_size

    def _run_on_gpu(self, lr_nchw: Nchw, session: ort.InferenceSession) -> Nchw:
        """Copies the batch into GPU memory that is kept for each warmed shape, and the output back once."""
        index = int(self.device[len("gpu:") :])
        if lr_nchw.shape not in self._staging:
            made = ort.OrtValue.ortvalue_from_shape_and_type(lr_nchw.shape, np.float32, "cuda", index)
            self._staging[lr_nchw.shape] = made
        staged = self._staging[lr_nchw.shape]
        staged.update_inplace(lr_nchw)
        binding = session.io_binding()
        binding.bind_ortvalue_input(self._input, staged)
        binding.bind_output(self._output, "cuda", index)
        session.run_with_iobinding(binding)
        (sr,) = binding.copy_outputs_to_cpu()
        return sr  # type: ignore[no-any-return]


def _providers(device: str, precision: str) -> tuple[list[Provider], list[str]]:
    """The providers of a session in order of preference, with their options, and their names alone."""
    if device == "cpu":
        return ["CPUExecutionProvider"], ["CPUExecutionProvider"]
    index: dict[str, object] = {"device_id": int(device[len("gpu:") :])}
    cuda: Provider = (CUDA, index | {"use_tf32": 0})  # TF32 would round fp32 products to 10 bits
    if precision == "fp32":
        return [cuda], [CUDA]
    return [(TENSORRT, index | {f"trt_{precision}_enable": True}), cuda], [TENSORRT, CUDA]


def _not_working(provider: str, device: str) -> StartupError:
    return StartupError(
        f"ONNX Runtime has no working {provider} for TELESCOPE_DEVICE={device}; install "
        "onnxruntime-gpu[cuda,cudnn] for your driver's CUDA version (and TensorRT for less than fp32), or set "
        "TELESCOPE_DEVICE=cpu."
    )


def visible_gpus() -> int:
    """1 if the installed ONNX Runtime is a build for NVIDIA GPUs, else 0; it cannot count them."""
    return int(CUDA in ort.get_available_providers())
