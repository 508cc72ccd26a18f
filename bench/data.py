"""The speed of making training data: pairs a second for each core, and the gain of more processes.

    python -m bench data
    python -m bench data --seconds 10 --workers 1,2,4 --json data.json

*One core* measures rendering and degradation alone in one process and one thread, over its CPU time, which other
work on the machine disturbs little. *Workers* measures whole samples from the pool of processes that `make-data`
uses, over wall time. A plain loop in equally many processes runs beside it and shows the largest possible gain on
a machine that does other work too. Both report the best of several rounds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import trange

from training.data.builders import WordBuilder
from training.data.crops import make_pair, sample_seed
from training.data.degrade import degrade
from training.data.degrade_config import DegradeConfig
from training.data.fonts import Font, find_fonts
from training.data.parallel import ordered_map
from training.data.synth import SynthConfig, render_word
from training.data.words import random_word
from training.record import machine
from training.versions import versions

LIBRARIES = ("numpy", "cv2", "PIL")
TARGETS = {"render": 300, "degrade": 1000}  # pairs a second for each core
CROPS = 64  # different words to degrade, of every length
LOOP_SECONDS = 2.0
WARM_UP = 32  # samples before the clock starts: fonts are loaded, processes started


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement (default: %(default)s)")
    parser.add_argument("--workers", default="1,2", help="numbers of processes, by comma (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of the workers (default: %(default)s)")
    parser.add_argument("--fonts", type=Path, help="folder of fonts (default: those installed)")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")


def run(args: argparse.Namespace) -> None:
    """Measure and print; with --json also write the figures."""
    cv2.setNumThreads(1)
    fonts = find_fonts(args.fonts)
    figures: dict[str, Any] = {
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 2),
        "libraries": versions(LIBRARIES),
        "fonts": len(fonts),
        "one_core": {name: one_core(work, args.seconds) for name, work in tasks(fonts).items()},
        "workers": best_rounds([int(n) for n in args.workers.split(",")], fonts, args),
    }
    print_figures(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def tasks(fonts: tuple[Font, ...]) -> dict[str, Callable[[int], object]]:
    """The measured tasks by name, each a function of a sample's number."""
    synth, config = SynthConfig(), DegradeConfig()

    def render(number: int) -> np.ndarray:
        seed = sample_seed(0, str(number))
        return render_word(random_word(np.random.default_rng(seed)), config=synth, fonts=fonts, seed=seed)

    hr = [make_pair(render(number), config=config, seed=0)[0] for number in range(CROPS)]
    return {"render": render, "degrade": lambda number: degrade(hr[number % CROPS], config=config, seed=number)}


def one_core(work: Callable[[int], object], seconds: float) -> dict[str, float]:
    """Samples a second of CPU time and of wall time, in this process."""
    for number in range(WARM_UP):
        work(number)
    cpu, wall = time.process_time(), time.perf_counter()
    for done in count(1):
        work(WARM_UP + done)
        if time.perf_counter() - wall > seconds:
            break
    rates = {
        "per_cpu_second": done / (time.process_time() - cpu),
        "per_second": done / (time.perf_counter() - wall),
    }
    return {name: round(rate, 1) for name, rate in rates.items()}


def with_workers(workers: int, fonts: tuple[Font, ...], seconds: float) -> float:
    """Rendered and degraded pairs a second, PNG encoding included, through `workers` processes."""
    builder = partial(WordBuilder, config=DegradeConfig(), seed=0, fonts=fonts)
    made = ordered_map(builder, count(), workers=workers if workers > 1 else 0)
    for _ in range(WARM_UP * workers):
        next(made)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        next(made)
        done += 1
    rate = done / (time.perf_counter() - started)
    made.close()  # ends the processes
    return round(rate, 1)


def best_rounds(
    numbers: Sequence[int], fonts: tuple[Font, ...], args: argparse.Namespace
) -> dict[int, dict[str, float]]:
    """For each number of processes: pairs a second, and millions of turns a second of a plain loop."""
    best = {number: {"pairs_per_second": 0.0, "loop": 0.0} for number in numbers}
    for _ in trange(args.rounds, unit="round", disable=None):
        for number, figures in best.items():  # in turn, so that a disturbance meets all of them
            pairs = with_workers(number, fonts, args.seconds)
            figures["pairs_per_second"] = max(figures["pairs_per_second"], pairs)
            figures["loop"] = max(figures["loop"], plain_loop(number))
    return best


def plain_loop(processes: int) -> float:
    """Millions of turns a second, summed over processes that share nothing."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        turns = pool.map(_turn, [LOOP_SECONDS] * processes, chunksize=1)
    return round(sum(turns) / LOOP_SECONDS / 1e6, 2)


def _turn(seconds: float) -> int:
    turns, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        turns += 1
    return turns


def print_figures(figures: dict[str, Any]) -> None:
    libraries = ", ".join(f"{name} {number}" for name, number in figures["libraries"].items())
    print(f"{figures['machine']}; load {figures['load_before']}; {libraries}; {figures['fonts']} fonts\n")
    print(f"{'one core':10}{'pairs/CPU-s':>14}{'pairs/s':>10}{'target':>8}")
    for name, rates in figures["one_core"].items():
        print(f"{name:10}{rates['per_cpu_second']:14.0f}{rates['per_second']:10.0f}{TARGETS[name]:8}")
    print(
        f"\n{'workers':10}{'pairs/s':>14}{'times first':>13}{'plain loop':>12}   (rendered, degraded, PNG encoded)"
    )
    first = next(iter(figures["workers"].values()))
    for workers, found in figures["workers"].items():
        gain, loop = (found[key] / first[key] for key in ("pairs_per_second", "loop"))
        print(f"{workers:<10}{found['pairs_per_second']:14.0f}{gain:13.2f}{loop:12.2f}")
