"""The cost of a crop by its size and working scale: the pixels that the network computes, and its time.

    python -m bench sizes
    python -m bench sizes --model tbsrn:3 --rounds 9 --out sizes

    size, working scale -> tiles -> predictor, one tile after the other -> milliseconds

Each round times every size in turn, so that a disturbance affects all of them. Times are of the network alone. The
last column divides each time by that of the crop's area, at its working scale and at the largest tile's rate.
"""

from __future__ import annotations

import argparse
import json
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import trange

from bench.subject import Subject, open_subject
from model_store import tiling
from model_store.pixels import Nchw, Size
from model_store.tiling import Layout
from training.calibration.command import typed_command
from training.calibration.network import add_network
from training.record import machine

# Words and lines, and the scale at which a rule's target blur is reached.
CROPS: tuple[tuple[Size, float], ...] = (
    ((16, 48), 1.0), ((16, 64), 1.0), ((24, 80), 1.0), ((32, 96), 1.0), ((32, 128), 1.0), ((48, 200), 1.0),
    ((48, 200), 0.625), ((48, 200), 0.4), ((64, 256), 0.5), ((64, 256), 0.3), ((32, 600), 1.0), ((48, 1200), 0.5),
    ((120, 400), 0.3), ((300, 2000), 0.2),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_network(parser)
    parser.add_argument("--rounds", type=int, default=9, help="of all sizes in turn (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for report.json and table.md")


def run(args: argparse.Namespace) -> None:
    """Measure and print; with --out also write the figures."""
    subject = open_subject(args, calibrated=False)
    try:
        report = measure(subject, rounds=args.rounds)
    finally:
        subject.predictor.close()
    table = markdown(report)
    print(table)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (args.out / "table.md").write_text(table + "\n", encoding="utf-8")


def measure(subject: Subject, *, rounds: int) -> dict[str, Any]:
    spec = subject.predictor.spec
    sizes = subject.artefact.manifest.input_sizes if subject.artefact else ((spec.height, spec.width),)
    layouts = [tiling.plan(*size, scale=scale, spec=spec, sizes=sizes) for size, scale in CROPS]
    tiles = [np.random.default_rng(0).random((layout.tiles, 3, *layout.tile), np.float32) for layout in layouts]
    largest = np.zeros((1, 3, *sizes[-1]), np.float32)
    seconds: list[list[float]] = [[] for _ in layouts]
    pixel_seconds: list[float] = []  # of one pixel of the largest tile
    for _ in trange(rounds, unit="round", disable=None):
        pixel_seconds.append(_timed(subject, largest) / prod(sizes[-1]))
        for taken, each in zip(seconds, tiles, strict=True):
            taken.append(_timed(subject, each))
    rows = [
        _row(size, scale, layout, median(taken), median(pixel_seconds))
        for (size, scale), layout, taken in zip(CROPS, layouts, seconds, strict=True)
    ]
    return {
        "command": typed_command("bench"),
        "machine": machine(),
        "model": subject.name,
        "runtime": f"{subject.predictor.runtime} {subject.predictor.precision}",
        "rows": rows,
    }


def _timed(subject: Subject, tiles: Nchw) -> float:
    start = perf_counter()
    for tile in tiles:
        subject.predictor.run_blocking(tile[None])
    return perf_counter() - start


def _row(size: Size, scale: float, layout: Layout, seconds: float, pixel_s: float) -> dict[str, Any]:
    area = prod(side * scale for side in size)
    return {
        "crop": f"{size[0]} x {size[1]}",
        "scale": scale,
        "tiles": f"{layout.tiles} of {layout.tile[0]}x{layout.tile[1]}",
        "pixels_over_area": round(layout.pixels / area, 2),
        "milliseconds": round(1000 * seconds, 2),
        "time_over_area": round(seconds / (area * pixel_s), 2),
    }


def markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{report['model']}, {report['runtime']}, {report['machine']}",
        "",
        "| crop, px | working scale | tiles | pixels computed, of its area there | ms | time, of that area's |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        cells = (row["crop"], f"{row['scale']:g}", row["tiles"], f"{row['pixels_over_area']:.2f}")
        lines.append(f"| {' | '.join(cells)} | {row['milliseconds']:.1f} | {row['time_over_area']:.2f} |")
    return "\n".join(lines)
