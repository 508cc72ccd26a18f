"""How fast each engine trains: images a second of whole steps, with the pixel loss alone and with all three.

    python -m bench training
    python -m bench training --batch-size 16 --rounds 8 --sides torch-bfloat16 --json training.json

Every side is a process of its own, so that no framework's threads meet another's, and they take turns step by
step: what else the machine does meets all of them. A figure is the median over the rounds, the best beside
it. The network is TBSRN at its published size, with the STN; the recogniser the small one, with random
weights, for its speed alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.turns import Worker
from model_store.mkl import wake_mkl_on_amd
from training.config import TrainConfig
from training.config_file import build_config
from training.data.samples import Batch
from training.engines import engine_module
from training.record import machine
from training.versions import versions

SIDES = {  # name -> engine, run.amp
    "paddle": ("paddle", "none"),
    "torch": ("torch", "none"),
    "torch-bfloat16": ("torch", "bfloat16"),
}
LOSSES = {"mse": False, "text": True}
WORD = "harbour"  # 7 letters: two more than the average word of a scene
LIBRARIES = ("paddle", "torch", "numpy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch-size", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each side (default: %(default)s)")
    parser.add_argument("--sides", default=",".join(SIDES), help="by comma (default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=0.0, help="PyTorch fuses attention on CPUs without alone")
    parser.add_argument("--compile", action="store_true", help="torch.compile on the torch sides")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")


def run(args: argparse.Namespace) -> None:
    """Measure, print, and keep the figures where asked."""
    load = round(os.getloadavg()[0], 2)
    with TemporaryDirectory() as folder:
        reader = _write_recogniser(Path(folder))
        cases = [(side, loss) for side in args.sides.split(",") for loss in LOSSES]
        works = {case: Worker(_steps, _settings(*case, reader, args), args.batch_size) for case in cases}
        try:
            for worker in works.values():
                worker.ask(0)  # memory is taken, kernels are chosen
            seconds = [{c: w.ask(step) for c, w in works.items()} for step in range(1, args.rounds + 1)]
        finally:
            for worker in works.values():
                worker.close()
    figures = {
        "machine": machine(),
        "load_before": load,
        "libraries": versions(LIBRARIES),
        "batch_size": args.batch_size,
        "dropout": args.dropout,
        "images_per_second": {
            f"{side} {loss}": {
                "median": round(args.batch_size / statistics.median(r[side, loss] for r in seconds), 2),
                "best": round(args.batch_size / min(r[side, loss] for r in seconds), 2),
            }
            for side, loss in cases
        },
    }
    print_figures(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _steps(config: TrainConfig, batch_size: int) -> Callable[[int], float]:
    """What a side answers: the seconds of the step that it is asked for."""
    wake_mkl_on_amd()
    engine = engine_module(config.engine).telescope(config)
    draw, model = np.random.default_rng(0), config.model
    lr = draw.random((batch_size, 3, model.height, model.width), np.float32)
    hr = draw.random((batch_size, 3, model.scale * model.height, model.scale * model.width), np.float32)
    batch = Batch((WORD,) * batch_size, lr, hr)

    def seconds(step: int) -> float:
        started = time.perf_counter()
        engine.step(batch, step=step, learning_rate=1e-4)
        return time.perf_counter() - started

    return seconds


def _settings(side: str, loss: str, reader: Path, args: argparse.Namespace) -> TrainConfig:
    engine, amp = SIDES[side]
    tree: dict[str, Any] = {
        "out": "unused",
        "engine": engine,
        "data": {"rendered": 1, "rendered_validation": 1},
        "model": {"dropout": args.dropout},
        "loss": {"text_focus": LOSSES[loss]},
        "recogniser": reader,
        "run": {"amp": amp, "compile": args.compile and engine == "torch"},
    }
    return build_config(tree, TrainConfig, origin=side)


def _write_recogniser(folder: Path) -> Path:
    from training.architecture import RecogniserConfig
    from training.engines.torch_reader import Recogniser
    from training.engines.torch_weights import save_recogniser

    path = folder / "recogniser.safetensors"
    save_recogniser(path, Recogniser(RecogniserConfig.small()), source={})
    return path


def print_figures(figures: dict[str, Any]) -> None:
    libraries = ", ".join(f"{name} {number}" for name, number in figures["libraries"].items())
    print(f"{figures['machine']}; load {figures['load_before']}; {libraries}")
    print(f"batches of {figures['batch_size']}, dropout {figures['dropout']}\n")
    print(f"{'images a second':24}{'median':>8}{'best':>8}")
    for case, rates in figures["images_per_second"].items():
        print(f"{case:24}{rates['median']:8.2f}{rates['best']:8.2f}")
