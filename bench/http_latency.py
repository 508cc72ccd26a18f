"""`python -m bench http --parts latency`: response times at fixed shares of the service's capacity."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from time import sleep
from typing import Any

from tqdm import trange

from bench.http_saturation import CROP, PAUSE_S, SIDES, Figures, loaded, service
from bench.open_loop import latencies, may_raise_priority, unloaded
from bench.wrk import crops

LOADS = (10, 50, 70, 80)  # % of the capacity
COMPARED = 70  # the load whose 99th percentile is compared with the unloaded median
EVENLY, BY_CHANCE = "evenly", "by chance"


def measure(args: argparse.Namespace, report: dict[str, Any]) -> dict[str, Any]:
    """The capacity is measured for one second before each load, because it changes on a shared machine."""
    body = crops(CROP.read_bytes(), 1)
    _, connections = SIDES["1 image a request"]
    rounds: list[dict[str, Figures]] = []
    with service(args) as server:

        def capacity() -> float:
            return loaded(server, 1, connections, seconds=1)["images_per_s"]

        capacity()  # warm
        for turn in trange(args.rounds, desc="latency", unit="round", disable=None):
            found = {"unloaded": _figures(unloaded(server.url, body, requests=max(20, round(args.seconds * 10))))}
            for load in LOADS:
                for how in (EVENLY, BY_CHANCE):
                    per_s = capacity()
                    sleep(PAUSE_S)
                    seed = turn if how == BY_CHANCE else None
                    taken = latencies(server.url, body, per_s=per_s * load / 100, seconds=args.seconds, seed=seed)
                    found[f"{load} %, {how}"] = {"capacity": per_s} | _figures(taken)
            rounds.append(found)
    loads = {load: _medians([one[load] for one in rounds]) for load in rounds[0]}
    return {
        "clients_before_others": may_raise_priority(),
        "loads": loads,
        f"p99_at_{COMPARED}_over_unloaded_median": _over(rounds),
        "rounds": rounds,
    }


def _figures(seconds: list[float]) -> Figures:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"requests": len(seconds)} | {f"p{p}_ms": round(1000 * cuts[p - 1], 2) for p in (50, 95, 99)}


def _medians(rounds: Sequence[Figures]) -> Figures:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def _over(rounds: Sequence[dict[str, Figures]]) -> dict[str, list[float]]:
    """The 99th percentile over the unloaded median in each round, the smallest first."""
    return {
        how: sorted(round(one[f"{COMPARED} %, {how}"]["p99_ms"] / one["unloaded"]["p50_ms"], 2) for one in rounds)
        for how in (EVENLY, BY_CHANCE)
    }


def table(found: dict[str, Any]) -> str:
    lines = ["| load | requests a second at most | median, ms | 95 %, ms | 99 %, ms |", "|---" * 5 + "|"]
    for load, f in found["loads"].items():
        most = f"{f['capacity']:.0f}" if "capacity" in f else ""
        lines.append(f"| {load} | {most} | {f['p50_ms']:.1f} | {f['p95_ms']:.1f} | {f['p99_ms']:.1f} |")
    over = found[f"p99_at_{COMPARED}_over_unloaded_median"]
    ratios = ", ".join(
        f"x{statistics.median(times):.1f} ({times[0]:.1f}-{times[-1]:.1f}) {how}" for how, times in over.items()
    )
    return "\n".join([*lines, f"99 % at {COMPARED} % load over the unloaded median: {ratios}"])
