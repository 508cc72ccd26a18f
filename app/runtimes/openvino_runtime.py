"""OpenVINO on CPU: the default where no GPU is found, and all that the `cpu` extra installs."""

import openvino as ov

from app.errors import StartupError
from app.runtimes.base import first_line, inference_error
from model_store.pixels import Nchw
from model_store.store import Artefact


class OpenVinoRuntime:
    name = "openvino"
    device = "cpu"

    def __init__(self, artefact: Artefact, *, device: str, threads: int) -> None:
        if device not in ("auto", "cpu"):
            raise StartupError(
                f"TELESCOPE_RUNTIME=openvino runs on cpu, not on {device}; set TELESCOPE_DEVICE=cpu, "
                "or choose the runtime paddle or onnx for a GPU."
            )
        config: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",  # one batch at a time gets every core
            # Left to itself OpenVINO takes bf16 where the processor has it: other pixels on other machines.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        path = next(path for path in artefact.files("onnx") if path.suffix == ".onnx")
        try:
            model = ov.Core().compile_model(str(path), "CPU", config)
            self._request = model.create_infer_request()
        except RuntimeError as exc:
            raise StartupError(f"OpenVINO cannot load {path}: {first_line(exc)}.") from exc

    def run(self, lr_nchw: Nchw) -> Nchw:
        try:
            (sr,) = self._request.infer([lr_nchw], share_inputs=True).values()
        except RuntimeError as exc:
            raise inference_error(exc) from exc
        return sr  # type: ignore[no-any-return]  # a copy: share_outputs is off

    def close(self) -> None:
        del self._request
