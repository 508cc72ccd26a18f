"""The runtime `torch` on a machine without a GPU: its network at every size and precision, and a GPU's buffers."""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import OutOfMemory, StartupError
from app.inference.runtimes.base import onnx_file
from model_store import BUNDLED
from model_store.pixels import Nchw, crops_to_lr
from model_store.store import Artefact, ModelStore
from tests.app.inference.test_runtimes import batch, opened
from training.parity import read_crops

torch = pytest.importorskip("torch")
from app.inference.runtimes import torch_runtime  # noqa: E402
from app.inference.runtimes.torch_network import FoldedTBSRN, read_weights  # noqa: E402
from training.engines.torch_layers import LayerNorm  # noqa: E402
from training.engines.torch_net import TBSRN  # noqa: E402
from training.engines.torch_weights import to_arrays  # noqa: E402

CROPS = Path(__file__).parents[3] / "examples" / "crops"


def network(artefact: Artefact) -> FoldedTBSRN:
    return FoldedTBSRN(*read_weights(artefact.files("weights")[0]))


@pytest.mark.parametrize("model", ["tbsrn:1", "tbsrn:4"])
def test_every_input_size_agrees_with_the_onnx_file(model: str) -> None:
    ort = pytest.importorskip("onnxruntime")
    artefact = ModelStore(BUNDLED).resolve(model)
    runtime = opened("torch", artefact)
    for number, size in enumerate(artefact.manifest.input_sizes):
        lr = np.random.default_rng(0).random((2, 3, *size), np.float32)
        session = ort.InferenceSession(str(onnx_file(artefact, "onnx-any-size" if number else "onnx")))
        assert np.abs(runtime.run(lr) - session.run(None, {"lr": lr})[0]).max() < 1e-4, size


@pytest.mark.parametrize("size", [(16, 32), (24, 40), (8, 8), (32, 64)])
@pytest.mark.parametrize(
    "other", [{}, {"attention": False}, {"scale": 1}, {"scale": 4}, {"dropout_mode": "downscale_in_infer"}]
)
def test_it_computes_the_trained_network(other: dict[str, Any], size: tuple[int, int]) -> None:
    """Also with attention beyond the trained size, which works within tiles, and with random batch statistics."""
    torch.manual_seed(0)
    trained = TBSRN(height=16, width=32, blocks=2, hidden=8, stn=False, **other).eval()
    for module in trained.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
        if isinstance(module, LayerNorm):
            torch.nn.init.uniform_(module.a_2, 0.5, 1.5)
    weights = {name: array.astype(float) for name, array in to_arrays(trained).items()}
    lr = torch.rand(2, 3, *size)
    with torch.inference_mode():
        expected = trained(lr)
        assert (FoldedTBSRN(weights, trained.architecture)(lr) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("precision", "levels"), [("fp16", 1.0), ("bf16", 8.0)])
def test_half_precision_is_within_some_levels(precision: str, levels: float, artefact: Artefact) -> None:
    lr = torch.from_numpy(crops_to_lr(read_crops(CROPS)[:2], artefact.manifest.pixels))
    with torch.inference_mode():
        exact = network(artefact)(lr)
        reduced = network(artefact).to(torch_runtime.TYPES[precision])(lr)
    assert reduced.dtype == torch.float32
    assert 0 < 255 * (reduced - exact).abs().max() < levels


class Stream:
    capturing = False

    def synchronize(self) -> None:
        assert not self.capturing, "work was queued on a stream that captures"


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    """Without attention, which takes several times as long."""
    return ModelStore(BUNDLED).resolve("tbsrn:4")


@pytest.fixture
def on_gpu(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> torch_runtime.TorchRuntime:
    """The runtime with two streams of a GPU, whose memory and graphs are the processor's."""

    def captured(work: Callable[[], Any], stream: Stream, _: Any) -> tuple[Any, Callable[[], None]]:
        stream.capturing = True
        result = work()
        time.sleep(0.05)
        stream.capturing = False
        return result, lambda: result.copy_(work())

    monkeypatch.setattr(torch_runtime, "capture", captured)
    monkeypatch.setattr(torch_runtime, "pinned", torch.zeros)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    runtime = torch_runtime.TorchRuntime(artefact, device="cpu", threads=1, precision="fp32")
    runtime._idle = [torch_runtime.Stream(network(artefact), torch.device("cpu")) for _ in range(2)]
    for stream in runtime._idle:
        stream._on_gpu, stream._stream, stream._memory = True, Stream(), None
    return runtime


def test_batches_of_changing_sizes_pass_through_the_buffers_of_two_streams_unmixed(
    on_gpu: torch_runtime.TorchRuntime, artefact: Artefact
) -> None:
    exact = opened("torch", artefact)
    batches = [np.random.default_rng(n).random((1 + n % 3, 3, 16, 64), np.float32) for n in range(12)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(on_gpu.prepare, batches[:2]))  # the third shape is prepared by its first batch
    begin = threading.Barrier(2)

    def run(lr: Nchw) -> Nchw:
        if lr is batches[0] or lr is batches[1]:
            begin.wait()  # so that both streams are in use
        return on_gpu.run(lr)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(run, batches))  # all are kept, so that one which is overwritten shows
    for lr, sr in zip(batches, found, strict=True):
        assert np.abs(sr - exact.run(lr)).max() < 1e-5


def test_a_closed_runtime_frees_its_network_at_once_and_lends_its_streams_to_the_next(
    on_gpu: torch_runtime.TorchRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without garbage collection, from which the service exempts the objects of its start."""
    streams, place = [one._stream for one in on_gpu._idle], torch.device("cpu")
    monkeypatch.setitem(torch_runtime._SPARE, place, [])
    on_gpu.run(batch(1))
    held = weakref.ref(on_gpu._idle[0]._network)
    gc.disable()
    try:
        on_gpu.close()
        assert held() is None
    finally:
        gc.enable()
    assert torch_runtime._SPARE[place] == streams[::-1]


def test_an_error_of_the_device_stops_the_start_with_its_own_words(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nMore.")

    monkeypatch.setattr(torch_runtime, "Stream", full)
    with pytest.raises(StartupError, match=r"^PyTorch cannot use cpu: CUDA out of memory\. Tried .* MiB\.\.$"):
        opened("torch", artefact)


def test_after_a_batch_that_does_not_fit_its_stream_goes_on(
    on_gpu: torch_runtime.TorchRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(torch_runtime, "capture", full)
        for _ in range(3):
            with pytest.raises(OutOfMemory, match="CUDA out of memory"):
                on_gpu.run(batch(4))
    assert on_gpu.run(batch(1)).shape == (1, 3, 32, 128)
