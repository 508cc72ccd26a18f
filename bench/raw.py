"""Images a second by runtime, precision and batch size, compared with the reference and the processor's limit.

    python -m bench raw
    python -m bench raw --models tbsrn:1,tbsrn:2 --export --rounds 7 --chart docs/images/throughput.svg

reference            the trained network on Paddle Inference, configured as in PaddleOCR's predict_sr.py
reference tuned      the same with oneDNN, all cores and MKL's AVX-512 path on AMD: a carefully tuned set-up
reference in place   the same with Paddle's in-place pass, on by default, which gives wrong pixels in 3.3
tbsrn:2 paddle fp32, ...   a model on each runtime, opened as in the service; with --export, its weights are
                           exported again first, because exports of older versions are slower

Each side is a separate process. The sides are measured in turns, so that other load on the machine affects all of
them equally. Images a second are medians over the rounds, followed by the lowest and highest. CPU ms is the
processor time of an image over all threads, which other load hardly affects. The limit is the time that the
network's products would take at the full speed of the processor, which is measured with square matrix products and
with 3x3 convolutions.
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
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import trange

from app.settings import Settings
from bench.limit import network_operations, products
from bench.raw_chart import chart
from bench.raw_sides import Seconds, export_anew, reference, served, write_reference
from bench.turns import Measure, Worker
from model_store import BUNDLED
from model_store.store import Artefact, ModelStore
from training.record import machine
from training.run_state import git_commit
from training.versions import versions

RUNTIMES = (("paddle", "fp32"), ("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
PRECISIONS = ("fp32", "bf16")
REFERENCE = "reference"
REFERENCES = {REFERENCE: "plain", "reference tuned": "tuned", "reference in place": "wrong"}
LIBRARIES = ("paddle", "onnxruntime", "openvino", "numpy")
REST_S = 0.3  # pause between sides: threads of the previous side still spin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", default="tbsrn", help="comma-separated; the first is the reference, too")
    parser.add_argument("--model-store", type=Path, default=BUNDLED, help="folder (default: the bundled one)")
    parser.add_argument("--export", action="store_true", help="export the weights of each model again first")
    parser.add_argument("--batch-sizes", default="1,8,16", help="comma-separated (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="batches of each kind (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/raw.json"), help="JSON (default: %(default)s)")
    parser.add_argument("--chart", type=Path, help="draw a chart of the throughput in this SVG file")


def run(args: argparse.Namespace) -> None:
    """Measure, print, and write the figures and the chart."""
    load = round(os.getloadavg()[0], 2)
    sizes = [int(size) for size in args.batch_sizes.split(",")]
    warmed = sorted({*sizes, *Settings().batch_sizes})  # large batches are split into these sizes
    models = args.models.split(",")
    artefacts = [ModelStore(args.model_store).resolve(model) for model in models]
    spec = artefacts[0].manifest.pixels
    with TemporaryDirectory() as folder:
        store = Path(folder) / "store" if args.export else args.model_store
        # in a separate process, so that Paddle and its threads do not load in this one
        writer = Worker(_writer, artefacts, Path(folder), *([store] if args.export else []))
        writer.ask(None)
        writer.close()
        sides = {
            name: Worker(reference, Path(folder), spec.height, spec.width, kind)
            for name, kind in REFERENCES.items()
        }
        for model in models:
            for runtime, precision in RUNTIMES:
                side = f"{model} {runtime} {precision}"
                sides[side] = Worker(served, runtime, precision, store, model, warmed)
        probes = {precision: Worker(products, precision) for precision in PRECISIONS}
        try:
            seconds, rates = _measure(sides, probes, sizes, args.rounds)
        finally:
            for worker in (*sides.values(), *probes.values()):
                worker.close()
        limits = {model: _limit(model, store, rates) for model in models}
    report = {
        "command": "python -m bench raw " + shlex.join(sys.argv[2:]),
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "git_commit": git_commit(),
        "machine": machine(),
        "load_before": load,
        "libraries": versions(LIBRARIES),
        "rounds": args.rounds,
        "limit": limits,
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


def _writer(artefacts: Sequence[Artefact], folder: Path, *stores: Path) -> Measure:
    def write(_: object) -> None:
        write_reference(artefacts[0].files("weights")[0], folder)
        for artefact, store in product(artefacts, stores):
            export_anew(artefact, store)

    return write


def _measure(
    sides: Mapping[str, Worker], probes: Mapping[str, Worker], sizes: Sequence[int], rounds: int
) -> tuple[dict[str, dict[int, list[Seconds]]], dict[str, list[float]]]:
    """Seconds by side and batch size; operations a second by precision and kind ("bf16 gemm"). A value a round."""
    seconds: dict[str, dict[int, list[Seconds]]] = {side: {size: [] for size in sizes} for side in sides}
    rates: dict[str, list[float]] = {f"{p} {kind}": [] for p in probes for kind in ("gemm", "conv")}
    for turn in trange(rounds + 1, unit="round", disable=None):
        for side, worker in sides.items():
            time.sleep(REST_S)
            for size in sizes:
                taken = worker.ask(size)
                if turn:  # the first round includes compilation and allocation
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
    reached = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "gflop_per_image": {kind: round(count / 1e9, 3) for kind, count in needed.items()},
        "gflop_per_s": {name: round(rate / 1e9, 1) for name, rate in reached.items()},
        "images_per_s": {
            precision: round(1 / sum(count / reached[f"{precision} {kind}"] for kind, count in needed.items()), 1)
            for precision in PRECISIONS
        },
    }


def over_reference(sides: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Speed of each side divided by the speed of the reference, each at its best batch size.

    throughput: from the medians. best: from the best rounds, which are more reliable on a busy machine. cpu_time:
    from the CPU time of an image over all threads. batch_of_N: from the medians, both sides at batch size N.
    """
    best = {side: max(found.values(), key=lambda f: f["images_per_s"]) for side, found in sides.items()}
    highest = {side: max(figures["high"] for figures in found.values()) for side, found in sides.items()}
    reference = sides[REFERENCE]
    return {
        side: {
            "throughput": round(best[side]["images_per_s"] / best[REFERENCE]["images_per_s"], 2),
            "best": round(highest[side] / highest[REFERENCE], 2),
            "cpu_time": round(best[REFERENCE]["cpu_ms_per_image"] / best[side]["cpu_ms_per_image"], 2),
            **{
                f"batch_of_{n}": round(figures["images_per_s"] / reference[n]["images_per_s"], 2)
                for n, figures in found.items()
            },
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
        print(
            f"{model}: GFLOP an image {limit['gflop_per_image']}, the processor's a second {limit['gflop_per_s']}"
        )
        for precision, images in limit["images_per_s"].items():
            best = max(
                figures["images_per_s"]
                for side, found in report["sides"].items()
                for figures in found.values()
                if side.startswith(f"{model} ") and side.endswith(precision)
            )
            print(f"  {precision}: at most {images} images a second, reached {best:.1f} ({best / images:.0%})")
