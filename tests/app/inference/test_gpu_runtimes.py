"""The runtimes on GPUs: the calls they make, against fakes of the libraries, since the tests have no GPU."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.errors import StartupError
from app.inference.runtimes import open_runtime
from app.inference.runtimes.base import Precision
from model_store.store import Artefact
from tests.app.fakes import nearest_x2
from tests.app.inference.test_runtimes import batch, opened


class PaddleWithGpus(ModuleType):
    """The part of Paddle Inference that the runtime uses, on a machine with two GPUs."""

    def __init__(self) -> None:
        super().__init__("paddle")
        self.asked: list[tuple[str, Any]] = []
        cuda = SimpleNamespace(device_count=lambda: 2)
        self.device = SimpleNamespace(cuda=cuda, is_compiled_with_cuda=lambda: True)
        handle = SimpleNamespace()
        predictor = SimpleNamespace(
            get_input_names=lambda: ["lr"],
            get_output_names=lambda: ["sr"],
            get_input_handle=lambda name: handle,
            get_output_handle=lambda name: handle,
        )
        asked = self.asked

        class Config:
            def __init__(self, program: str, weights: str) -> None:
                asked.append(("files", (Path(program).name, Path(weights).name)))

            def __getattr__(self, name: str) -> Any:
                return lambda *arguments: asked.append((name, arguments))

        precisions = SimpleNamespace(Float32="Float32", Half="Half", Bfloat16="Bfloat16")
        self.inference = SimpleNamespace(
            Config=Config, PrecisionType=precisions, create_predictor=lambda config: predictor
        )


def test_paddle_is_set_up_on_the_gpu_of_the_setting(bundled: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.inference.runtimes.paddle_runtime import GPU_POOL_MIB, PaddleRuntime

    paddle = PaddleWithGpus()
    monkeypatch.setitem(sys.modules, "paddle", paddle)
    runtime = PaddleRuntime(bundled, device="gpu:1", threads=0, precision="fp16")
    assert (runtime.device, runtime.precision) == ("gpu:1", "fp16")
    assert ("enable_use_gpu", (GPU_POOL_MIB, 1, "Half")) in paddle.asked
    assert ("files", ("inference.json", "inference.pdiparams")) in paddle.asked
    first = PaddleRuntime(bundled, device="auto", threads=0, precision="auto")
    assert (first.device, first.precision) == ("gpu:0", "fp32")
    assert ("enable_use_gpu", (GPU_POOL_MIB, 0, "Float32")) in paddle.asked
    with pytest.raises(StartupError, match="sees 2 GPUs"):
        PaddleRuntime(bundled, device="gpu:2", threads=0, precision="auto")


class OnnxOnGpu:
    """The part of ONNX Runtime that the runtime uses, with CUDA and TensorRT; its network repeats pixels."""

    SessionOptions = SimpleNamespace

    def __init__(self, *, broken: str = "") -> None:
        self.broken = broken  # a provider that is there and fails to start
        self.asked: list[Any] = []
        self.staged: list[tuple[Any, ...]] = []
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=self._stage)

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, path: str, options: Any, providers: list[Any]) -> Any:
        self.asked = providers
        bound: dict[str, Any] = {}
        binding = SimpleNamespace(
            bind_ortvalue_input=bound.__setitem__,
            bind_output=lambda name, *where: bound.update({name: where}),
            copy_outputs_to_cpu=lambda: [nearest_x2(bound["lr"].lr)],
        )
        names = [name for name, _ in providers if name != self.broken]
        return SimpleNamespace(
            get_providers=lambda: [*names, "CPUExecutionProvider"],
            get_inputs=lambda: [SimpleNamespace(name="lr")],
            get_outputs=lambda: [SimpleNamespace(name="sr")],
            io_binding=lambda: binding,
            run_with_iobinding=lambda _: bound["sr"] == ("cuda", 1) or pytest.fail("the output is not on the GPU"),
        )

    def _stage(self, *where: Any) -> Any:
        self.staged.append(where)
        staged = SimpleNamespace()
        staged.update_inplace = lambda lr: setattr(staged, "lr", lr.copy())
        return staged


ONLY_CUDA = ("CUDAExecutionProvider", {"device_id": 1, "use_tf32": 0})
HALF = ("TensorrtExecutionProvider", {"device_id": 1, "trt_fp16_enable": True})


@pytest.mark.parametrize(("precision", "providers"), [("auto", [ONLY_CUDA]), ("fp16", [HALF, ONLY_CUDA])])
def test_onnx_runtime_is_set_up_on_the_gpu_of_the_setting(
    precision: Precision, providers: list[Any], bundled: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.inference.runtimes import onnx_runtime

    fake = OnnxOnGpu()
    monkeypatch.setattr(onnx_runtime, "ort", fake)
    runtime = onnx_runtime.OnnxRuntime(bundled, device="gpu:1", threads=0, precision=precision)
    assert fake.asked == providers
    for size in (2, 4, 2):
        assert (runtime.run(batch(size)) == nearest_x2(batch(size))).all()
    # memory on the GPU, once for each batch size
    assert fake.staged == [((size, 3, 16, 64), np.float32, "cuda", 1) for size in (2, 4)]


def test_a_tensorrt_that_fails_to_start_is_not_replaced_silently(
    bundled: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.inference.runtimes import onnx_runtime

    monkeypatch.setattr(onnx_runtime, "ort", OnnxOnGpu(broken="TensorrtExecutionProvider"))
    with pytest.raises(StartupError, match="no working TensorrtExecutionProvider"):
        onnx_runtime.OnnxRuntime(bundled, device="gpu:0", threads=0, precision="bf16")


@pytest.mark.gpu
def test_onnx_runtime_on_a_gpu_agrees_with_the_processor(bundled: Artefact) -> None:
    ort = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("onnxruntime-gpu is not installed")
    runtime = open_runtime("onnx", bundled, device="gpu:0", threads=0, precision="fp32")
    assert np.abs(runtime.run(batch(3)) - opened("onnx", bundled).run(batch(3))).max() < 1e-2
