"""Training speed of each engine: images a second of whole steps, with the pixel loss alone and with all losses.

    python -m bench training
    python -m bench training --batch-size 16 --rounds 8 --sides torch-bfloat16 --json training.json

Each engine runs in a separate process, so that the threads of one framework do not disturb another. The engines
take turns step by step, so that other load on the machine affects all of them equally. Figures are the median and
the best over the rounds. The network is TBSRN at its published size, with the STN. The recogniser is the small one
with random weights, which do not change the speed.
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
from tqdm import trange

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
WORD = "harbour"  # 7 letters: two more than the average word in scene text
LIBRARIES = ("paddle", "torch", "numpy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch-size", type=int, default=8, help="images in a step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each engine (default: %(default)s)")
    parser.add_argument("--sides", default=",".join(SIDES), help="comma-separated (default: %(default)s)")
    parser.add_argument(
        "--dropout",
        type=float,
        default=0.0,
        help="on CPUs PyTorch fuses attention only if this is 0 (default: %(default)s)",
    )
    parser.add_argument("--compile", action="store_true", help="use torch.compile in the torch engines")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> None:
    """Measure, print, and write the figures to --json if given."""
    load = round(os.getloadavg()[0], 2)
    with TemporaryDirectory() as folder:
        reader = _write_recogniser(Path(folder))
        cases = [(side, loss) for side in args.sides.split(",") for loss in LOSSES]
        workers = {case: Worker(_steps, _settings(*case, reader, args), args.batch_size) for case in cases}
        try:
            for worker in workers.values():
                worker.ask(0)  # allocates memory and selects kernels
            steps = trange(1, args.rounds + 1, unit="step", disable=None)
            seconds = [{c: w.ask(step) for c, w in workers.items()} for step in steps]
        finally:
            for worker in workers.values():
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
    """A function that runs the step with the given number and returns its seconds."""
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
