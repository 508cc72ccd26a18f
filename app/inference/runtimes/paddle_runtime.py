"""Paddle Inference on CPU or GPU: the framework that the model was trained in."""

import os
import warnings
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

from app.errors import StartupError
from app.inference.runtimes.base import ANY_SIZE, Precision, inference_error, pick_precision
from model_store.mkl import wake_mkl_on_amd
from model_store.optional import first_line
from model_store.pixels import Nchw
from model_store.store import Artefact

GPU_POOL_MIB = 512  # allocated at the start; Paddle adds more when a batch needs it


class PaddleRuntime:
    name = "paddle"
    streams = 1

    def __init__(self, artefact: Artefact, *, device: str, threads: int, precision: Precision) -> None:
        seen = visible_gpus()
        if device == "auto":
            device = "gpu:0" if seen else "cpu"
        self.device = device
        # On a CPU Paddle 3.3 refuses bf16 or computes it wrongly; on a GPU nothing but fp32 was measured.
        offered = ("fp32",) if device == "cpu" else ("fp32", "bf16", "fp16")
        self.precision = pick_precision(precision, offered, where=f"Paddle Inference on {device}")
        if device != "cpu" and int(device[len("gpu:") :]) >= seen:
            raise StartupError(
                f"TELESCOPE_DEVICE={device}, but the installed Paddle sees {seen} GPUs; install the "
                "paddlepaddle-gpu build for your CUDA version, choose TELESCOPE_RUNTIME=onnx with "
                "onnxruntime-gpu, or set TELESCOPE_DEVICE=cpu."
            )
        self._threads = threads or os.cpu_count() or 1  # Paddle's own default is 1
        self._trained = artefact.manifest.input_sizes[0]
        self._network = self._opened(artefact, "paddle")
        has_others = artefact.manifest.any_size
        self._any_size = self._opened(artefact, "paddle" + ANY_SIZE) if has_others else self._network

    def _opened(self, artefact: Artefact, kind: str) -> "_Network":
        paths = artefact.files(kind)
        weights = next(path for path in paths if path.suffix == ".pdiparams")
        program = next(path for path in paths if path.suffix in (".json", ".pdmodel"))

        from paddle import inference  # after `visible_gpus` has prepared the environment

        config = inference.Config(str(program), str(weights))
        config.disable_glog_info()
        if self.device == "cpu":
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(self._threads)
        else:
            types = inference.PrecisionType
            kinds = {"fp32": types.Float32, "bf16": types.Bfloat16, "fp16": types.Half}
            config.enable_use_gpu(GPU_POOL_MIB, int(self.device[len("gpu:") :]), kinds[self.precision])
        try:
            return _Network(inference.create_predictor(config))
        except Exception as exc:
            raise StartupError(
                f"Paddle Inference cannot load {program} on {self.device}: {first_line(exc)}."
            ) from exc

    def prepare(self, lr_nchw: Nchw) -> None:
        self.run(lr_nchw)

    def run(self, lr_nchw: Nchw) -> Nchw:
        network = self._network if lr_nchw.shape[2:] == self._trained else self._any_size
        try:
            return network.run(lr_nchw)
        except Exception as exc:
            raise inference_error(exc) from exc

    def rest(self) -> None:
        """Its memory is one pool for all shapes, as large as the largest batch needs."""

    def close(self) -> None:
        del self._network, self._any_size


class _Network:
    """A Paddle predictor with the handles of its input and output."""

    def __init__(self, predictor: Any) -> None:  # noqa: ANN401  Paddle has no types
        self._predictor = predictor
        self._input = predictor.get_input_handle(predictor.get_input_names()[0])
        self._output = predictor.get_output_handle(predictor.get_output_names()[0])

    def run(self, lr_nchw: Nchw) -> Nchw:
        self._input.copy_from_cpu(lr_nchw)
        self._predictor.run()
        return self._output.copy_to_cpu()  # type: ignore[no-any-return]


def visible_gpus() -> int:
    """The number of GPUs that the installed Paddle can use; 0 for a CPU build."""
    wake_mkl_on_amd()
    # Importing Paddle recommends a compiler cache; before it raises, it prints lines to stderr.
    with warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        import paddle

    return paddle.device.cuda.device_count() if paddle.device.is_compiled_with_cuda() else 0
