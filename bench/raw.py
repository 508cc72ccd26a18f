"""Images a second of every runtime, precision and batch size, beside the reference predictor, and the limit.

    python -m bench raw
    python -m bench raw --models tbsrn:2,tbsrn-fast --batch-sizes 1,8 --rounds 5 --chart docs/images/throughput.svg

reference         the network as it was trained, on Paddle Inference as PaddleOCR's predict_sr.py sets it up
reference tuned   the same with oneDNN, every core and MKL's AVX-512 path on AMD: what a careful user gets from it
tbsrn paddle fp32, ...   the published model on each runtime, as the service opens it

Every side is a process of its own and they take turns, so what else the machine does meets all of them. Images a
second are medians over the rounds, with the lowest and highest beside them; CPU ms is the processor time of an
image over all threads, which other work on the machine disturbs little. The limit is what the processor reaches
on nothing but square bf16 products, over the network's own count of operations.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.limit import network_operations, products
from bench.raw_chart import chart
from bench.raw_sides import Seconds, reference, served, write_reference
from bench.turns import Worker
from model_store import BUNDLED
from model_store.store import ModelStore
from training.record import machine
from training.run_state import git_commit
from training.versions import versions

RUNTIMES = (("paddle", "fp32"), ("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
REFERENCE, TUNED = "reference", "reference tuned"
LIBRARIES = ("paddle", "onnxruntime", "openvino", "numpy")
REST_S = 0.3  # between sides: the last one's threads still spin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", default="tbsrn", help="of the store, by comma; the first makes the reference")
    parser.add_argument("--model-store", type=Path, default=BUNDLED, help="default: the bundled one")
    parser.add_argument("--batch-sizes", default="1,8,16", help="by comma (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="batches of each side and size (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/raw.json"), help="default: %(default)s")
    parser.add_argument("--chart", type=Path, help="draw the throughput into this SVG")


def run(args: argparse.Namespace) -> None:
    """Measure, print, and keep the figures and the chart."""
    load = round(os.getloadavg()[0], 2)
    sizes = [int(size) for size in args.batch_sizes.split(",")]
    models = args.models.split(",")
    first = ModelStore(args.model_store).resolve(models[0])
    spec = first.manifest.pixels
    with TemporaryDirectory() as folder:
        # a process of its own, so that Paddle and its threads are not in this one
        writer = Worker(_writer, first.files("weights")[0], Path(folder))
        writer.ask(None)
        writer.close()
        sides = {
            REFERENCE: Worker(reference, Path(folder), spec.height, spec.width, False),
            TUNED: Worker(reference, Path(folder), spec.height, spec.width, True),
        }
        for model in models:
            for runtime, precision in RUNTIMES:
                side = f"{model} {runtime} {precision}"
                sides[side] = Worker(served, runtime, precision, args.model_store, model)
        probes = {precision: Worker(products, precision) for precision in ("fp32", "bf16")}
        try:
            seconds, rates = _measure(sides, probes, sizes, args.rounds)
        finally:
            for worker in (*sides.values(), *probes.values()):
                worker.close()
    report = {
        "command": "python -m bench raw " + shlex.join(sys.argv[2:]),
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "git_commit": git_commit(),
        "machine": machine(),
        "load_before": load,
        "libraries": versions(LIBRARIES),
        "rounds": args.rounds,
        "limit": {model: _limit(model, args.model_store, rates) for model in models},
        "sides": {
            side: {str(size): _figures(found[size], size) for size in sizes} for side, found in seconds.items()
        },
    }
    report["over_reference"] = over_reference(report["sides"])
    print_table(report)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if args.chart:
        args.chart.write_text(chart(report), encoding="utf-8")


def _writer(checkpoint: Path, folder: Path) -> Any:  # noqa: ANN401 - an answer
    return lambda _: write_reference(checkpoint, folder)


def _measure(
    sides: Mapping[str, Worker], probes: Mapping[str, Worker], sizes: Sequence[int], rounds: int
) -> tuple[dict[str, dict[int, list[Seconds]]], dict[str, list[float]]]:
    """Seconds by side and batch size, and operations a second by "bf16 gemm" and so on, one for each round."""
    seconds: dict[str, dict[int, list[Seconds]]] = {side: {size: [] for size in sizes} for side in sides}
    rates: dict[str, list[float]] = {f"{p} {kind}": [] for p in probes for kind in ("gemm", "conv")}
    for turn in range(rounds + 1):
        for side, worker in sides.items():
            time.sleep(REST_S)
            for size in sizes:
                taken = worker.ask(size)
                if turn:  # the first pays for compilation and allocation
                    seconds[side][size].append(taken)
        for name, found in rates.items():
            time.sleep(REST_S)
            precision, kind = name.split()
            found.append(probes[precision].ask(kind))
    return seconds, rates


def _figures(seconds: Sequence[Seconds], size: int) -> dict[str, float]:
    wall = [size / each for each, _ in seconds]
    return {
        "images_per_s": round(statistics.median(wall), 2),
        "low": round(min(wall), 2),
        "high": round(max(wall), 2),
        "cpu_ms_per_image": round(1000 * statistics.median(cpu for _, cpu in seconds) / size, 2),
    }


def _limit(model: str, store: Path, rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    artefact = ModelStore(store).resolve(model)
    spec = artefact.manifest.pixels
    (onnx,) = (path for path in artefact.files("onnx") if path.suffix == ".onnx")
    needed = network_operations(onnx, spec.height, spec.width)
    return {"gflop_per_image": round(needed / 1e9, 3)} | {
        name: {
            "gflop_per_s": round(statistics.median(found) / 1e9, 1),
            "images_per_s": round(statistics.median(found) / needed, 1),
        }
        for name, found in rates.items()
    }


def over_reference(sides: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """How often the reference's speed each side has, each at its best batch size.

    throughput: medians. best: the best rounds, which on a busy machine say more. cpu_time: of an image, over all
    threads. batch_of_...: both at the first batch size asked for.
    """
    best = {side: max(found.values(), key=lambda f: f["images_per_s"]) for side, found in sides.items()}
    highest = {side: max(figures["high"] for figures in found.values()) for side, found in sides.items()}
    first = next(iter(sides[REFERENCE]))
    return {
        side: {
            "throughput": round(best[side]["images_per_s"] / best[REFERENCE]["images_per_s"], 2),
            "best": round(highest[side] / highest[REFERENCE], 2),
            "cpu_time": round(best[REFERENCE]["cpu_ms_per_image"] / best[side]["cpu_ms_per_image"], 2),
            f"batch_of_{first}": round(found[first]["images_per_s"] / sides[REFERENCE][first]["images_per_s"], 2),
        }
        for side, found in sides.items()
    }


def print_table(report: Mapping[str, Any]) -> None:
    libraries = ", ".join(f"{name} {number}" for name, number in report["libraries"].items())
    print(f"{report['machine']}; load {report['load_before']}; {libraries}; {report['rounds']} rounds\n")
    print("| images a second (CPU ms an image) | " + " | ".join(f"batch {n}" for n in report["sides"][REFERENCE]))
    print("|---" * (1 + len(report["sides"][REFERENCE])) + "|---|")
    for side, found in report["sides"].items():
        cells = [
            f"{f['images_per_s']:.1f} ({f['low']:.1f}-{f['high']:.1f}; {f['cpu_ms_per_image']:.1f} ms)"
            for f in found.values()
        ]
        print(f"| {side} | {' | '.join(cells)} | x{report['over_reference'][side]['throughput']:.1f} |")
    print()
    for model, limit in report["limit"].items():
        print(f"{model}: {limit['gflop_per_image']} GFLOP an image")
        for name, found in limit.items():
            if isinstance(found, dict):
                print(f"  {name}: {found['gflop_per_s']} GFLOP/s, {found['images_per_s']} images a second")
