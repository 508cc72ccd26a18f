"""OpenVINO on CPU: the default where no GPU is found, and all that the `cpu` extra installs."""

import openvino as ov

from app.errors import StartupError
from app.runtimes.base import Precision, first_line, inference_error, pick_precision
from model_store.pixels import Nchw
from model_store.store import Artefact


class OpenVinoRuntime:
    name = "openvino"
    device = "cpu"

    def __init__(self, artefact: Artefact, *, device: str, threads: int, precision: Precision) -> None:
        if device not in ("auto", "cpu"):
            raise StartupError(
                f"TELESCOPE_RUNTIME=openvino runs on cpu, not on {device}; set TELESCOPE_DEVICE=cpu, "
                "or choose the runtime paddle or onnx for a GPU."
            )
        core = ov.Core()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        # auto is bf16, twice as fast at no cost that was measured: docs/performance.md
        offered = ("bf16", "fp32") if has_bf16 else ("fp32",)
        self.precision = pick_precision(precision, offered, where="OpenVINO on this processor")
        config: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",  # one batch at a time gets every core
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[self.precision],
        }
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        path = next(path for path in artefact.files("onnx") if path.suffix == ".onnx")
        try:
            model = core.compile_model(str(path), "CPU", config)
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
