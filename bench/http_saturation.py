"""`python -m bench http --parts saturation`: the service at saturation beside its own runtime, in turns."""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter, sleep

from tqdm import trange

from app.settings import Settings
from bench.harness.load import Body, closed_loop, multipart
from bench.harness.process import Process, cpu_s, total
from bench.harness.report import Report, Table
from bench.harness.turns import Worker
from bench.http import runs_on, service
from bench.raw_sides import streamed

CROP = Path(__file__).parents[1] / "examples" / "crops" / "harbour.png"  # 56 x 16 px: one window, as most words
SIDES = {1: 32, 16: 4}  # images a request -> connections
PAUSE_S = 1.0  # at most; the service still runs requests whose clients have disconnected
COLUMNS = ("", "images a second", "CPU ms an image", "of the runtime alone", "by CPU time")
Figures = dict[str, float]


def saturation(args: argparse.Namespace) -> Report:
    sizes, models = Settings().batch_sizes, args.model.split(",")
    rounds: dict[str, dict[str, list[Figures]]] = {model: defaultdict(list) for model in models}
    with ExitStack() as stack:
        alone, servers, names = {}, {}, {}
        for model in models:
            alone[model] = Worker(streamed, "openvino", "auto", args.model_store, model, sizes)
            stack.callback(alone[model].close)
            servers[model] = stack.enter_context(service(args, model))
            names[model] = runs_on(servers[model])
        for _ in trange(args.rounds + (not args.quick), desc="saturation", unit="round", disable=None):
            for model, found in rounds.items():
                sleep(min(PAUSE_S, args.seconds))
                for n in sizes:
                    took = figures(*alone[model].ask((n, args.seconds / len(sizes))))
                    found[f"runtime, batches of {n}"].append(took)
                for images, connections in SIDES.items():
                    body, side = multipart(CROP.read_bytes(), images), f"HTTP, {images} a request"
                    load = counted(servers[model], body, connections=connections, seconds=args.seconds)
                    found[side].append(load)
    rows, facts = [], dict[str, str]()
    for model, found in rounds.items():
        sides = {side: medians(taken[-args.rounds :]) for side, taken in found.items()}  # after one that warms
        best = max((side for side in sides if "runtime" in side), key=lambda side: sides[side]["images_per_s"])
        for side, key in {best: "runtime", **{f"HTTP, {n} a request": f"http-{n}" for n in SIDES}}.items():
            it, of = sides[side], sides[best]
            shares = (f"{it['images_per_s'] / of['images_per_s']:.0%}", f"{of['cpu_ms'] / it['cpu_ms']:.0%}")
            rows.append((f"{names[model]}: {side}", shown(it), f"{it['cpu_ms']:.2f}", *shares))
            facts |= {f"{model}-{key}": f"{it['images_per_s']:.0f} images/s", f"{model}-{key}-share": shares[0]}
    table = Table("The service at saturation, beside its runtime alone", COLUMNS, rows)
    return Report({"rounds": rounds}, {"saturation": table}, facts)


def figures(images: float, seconds: float, cpu: float) -> Figures:
    """Without any image, as in a short run on a busy machine, the CPU time of one is infinite."""
    return {"images_per_s": images / seconds, "cpu_ms": 1000 * cpu / images if images else math.inf}


def counted(server: Process, body: Body, *, connections: int, seconds: float) -> Figures:
    """Rates by its counter of tiles, one an image, without the first and the last second, or less if short."""
    margin = min(PAUSE_S, seconds)

    def so_far() -> tuple[float, float, float]:
        return total(server.url(), "telescope_batch_size_sum"), perf_counter(), cpu_s(server.pid)

    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(closed_loop, server.url(), body, connections=connections, seconds=seconds + 2 * margin)
        sleep(margin)
        begin = so_far()
        sleep(seconds)
        end = so_far()
        load.result()
    return figures(*(then - now for then, now in zip(end, begin, strict=True)))


def medians(rounds: Sequence[Figures]) -> Figures:
    """The medians, and the lowest and highest speed."""
    speeds = [one["images_per_s"] for one in rounds]
    middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    return middle | {"low": min(speeds), "high": max(speeds)}


def shown(found: Figures) -> str:
    return f"{found['images_per_s']:.1f} ({found['low']:.1f}-{found['high']:.1f})"
