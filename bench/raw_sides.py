"""The sides of `python -m bench raw` and `http`: the reference predictor and the service's runtimes.

Each function runs in a worker process (`bench.harness.turns`) and returns the function that the worker calls.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np

from app.inference.predictor import Predictor
from app.serving.loading import open_predictor
from app.settings import load_settings
from model_store.mkl import wake_mkl_on_amd
from model_store.pixels import Nchw, Size
from model_store.store import ModelStore

Timed = Callable[[int], tuple[float, float]]  # batch size -> seconds, CPU seconds of all threads
Streamed = Callable[[tuple[int, float]], tuple[int, float, float]]  # batch size, seconds -> images, wall, CPU
DELETED = ("conv_transpose_eltwiseadd_bn_fuse_pass", "matmul_transpose_reshape_fuse_pass")  # by predict_sr.py
FAILING = ("inplace_pass",)  # in Paddle 3.3


def reference(checkpoint: Path, tuned: bool) -> Timed:
    """The trained network on Paddle Inference as in PaddleOCR's predict_sr.py: one thread, no oneDNN.

    Two of its options are off, as they fail in Paddle 3.3: `enable_memory_optim` raises, and the in-place pass
    gives this graph wrong pixels. tuned: with oneDNN, all cores, and MKL's fast path on AMD. Raises AssertionError
    for pixels that differ from the trained network's by more than 1e-4.
    """
    if tuned:
        wake_mkl_on_amd()
    import paddle

    from training.checkpoint import load_checkpoint

    network = load_checkpoint(checkpoint)
    network.eval()
    shape = (network.architecture["height"], network.architecture["width"])
    with TemporaryDirectory() as folder:
        spec = [paddle.static.InputSpec([None, 3, *shape], "float32", "x")]
        paddle.jit.save(paddle.jit.to_static(network, spec, full_graph=True), f"{folder}/inference")
        config = paddle.inference.Config(f"{folder}/inference.json", f"{folder}/inference.pdiparams")
        config.disable_gpu()
        config.disable_glog_info()
        if tuned:
            config.enable_mkldnn()
            config.set_cpu_math_library_num_threads(os.cpu_count() or 1)
        for name in DELETED + FAILING:
            config.delete_pass(name)
        config.switch_ir_optim(True)
        predictor = paddle.inference.create_predictor(config)

    def run(lr: Nchw) -> Nchw:
        sr: Nchw = predictor.run([paddle.to_tensor(lr)])[0].numpy()
        return sr

    with paddle.no_grad():
        sr = network(paddle.to_tensor(lr := _drawn(1, shape))).numpy()
    np.testing.assert_allclose(run(lr), sr, rtol=0, atol=1e-4)
    return _timed(run, shape)


def served(runtime: str, precision: str, store: Path, model: str, sizes: Sequence[int]) -> Timed:
    """A predictor as the service opens it, which splits a batch over its streams."""
    predictor = _opened(runtime, precision, store, model, sizes)
    return _timed(predictor.run_blocking, (predictor.spec.height, predictor.spec.width))


def streamed(runtime: str, precision: str, store: Path, model: str, sizes: Sequence[int]) -> Streamed:
    """The same with all streams busy: each runs one batch after the other of a given size for a given time."""
    predictor = _opened(runtime, precision, store, model, sizes)

    async def stream(lr: Nchw, end: float) -> int:
        images = 0
        while perf_counter() < end or not images:
            images += len(await predictor.run(lr))
        return images

    async def streams(size: int, for_s: float) -> tuple[int, float, float]:
        lr = _drawn(size, (predictor.spec.height, predictor.spec.width))
        cpu, started = process_time(), perf_counter()
        images = await asyncio.gather(*(stream(lr, started + for_s) for _ in range(predictor.streams)))
        return sum(images), perf_counter() - started, process_time() - cpu

    return lambda question: asyncio.run(streams(*question))


def _opened(runtime: str, precision: str, store: Path, model: str, sizes: Sequence[int]) -> Predictor:
    settings = load_settings(runtime=runtime, precision=precision, device="cpu")
    return open_predictor(settings, ModelStore(store).resolve(model), batch_sizes=sizes)


def _drawn(batch_size: int, shape: Size) -> Nchw:
    return np.random.default_rng(0).random((batch_size, 3, *shape), np.float32)


def _timed(run: Callable[[Nchw], Nchw], shape: Size) -> Timed:
    def seconds(batch_size: int) -> tuple[float, float]:
        lr = _drawn(batch_size, shape)
        cpu, wall = process_time(), perf_counter()
        run(lr)
        return perf_counter() - wall, process_time() - cpu

    return seconds
