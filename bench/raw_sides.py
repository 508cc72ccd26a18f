"""The sides of `python -m bench raw` and `http`: the reference predictor and the service's runtimes.

`reference`, `served` and `streamed` are called in a worker process (`bench.turns`). Each returns a function that
runs batches and returns their wall and CPU seconds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, Literal

import numpy as np

from app.inference.predictor import Predictor
from app.settings import load_settings
from model_store.store import Artefact, ModelStore
from training.run_state import ROOT, git_commit

Seconds = tuple[float, float]  # wall, CPU of all threads
Run = Callable[[int], Seconds]  # batch size -> seconds
Streamed = Callable[[tuple[int, float]], tuple[int, float, float]]  # batch size, seconds -> images, wall, CPU
Kind = Literal["plain", "tuned", "wrong"]
PROBE = "probe.npz"
SAME = 1e-4


def export_anew(artefact: Artefact, store: Path) -> None:
    """Publish the artefact's weights, exported again by the current code, in another store."""
    from training.export import export

    manifest = artefact.manifest
    with TemporaryDirectory() as folder:
        export(artefact.files("weights")[0], Path(folder), crops=ROOT / "examples" / "crops")
        ModelStore(store).publish(
            Path(folder),
            name=manifest.name,
            version=manifest.version,
            pixels=manifest.pixels,
            training=manifest.training,
            metrics=manifest.metrics,
            licence=manifest.licence,
            git_commit=git_commit() or "unknown",
        )


def write_reference(checkpoint: Path, folder: Path) -> None:
    """Write the trained network, without folding, for Paddle Inference: inference.json and inference.pdiparams.

    Also writes PROBE, which holds a random input and the network's output for it.
    """
    import paddle

    from training.checkpoint import load_checkpoint

    network = load_checkpoint(checkpoint)
    network.eval()
    shape = [None, 3, network.architecture["height"], network.architecture["width"]]
    lr = np.random.default_rng(0).random((1, *shape[1:]), np.float32)
    with paddle.no_grad():
        np.savez(folder / PROBE, lr=lr, sr=network(paddle.to_tensor(lr)).numpy())
    spec = [paddle.static.InputSpec(shape, "float32", "x")]
    static = paddle.jit.to_static(network, input_spec=spec, full_graph=True)
    paddle.jit.save(static, str(folder / "inference"))


def reference(folder: Path, height: int, width: int, kind: Kind) -> Run:
    """Paddle Inference on the trained graph, configured as in PaddleOCR's predict_sr.py: one thread, no oneDNN.

    Two of its options are off because they fail in Paddle 3.3: `enable_memory_optim` raises, and the in-place pass
    gives wrong pixels for this graph. Raises AssertionError if the pixels differ from the trained network's.

    tuned: with oneDNN, all cores, and MKL's fast path on AMD. wrong: with the in-place pass, to measure its speed.
    """
    from model_store.mkl import wake_mkl_on_amd

    if kind == "tuned":
        wake_mkl_on_amd()
    from paddle import inference

    config = inference.Config(str(folder / "inference.json"), str(folder / "inference.pdiparams"))
    config.disable_gpu()
    config.disable_glog_info()
    if kind == "tuned":
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(os.cpu_count() or 1)
    for name in ("conv_transpose_eltwiseadd_bn_fuse_pass", "matmul_transpose_reshape_fuse_pass"):
        config.delete_pass(name)
    if kind != "wrong":
        config.delete_pass("inplace_pass")
    config.switch_use_feed_fetch_ops(False)
    config.switch_ir_optim(True)
    predictor = inference.create_predictor(config)
    given = predictor.get_input_handle(predictor.get_input_names()[0])
    made = predictor.get_output_handle(predictor.get_output_names()[0])

    def run(lr: np.ndarray) -> np.ndarray:
        given.copy_from_cpu(lr)
        predictor.run()
        return np.asarray(made.copy_to_cpu())

    with np.load(folder / PROBE) as probe:
        difference = float(np.abs(run(probe["lr"]) - probe["sr"]).max())
    assert (difference <= SAME) == (kind != "wrong"), (
        f"the reference differs from the trained network by {difference:.1e}"
    )
    return _timed(run, height, width)


def served(runtime: Any, precision: Any, store: Path, model: str, sizes: Sequence[int]) -> Run:  # noqa: ANN401
    """A predictor as the service opens it, which splits a batch over its streams."""
    predictor = _opened(runtime, precision, store, model, sizes)
    return _timed(predictor.run_blocking, predictor.spec.height, predictor.spec.width)


def streamed(runtime: Any, precision: Any, store: Path, model: str, sizes: Sequence[int]) -> Streamed:  # noqa: ANN401
    """The same with all streams busy: each runs one batch after the other of a given size for a given time."""
    predictor = _opened(runtime, precision, store, model, sizes)
    draw = np.random.default_rng(0)

    def run(question: tuple[int, float]) -> tuple[int, float, float]:
        size, for_s = question
        lr = draw.random((size, 3, predictor.spec.height, predictor.spec.width), np.float32)
        cpu, started = process_time(), perf_counter()
        batches = asyncio.run(batch_after_batch(lr, started + for_s))
        return size * batches, perf_counter() - started, process_time() - cpu

    async def batch_after_batch(lr: np.ndarray, end: float) -> int:
        async def stream() -> int:
            batches = 0
            while perf_counter() < end or not batches:
                await predictor.run(lr)
                batches += 1
            return batches

        return sum(await asyncio.gather(*(stream() for _ in range(predictor.streams))))

    return run


def _opened(runtime: Any, precision: Any, store: Path, model: str, sizes: Sequence[int]) -> Predictor:  # noqa: ANN401
    from app.serving.loading import open_predictor

    settings = load_settings(runtime=runtime, precision=precision, device="cpu")
    return open_predictor(settings, ModelStore(store).resolve(model), batch_sizes=sizes)


def _timed(run: Callable[[np.ndarray], object], height: int, width: int) -> Run:
    draw = np.random.default_rng(0)

    def seconds(batch_size: int) -> Seconds:
        lr = draw.random((batch_size, 3, height, width), np.float32)
        cpu, wall = process_time(), perf_counter()
        run(lr)
        return perf_counter() - wall, process_time() - cpu

    return seconds
