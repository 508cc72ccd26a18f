"""The runtimes for GPUs on a machine without one: errors, precisions, the way a batch takes; and on a real GPU."""

from typing import Any

import numpy as np
import pytest

from app.errors import StartupError
from app.inference.runtimes import open_runtime
from app.inference.runtimes.base import Precision
from model_store.store import Artefact
from tests.app.inference.test_runtimes import batch, opened

GPU_BUILD = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def test_a_gpu_beyond_those_that_paddle_sees_is_refused(
    bundled: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("paddle")
    monkeypatch.setattr("app.inference.runtimes.paddle_runtime.visible_gpus", lambda: 2)
    with pytest.raises(StartupError, match="TELESCOPE_DEVICE=gpu:2, but the installed Paddle sees 2 GPUs"):
        open_runtime("paddle", bundled, device="gpu:2", threads=0, precision="auto")


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
@pytest.mark.parametrize(
    ("device", "precision", "provider"),
    [
        ("auto", "auto", "CUDAExecutionProvider"),
        ("gpu:1", "fp32", "CUDAExecutionProvider"),
        ("gpu:0", "fp16", "TensorrtExecutionProvider"),
        ("gpu:0", "bf16", "TensorrtExecutionProvider"),
    ],
)
def test_a_provider_that_fails_to_start_is_not_replaced_silently(
    device: str, precision: Precision, provider: str, bundled: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build for GPUs lists its providers on any machine; without a driver the session takes the CPU."""
    ort = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(ort, "get_available_providers", lambda: GPU_BUILD)
    found: list[str] = []
    monkeypatch.setattr(ort, "preload_dlls", lambda: found.append("libraries of CUDA"))
    wanted = "gpu:0" if device == "auto" else device
    with pytest.raises(StartupError, match=f"no working {provider} for TELESCOPE_DEVICE={wanted}"):
        open_runtime("onnx", bundled, device=device, threads=0, precision=precision)
    assert found, "pip's packages of CUDA were not looked for"


def test_less_than_fp32_needs_tensorrt(bundled: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    ort = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(ort, "get_available_providers", lambda: GPU_BUILD[1:])
    with pytest.raises(StartupError, match=r"fp16.*ONNX Runtime on gpu:0 with CUDAExecutionProvider"):
        open_runtime("onnx", bundled, device="gpu:0", threads=0, precision="fp16")


@pytest.mark.slow
def test_batches_of_changing_sizes_pass_through_the_memory_for_gpus_unmixed(
    bundled: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime itself computes; the memory that would be the GPU's is the processor's."""
    ort = pytest.importorskip("onnxruntime")
    made, bind = ort.OrtValue.ortvalue_from_shape_and_type, ort.IOBinding.bind_output

    def on_cpu(shape: Any, element: Any, *_: Any) -> Any:
        return made(shape, element, "cpu", 0)

    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_shape_and_type", staticmethod(on_cpu))
    monkeypatch.setattr(ort.IOBinding, "bind_output", lambda self, name, *_: bind(self, name, "cpu"))
    runtime = opened("onnx", bundled)
    sizes = [2, 4, 2, 1, 4]
    expected = [runtime.run(batch(size)) for size in sizes]
    monkeypatch.setattr(runtime, "device", "gpu:0")
    found = [runtime.run(batch(size)) for size in sizes]  # kept, so that one which is overwritten shows
    for there, here in zip(found, expected, strict=True):
        np.testing.assert_array_equal(there, here)
    other = runtime.run(batch(2)[::-1].copy())
    assert np.abs(other - found[2]).max() > 0.01
    np.testing.assert_array_equal(found[2], expected[2])


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["onnx", "paddle", "torch"])
def test_a_gpu_agrees_with_the_processor(name: str, bundled: Artefact) -> None:
    if name == "onnx":
        ort = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" not in ort.get_available_providers():
            pytest.skip("onnxruntime-gpu is not installed")
    elif name == "torch":
        if not pytest.importorskip("torch").cuda.is_available():
            pytest.skip("PyTorch sees no GPU")
    else:
        paddle = pytest.importorskip("paddle")
        if not paddle.device.is_compiled_with_cuda():
            pytest.skip("paddlepaddle-gpu is not installed")
    runtime = open_runtime(name, bundled, device="gpu:0", threads=0, precision="fp32")
    assert runtime.device == "gpu:0"
    for size in (3, 1, 3):
        assert np.abs(runtime.run(batch(size)) - opened(name, bundled).run(batch(size))).max() < 1e-2
