"""`python -m bench http --parts latency,growth,capacity`: response times, growing load, and sizing a replica."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import trange

from app.serving.loading import load_model
from app.settings import load_settings
from bench.harness import memory
from bench.harness.load import Answer, Body, closed_loop, multipart, open_loop
from bench.harness.memory import KIB, MIB
from bench.harness.process import Process
from bench.harness.report import Report, Table
from bench.harness.turns import Worker
from bench.http import runs_on, service
from bench.http_saturation import CROP, PAUSE_S, counted

ONE = Body(CROP.read_bytes())
LOADS = (0, 10, 50, 70, 80)  # % of the capacity; 0: one after another
QUEUES = (64, 256, 1024)  # limits in windows; the smallest holds one full request
FULL_QUEUE_S = 10  # at least: requests take turns, so in a full queue of equal ones all are finished at its end
REPLICA = ("runs", "throughput", "alone", "batches", "rest", "peak", "start")  # in the names of the facts
LONG, SAMPLE_S = 10, 0.1  # times --seconds, to see whether memory grows with time


def latency(args: argparse.Namespace) -> Report:
    """The capacity is measured for one second before each load, because it changes on a shared machine."""
    rounds: dict[int, list[tuple[float, ...]]] = {load: [] for load in LOADS}
    with service(args) as server:
        title = f"Response times of {runs_on(server)}, one crop of 56 x 16 px a request"
        for _ in trange(args.rounds, desc="latency", unit="round", disable=None):
            for load, found in rounds.items():
                per_s = load / 100 * counted(server, ONE, connections=32, seconds=1)["images_per_s"]
                time.sleep(PAUSE_S)
                requests = max(20, round((per_s or 10) * args.seconds))
                answers = open_loop(server.url(), ONE, requests=requests, per_s=per_s or None)
                found.append((per_s, *percentiles(answers)))
    rows, facts = [], dict[str, str]()
    for load, found in rounds.items():
        per_s, *times = (statistics.median(column) for column in zip(*found, strict=True))
        name, rate = (f"{load} % of the capacity", f"{per_s:.0f}") if load else ("one after another", "")
        rows.append((name, rate, *(f"{ms:.1f}" for ms in times)))
        facts |= {f"latency-{load}-p{p}": f"{ms:.1f} ms" for p, ms in zip((50, 95, 99), times, strict=True)}
    columns = ("load", "requests a second", "median, ms", "95 %, ms", "99 %, ms")
    return Report({"rounds": rounds}, {"latency": Table(title, columns, rows)}, facts)


def percentiles(answers: Sequence[Answer]) -> tuple[float, ...]:
    """Percentiles 50, 95 and 99 in ms. Raises SystemExit if a request did not succeed."""
    if refused := [answer.status for answer in answers if answer.status != 200]:
        raise SystemExit(f"{len(refused)} of {len(answers)} requests ended with {set(refused)}, not 200.")
    cuts = statistics.quantiles((1000 * answer.seconds for answer in answers), n=100, method="inclusive")
    return tuple(cuts[p - 1] for p in (50, 95, 99))


def growth(args: argparse.Namespace) -> Report:
    """A new service for each limit of the queue. The slope is of peak minus rest over the limit."""
    rows, added = [], []
    seconds = args.seconds if args.quick else max(args.seconds, FULL_QUEUE_S)
    loads = [("connections", n, n, 1) for n in (1, 8, 32, 128)] + [
        ("images a request", n, 8, n) for n in (1, 4, 16, 64)
    ]
    full = [("`TELESCOPE_MAX_QUEUE_WINDOWS`, kept full", limit, limit // 16 + 4, 16) for limit in QUEUES]
    for limit, several in [(1024, loads), *((one[1], [one]) for one in full)]:
        with service(args, TELESCOPE_MAX_QUEUE_WINDOWS=str(limit)) as server:
            for kind, value, connections, images in several:
                rest = memory.rss(server.pid)
                memory.forget_peak(server.pid)
                speed = _load(server, connections, images, seconds if several != loads else args.seconds)
                added.append(memory.peak_rss(server.pid) - rest)
                mib = (f"{rest / MIB:.0f}", f"{(rest + added[-1]) / MIB:.0f}")
                rows.append((kind, str(value), f"{speed:.1f}", *mib))
    with service(args) as server, ThreadPoolExecutor(1) as pool:
        _load(server, 32, 1, args.seconds)
        samples, load = [], pool.submit(_load, server, 32, 1, args.seconds * LONG)
        while not load.done():
            samples.append(memory.rss(server.pid))
            time.sleep(SAMPLE_S)
        load.result()
        title = f"Growing load on {runs_on(server)}"
    slope, a_minute = np.polyfit(QUEUES, added[-len(QUEUES) :], 1)[0], memory.growth(samples) * 60 / SAMPLE_S
    facts = {"growth-window": f"{slope / KIB:.1f} KiB", "growth-minute": f"{a_minute / MIB:+.2f} MiB"}
    columns = ("what grows", "", "images a second", "memory at rest, MiB", "peak, MiB")
    return Report({"rows": rows, "samples": samples}, {"growth": Table(title, columns, rows)}, facts)


def _load(server: Process, connections: int, images: int, seconds: float) -> float:
    body = multipart(CROP.read_bytes(), images)
    return images * closed_loop(server.url(), body, connections=connections, seconds=seconds, may_refuse=True)


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
    keys = ("runs", "throughput", "alone", "batches", "rest", "peak", "start")
    facts = {
        f"capacity-{n}-{key}": text for n in replicas for key, text in zip(keys, replicas[n].values(), strict=True)
    }
    return Report({"replicas": replicas}, {"capacity": table}, facts)


def _replica(args: argparse.Namespace, cores: int) -> dict[str, str]:
    since = time.monotonic()
    with service(args, TELESCOPE_THREADS=str(cores)) as server:
        started_s, rest = time.monotonic() - since, memory.rss(server.pid)
        alone = open_loop(server.url(), ONE, requests=max(20, round(10 * args.seconds)), per_s=None)
        per_s = _load(server, 32, 1, args.seconds)
        peak, runs = memory.peak_rss(server.pid), runs_on(server)
    batches = Worker(_batch_seconds, args.model.split(",")[0], args.model_store, cores)
    took: dict[int, float] = batches.ask(None)
    batches.close()
    sizes, ms = ", ".join(map(str, took)), ", ".join(f"{1000 * seconds:.0f}" for seconds in took.values())
    return {
        "model, runtime, precision": runs,
        "throughput, 32 clients on the same cores": f"{per_s:.0f} images/s",
        "response time of a single client, median": f"{percentiles(alone)[0]:.1f} ms",
        f"a batch of {sizes} on each core": f"{ms} ms",
        "memory at rest": f"{rest / MIB:.0f} MiB",
        "memory at most under this load": f"{peak / MIB:.0f} MiB",
        "start until ready": f"{started_s:.1f} s",
    }


def _batch_seconds(model: str, store: Path, cores: int) -> Callable[[object], dict[int, float]]:
    """Batch size -> seconds of a batch of the trained input size, as the service measures them while it starts."""
    predictor = load_model(load_settings(model=(model,), model_store=store, threads=cores)).predictor
    return lambda _: dict(predictor.batch_seconds[predictor.spec.height, predictor.spec.width])
