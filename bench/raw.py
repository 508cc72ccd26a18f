"""Images a second by runtime, precision and batch size, beside the reference predictor and the processor's limit.

The reference is the trained network of the first model as PaddleOCR's predict_sr.py runs it; *tuned* adds oneDNN
and every core. Each side is a process, and they take turns, so that other load meets all. Figures are medians over
the rounds, with the lowest and highest; CPU time is of all threads.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import product
from statistics import median
from typing import Any, NamedTuple

import openvino as ov
from tqdm import trange

from app.settings import Settings
from bench.harness.options import MODEL, Options, Value
from bench.harness.report import Report, Table
from bench.harness.turns import Worker
from bench.limit import operations, precisions, rate
from bench.raw_sides import reference, served
from model_store.store import Artefact, ModelStore
from training.chart import GAIN, INK, SOFT, subplots

MODELS = Value("tbsrn:1,tbsrn", quick="tbsrn:2")  # the first is the exact network, and the reference's
OPTIONS: Options = {**MODEL, "model": MODELS, "rounds": Value(3, quick=1)}
SIZES, REST_S = (1, 8, 16), 0.3  # batch sizes; a pause, as threads of the side before still spin
REFERENCE = "reference"
RUNTIMES = {"Paddle Inference fp32": "paddle", "ONNX Runtime fp32": "onnx", "PyTorch fp32": "torch"}
LIMIT = ("", "products, GFLOP an image", "convolutions", "at most, images/s", "reached")


class Speed(NamedTuple):
    """Images a second: median, lowest, highest; CPU milliseconds an image."""

    images: float
    low: float
    high: float
    cpu_ms: float


Sides = dict[str, dict[int, Speed]]  # side -> batch size -> speed


def measure(args: argparse.Namespace) -> Report:
    models = [ModelStore(args.model_store).resolve(name) for name in args.model.split(",")]
    sizes = SIZES[:1] if args.quick else SIZES
    warmed = sizes if args.quick else sorted({*sizes, *Settings().batch_sizes})  # a batch is split into these
    (weights,) = models[0].files("weights")
    calls: dict[str, tuple[Any, ...]] = {REFERENCE: (reference, weights, False)}
    calls["reference, tuned"] = (reference, weights, True)
    for ref in (model.manifest.ref for model in models):
        for name, runtime in (RUNTIMES | {f"OpenVINO {p}": "openvino" for p in precisions()}).items():
            calls[f"{ref} {name}"] = (served, runtime, name[-4:], args.model_store, ref, warmed)
    calls = {s: call for s, call in calls.items() if not args.quick or s == REFERENCE or "OpenVINO" in s}
    rates: dict[tuple[str, str], list[float]] = {key: [] for key in product(precisions(), ("gemm", "conv"))}
    seconds: dict[str, list[list[tuple[float, float]]]] = {side: [[] for _ in sizes] for side in calls}
    with ExitStack() as stack:
        workers = {side: stack.enter_context(closing(Worker(*call))) for side, call in calls.items()}
        probes = {key: stack.enter_context(closing(Worker(rate, *key))) for key in rates}
        for _ in trange(args.rounds + (not args.quick), unit="round", disable=None):
            for side, worker in workers.items():
                time.sleep(REST_S)
                for size, taken in zip(sizes, seconds[side], strict=True):
                    taken.append(worker.ask(size))
            for key, probe in probes.items():
                time.sleep(REST_S)
                rates[key].append(probe.ask(None))
    sides = {
        side: {n: speed(n, taken[-args.rounds :]) for n, taken in zip(sizes, found, strict=True)}
        for side, found in seconds.items()
    }
    report = compared(sides)
    rows = []
    for role, model in zip(("exact", "default"), models, strict=False):
        needed = network_operations(model)
        for precision in precisions():
            speeds = {kind: median(rates[precision, kind][-args.rounds :]) for kind in needed}
            side = f"{model.manifest.ref} OpenVINO {precision}"
            reached = max(sides[side].values()).images
            most = 1 / sum(needed[kind] / speeds[kind] for kind in needed)
            share = f"{100 * reached / most:.0f} %"
            gflop = (f"{needed[kind] / 1e9:.2f} at {speeds[kind] / 1e9:.0f} a second" for kind in needed)
            rows.append((side, *gflop, f"{most:.1f}", f"{reached:.1f} ({share})"))
            fact = f"{role}-{precision}"
            report.facts |= {fact: f"{reached:.0f} images/s in {precision}", f"{fact}-share": share}
            report.facts[f"{fact}-times-best"] = f"{report.figures['over'][side]['best']:.1f}"
    report.tables["limit"] = Table("The processor's limit", LIMIT, rows)
    missing = "" if "bf16" in precisions() else " alone"
    report.facts["precisions"] = " and ".join(precisions()) + missing
    return report


def speed(size: int, seconds: Sequence[tuple[float, float]]) -> Speed:
    images = [size / wall for wall, _ in seconds]
    return Speed(median(images), min(images), max(images), 1000 * median(cpu for _, cpu in seconds) / size)


def network_operations(model: Artefact) -> dict[str, float]:
    """For one image, by kind."""
    network = ov.Core().read_model(next(path for path in model.files("onnx") if path.suffix == ".onnx"))
    network.reshape([1, 3, model.manifest.pixels.height, model.manifest.pixels.width])
    return operations(network)


def compared(sides: Sides) -> Report:
    """Every side beside the reference: at each batch size, and each side at its best one."""
    bests = {side: max(found.values()) for side, found in sides.items()}
    over, rows = {}, []
    for side, found in sides.items():
        over[side] = {f"batch-{n}": at.images / sides[REFERENCE][n].images for n, at in found.items()}
        over[side]["best"] = bests[side].images / bests[REFERENCE].images
        times = (f"x{x:.1f}" for x in over[side].values())
        cells = (f"{at.images:.1f} ({at.low:.1f}-{at.high:.1f}; {at.cpu_ms:.0f} ms)" for at in found.values())
        rows.append(
            [side, *(f"{cell}, {x}" for cell, x in zip(cells, times, strict=False)), f"x{over[side]['best']:.1f}"]
        )
    columns = ["", *(f"batch {n}" for n in sides[REFERENCE]), "each at its best batch size"]
    table = Table("Images a second (range; CPU time an image), over the reference", columns, rows)
    figure, ((axes,),) = subplots(1, 1, size=(7.5, 0.5 + 0.3 * len(sides)))
    for place, (side, best) in enumerate(bests.items()):
        colour = SOFT if side.startswith(REFERENCE) else GAIN
        axes.barh(place, best.images, color=colour, alpha=1 if "bf16" in side else 0.6)
        axes.plot([best.low, best.high], [place, place], color=INK, linewidth=1)
        axes.text(best.high, place, f"  {best.images:.0f}  (x{over[side]['best']:.1f})", va="center")
    axes.set_yticks(range(len(sides)), list(sides))
    axes.invert_yaxis()
    axes.set_xlim(right=1.2 * max(best.high for best in bests.values()))
    axes.set_xlabel("images of 16x64 a second, and their range over the rounds")
    figures = {"sides": {s: {n: at._asdict() for n, at in f.items()} for s, f in sides.items()}, "over": over}
    return Report(figures, {"throughput": table}, charts={"throughput": figure})
