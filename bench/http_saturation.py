"""`python -m bench http --parts saturation`: the service at saturation compared with its own runtime, in turns."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from tqdm import trange

from app.settings import Settings
from bench.harness.process import total
from bench.raw_sides import streamed
from bench.served import Served
from bench.turns import Worker
from bench.wrk import crops, wrk

CROP = Path(__file__).parents[1] / "examples" / "crops" / "harbour.png"  # 56 x 16 px: one window
SIDES = {"1 image a request": (1, 32), "16 images a request": (16, 4)}  # images, connections
RAMP_S = 1
PAUSE_S = 1  # the service still runs requests whose clients have disconnected
Figures = dict[str, float]


def measure(args: argparse.Namespace, _: object = None) -> dict[str, Any]:
    sizes = Settings().batch_sizes
    found: dict[str, list[Figures]] = {side: [] for side in ("runtime", *SIDES)}
    by_size: dict[int, list[Figures]] = {size: [] for size in sizes}
    runtime = Worker(streamed, "openvino", "auto", args.model_store, args.model, sizes)
    try:
        with service(args) as server:
            for turn in trange(args.rounds + 1, desc="saturation", unit="round", disable=None):
                sleep(PAUSE_S)
                for size in sizes:
                    images, took, cpu_s = runtime.ask((size, args.seconds / len(sizes)))
                    alone = {"images_per_s": images / took, "cpu_ms": 1000 * cpu_s / images, "client_share": 0}
                    if turn:  # the first warms the service
                        by_size[size].append(alone)
                for side, (images, connections) in SIDES.items():
                    over_http = loaded(server, images, connections, args.seconds)
                    if turn:
                        found[side].append(over_http)
    finally:
        runtime.close()
    at_size = {size: medians(rounds) for size, rounds in by_size.items()}
    best = max(sizes, key=lambda size: at_size[size]["images_per_s"])
    found["runtime"] = by_size[best]
    figures = {side: medians(rounds) for side, rounds in found.items()}
    alone = figures["runtime"]
    for side in SIDES:
        figures[side]["share_of_runtime"] = round(figures[side]["images_per_s"] / alone["images_per_s"], 3)
        figures[side]["share_by_cpu"] = round(alone["cpu_ms"] / figures[side]["cpu_ms"], 3)
    return {"best_batch_size": best, "by_batch_size": at_size, "sides": figures, "rounds": found}


def service(args: argparse.Namespace, **settings: str) -> Served:
    return Served(TELESCOPE_MODEL=args.model, TELESCOPE_MODEL_STORE=str(args.model_store.resolve()), **settings)


def loaded(server: Served, images: int, connections: int, seconds: float) -> Figures:
    """Rates from the service's own counters, without the first and last second, when it is not saturated."""
    body = crops(CROP.read_bytes(), images)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(wrk, server.url, body, connections=connections, seconds=seconds + 2 * RAMP_S)
        sleep(RAMP_S)
        begin = _so_far(server)
        sleep(seconds)
        end = _so_far(server)
        client = load.result().client_s / load.result().seconds
    done, took, cpu_s = (then - now for then, now in zip(end, begin, strict=True))
    return {
        "images_per_s": round(done / took, 2),
        "cpu_ms": round(1000 * cpu_s / done, 3),
        "client_share": round(client / (client + cpu_s / took), 3),
    }


def _so_far(server: Served) -> tuple[float, float, float]:
    """Finished images, seconds, CPU seconds."""
    return total(server.url, "telescope_images_total"), perf_counter(), server.cpu_s


def medians(rounds: Sequence[Figures]) -> Figures:
    speeds = [one["images_per_s"] for one in rounds]
    return {
        **{name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]},
        "low": min(speeds),
        "high": max(speeds),
    }


def table(found: dict[str, Any]) -> str:
    lines = [
        "| | images a second | CPU ms an image | of the runtime alone | by CPU time | clients' CPU |",
        "|---" * 6 + "|",
    ]
    for side, f in found["sides"].items():
        name, shares = f"HTTP, {side}", " | | "
        if side == "runtime":
            name = f"runtime alone, batches of {found['best_batch_size']}"
        else:
            shares = f"{f['share_of_runtime']:.0%} | {f['share_by_cpu']:.0%} | {f['client_share']:.0%}"
        speed = f"{f['images_per_s']:.1f} ({f['low']:.1f}-{f['high']:.1f})"
        lines.append(f"| {name} | {speed} | {f['cpu_ms']:.2f} | {shares} |")
    alone = ", ".join(f"{size}: {f['images_per_s']:.1f}" for size, f in found["by_batch_size"].items())
    return "\n".join([*lines, f"runtime alone by batch size, images a second: {alone}"])
