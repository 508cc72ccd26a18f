"""`python -m bench http --parts latency,capacity,start`: response times, the size of a replica, its start."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence

from tqdm import trange

from app.inference.runtimes import RUNTIMES
from bench.harness.load import Answer, Body, closed_loop, open_loop
from bench.harness.process import MIB, rss
from bench.harness.report import Report, Table
from bench.http import runs_on, service
from bench.http_saturation import CROP, PAUSE_S, counted

ONE = Body(CROP.read_bytes())
LOADS = (0, 10, 50, 70, 80)  # % of the capacity; 0: one after another


def latency(args: argparse.Namespace) -> Report:
    """The capacity is measured for a second at most before each load, because it changes on a shared machine."""
    rounds: dict[int, list[tuple[float, ...]]] = {load: [] for load in LOADS[: 2 if args.quick else None]}
    pause = min(PAUSE_S, args.seconds)
    with service(args) as server:
        title = f"Response times of {runs_on(server)}, one crop of 56 x 16 px a request"
        for _ in trange(args.rounds, desc="latency", unit="round", disable=None):
            for load, found in rounds.items():
                per_s = load and load / 100 * counted(server, ONE, connections=32, seconds=pause)["images_per_s"]
                time.sleep(pause)
                requests = max(20, round((per_s or 10) * args.seconds))
                answers = open_loop(server.url(), ONE, requests=requests, per_s=per_s or None)
                found.append((per_s, *percentiles(answers)))
    rows = []
    for load, found in rounds.items():
        per_s, *times = (statistics.median(column) for column in zip(*found, strict=True))
        name, rate = (f"{load} % of the capacity", f"{per_s:.0f}") if load else ("one after another", "")
        rows.append((name, rate, *(f"{ms:.1f}" for ms in times)))
    columns = ("load", "requests a second", "median, ms", "95 %, ms", "99 %, ms")
    return Report({"rounds": rounds}, {"latency": Table(title, columns, rows)})


def percentiles(answers: Sequence[Answer]) -> tuple[float, ...]:
    """Percentiles 50, 95 and 99 in ms. Raises SystemExit if a request did not succeed."""
    if refused := [answer.status for answer in answers if answer.status != 200]:
        raise SystemExit(f"{len(refused)} of {len(answers)} requests ended with {set(refused)}, not 200.")
    cuts = statistics.quantiles((1000 * answer.seconds for answer in answers), n=100, method="inclusive")
    return tuple(cuts[p - 1] for p in (50, 95, 99))


def capacity(args: argparse.Namespace) -> Report:
    """The service and its clients together on the first one and two cores."""
    every, replicas = os.sched_getaffinity(0), {}
    for cores in range(1, min(2, len(every)) + 1):
        os.sched_setaffinity(0, sorted(every)[:cores])  # inherited by the processes that start now
        try:
            replicas[cores] = _replica(args, cores)
        finally:
            os.sched_setaffinity(0, every)
    rows = [(name, *(found[name] for found in replicas.values())) for name in replicas[1]]
    table = Table("A replica by its number of cores", ("cores", *map(str, replicas)), rows)
    return Report({"replicas": replicas}, {"capacity": table})


def _replica(args: argparse.Namespace, cores: int) -> dict[str, str]:
    since = time.monotonic()
    with service(args, TELESCOPE_THREADS=str(cores)) as server:
        started_s, rest = time.monotonic() - since, rss(server.pid)
        alone = open_loop(server.url(), ONE, requests=max(20, round(10 * args.seconds)), per_s=None)
        per_s = closed_loop(server.url(), ONE, connections=32, seconds=args.seconds)
        peak, runs = rss(server.pid, "VmHWM"), runs_on(server)
    return {
        "model, runtime, precision": runs,
        "throughput, 32 clients on the same cores": f"{per_s:.0f} images/s",
        "response time of a single client, median": f"{percentiles(alone)[0]:.1f} ms",
        "memory at rest": f"{rest / MIB:.0f} MiB",
        "memory at most under this load": f"{peak / MIB:.0f} MiB",
        "start until ready": f"{started_s:.1f} s",
    }


def start(args: argparse.Namespace) -> Report:
    """From the start of the process, each time a new one, to the first 200 of /readyz, the warm-up included."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in RUNTIMES}
    ran, rows, facts = {}, [], dict[str, str]()
    for _ in trange(args.rounds, desc="start", unit="round", disable=None):
        for runtime, starts in found.items():
            since = time.monotonic()
            with service(args, TELESCOPE_RUNTIME=runtime, TELESCOPE_DEVICE="cpu") as server:
                seconds, ready, ran[runtime] = time.monotonic() - since, rss(server.pid), runs_on(server)
                open_loop(server.url(), ONE, requests=1, per_s=None)
                starts.append((seconds, ready / MIB, rss(server.pid) / MIB))
    for runtime, starts in found.items():
        seconds, ready, used = (statistics.median(column) for column in zip(*starts, strict=True))
        rows.append((ran[runtime], f"{seconds:.1f} s", f"{ready:.0f} MiB", f"{used:.0f} MiB"))
        facts |= zip((f"start-{runtime}", f"rest-{runtime}"), rows[-1][1:3], strict=True)
    columns = ("", "ready after", "memory when ready", "after a crop")
    return Report({"starts": found}, {"start": Table(f"Medians of {args.rounds} starts", columns, rows)}, facts)
