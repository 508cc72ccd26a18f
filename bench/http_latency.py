"""`python -m bench http --parts latency`: how long an answer takes when the service has so much to do."""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from bench.http_saturation import CROP, SIDES, loaded, service
from bench.open_loop import latencies, unloaded
from bench.wrk import crops

LOADS = (10, 50, 70, 80)  # % of what saturation reached
JUDGED = 70
EVENLY, BY_CHANCE = "evenly", "by chance"


def measure(args: argparse.Namespace, report: dict[str, Any]) -> dict[str, Any]:
    """The rounds of a load are taken together: a 99th percentile needs many requests."""
    body = crops(CROP.read_bytes(), 1)
    with service(args) as server:
        _, connections = SIDES["1 image a request"]
        loaded(server, 1, connections, args.seconds)  # warm
        capacity = loaded(server, 1, connections, args.seconds)["images_per_s"]
        alone: list[float] = []
        taken: dict[str, list[float]] = {f"{load} %, {how}": [] for load in LOADS for how in (EVENLY, BY_CHANCE)}
        for turn in range(args.rounds):
            alone += unloaded(server.url, body, requests=max(2, round(args.seconds * 4)))
            for load, found in taken.items():
                percent, how = load.split(" %, ")
                per_s = capacity * int(percent) / 100
                seed = turn if how == BY_CHANCE else None
                found += latencies(server.url, body, per_s=per_s, seconds=args.seconds, seed=seed)
    loads = {"unloaded": _figures(alone)} | {load: _figures(found) for load, found in taken.items()}
    median = loads["unloaded"]["p50_ms"]
    over = {how: round(loads[f"{JUDGED} %, {how}"]["p99_ms"] / median, 2) for how in (EVENLY, BY_CHANCE)}
    return {"capacity": capacity, "loads": loads, f"p99_at_{JUDGED}_over_unloaded_median": over}


def _figures(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"requests": len(seconds)} | {f"p{p}_ms": round(1000 * cuts[p - 1], 2) for p in (50, 95, 99)}


def table(found: dict[str, Any]) -> str:
    lines = [
        f"| load, of {found['capacity']:.1f} requests a second | requests | median, ms | 95 %, ms | 99 %, ms |",
        "|---" * 5 + "|",
    ]
    for load, f in found["loads"].items():
        lines.append(f"| {load} | {f['requests']} | {f['p50_ms']:.1f} | {f['p95_ms']:.1f} | {f['p99_ms']:.1f} |")
    over = found[f"p99_at_{JUDGED}_over_unloaded_median"]
    told = ", ".join(f"x{times:.1f} {how}" for how, times in over.items())
    return "\n".join([*lines, f"99 % at {JUDGED} % load over the unloaded median: {told}"])
