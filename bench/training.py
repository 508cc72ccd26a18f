"""The speed of training: pairs rendered and degraded a second, and images a second of each engine's steps.

Pairs come from the processes of `make-data`; the best round counts. Each engine is a process, and they take turns
step by step: TBSRN at its published size with the STN, for the pixel loss and for all losses with the small
recogniser, whose random weights do not change the speed. Figures are medians with the lowest and highest.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from itertools import count, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from tqdm import trange

from bench.harness.options import Options, Value
from bench.harness.report import Report, Table
from bench.harness.turns import Worker
from bench.limit import precisions
from model_store.mkl import wake_mkl_on_amd
from training.config import TrainConfig
from training.config_file import build_config
from training.data.builders import WordBuilder
from training.data.degrade_config import DegradeConfig
from training.data.fonts import Font, find_fonts
from training.data.parallel import ordered_map
from training.data.samples import Batch
from training.engines import engine_module

OPTIONS: Options = {"seconds": Value(5.0, quick=0.2), "rounds": Value(5, quick=1)}
ENGINES = {
    "Paddle fp32": ("paddle", "none"),
    "PyTorch fp32": ("torch", "none"),
    "PyTorch bf16": ("torch", "bfloat16"),
}
LOSSES = {"pixels": False, "all losses": True}
BATCH, WORD = 8, "harbour"  # of 7 letters: two more than the average word in scene text
WARM_UP = 32  # pairs of each process before the clock starts


def measure(args: argparse.Namespace) -> Report:
    cv2.setNumThreads(1)
    fonts = find_fonts(None)
    pairs = {n: max(with_workers(n, fonts, args.seconds) for _ in range(args.rounds)) for n in (1, 2)}
    cases = [(engine, loss) for engine in ENGINES if engine[-4:] in precisions() for loss in LOSSES]
    steps = engine_steps(cases[1:3] if args.quick else cases, args.rounds)
    rows = [(*case, f"{median(r):.1f} ({min(r):.1f}-{max(r):.1f})") for case, r in steps.items()]
    facts = {"one-process": f"{pairs[1]:.0f} pairs/s", "two-processes": f"{pairs[2]:.0f} pairs/s"}
    facts |= {"gain": f"{pairs[2] / pairs[1]:.2f} times", "fonts": f"{len(fonts)} fonts"}
    table = Table(f"Steps, batches of {BATCH}", ("engine", "loss", "images/s"), rows)
    figures = {"pairs": pairs, "steps": {", ".join(case): rates for case, rates in steps.items()}}
    return Report(figures, {"steps": table}, facts)


def with_workers(workers: int, fonts: tuple[Font, ...], seconds: float) -> float:
    """Rendered and degraded pairs a second, PNG encoding included."""
    builder = partial(WordBuilder, config=DegradeConfig(), seed=0, fonts=fonts)
    with closing(ordered_map(builder, count(), workers=workers if workers > 1 else 0)) as made:
        for _ in islice(made, WARM_UP * workers):
            pass
        done, started = 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < seconds:
            next(made)
            done += 1
    return done / taken


def engine_steps(cases: list[tuple[str, str]], rounds: int) -> dict[tuple[str, str], list[float]]:
    """Images a second of each step."""
    from training.architecture import RecogniserConfig
    from training.engines.torch_reader import Recogniser
    from training.engines.torch_weights import save_recogniser

    with TemporaryDirectory() as folder, ExitStack() as stack:
        reader = Path(folder, "recogniser.safetensors")
        save_recogniser(reader, Recogniser(RecogniserConfig.small()), source={})
        workers = {c: stack.enter_context(closing(Worker(stepper, settings(*c, reader)))) for c in cases}
        found: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
        for step in trange(rounds + 1, unit="step", disable=None):
            for case, worker in workers.items():
                found[case].append(BATCH / worker.ask(step))
    return {case: rates[1:] for case, rates in found.items()}  # the first allocates memory and selects kernels


def stepper(config: TrainConfig) -> Callable[[int], float]:
    """A function that runs the step with the given number and returns its seconds."""
    wake_mkl_on_amd()
    engine = engine_module(config.engine).telescope(config)
    draw, model = np.random.default_rng(0), config.model
    lr = draw.random((BATCH, 3, model.height, model.width), np.float32)
    hr = draw.random((BATCH, 3, model.scale * model.height, model.scale * model.width), np.float32)

    def seconds(step: int) -> float:
        started = time.perf_counter()
        engine.step(Batch((WORD,) * BATCH, lr, hr), step=step, learning_rate=1e-4)
        return time.perf_counter() - started

    return seconds


def settings(engine: str, loss: str, reader: Path) -> TrainConfig:
    name, amp = ENGINES[engine]
    tree: dict[str, Any] = {"out": "unused", "engine": name, "run": {"amp": amp}, "recogniser": reader}
    tree |= {"data": {"rendered": 1, "rendered_validation": 1}, "loss": {"text_focus": LOSSES[loss]}}
    tree |= {"model": {"dropout": 0}}  # on CPUs PyTorch fuses attention only without it
    return build_config(tree, TrainConfig, origin=engine)
