"""Figures for sizing a replica: images a second, response times and memory of the service by number of cores.

python -m bench capacity --cores 1,2 --seconds 20

The service runs as a separate process limited to that many cores. Each client sends one crop, waits for the
response, and sends the next. The clients run on the same machine and use some of its processor time, so figures on
all cores are slightly low.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from app.serving.loading import load_model
from app.settings import Settings
from bench.harness.memory import MIB
from bench.open_loop import unloaded
from bench.served import Served
from bench.wrk import crops, wrk

BODY = crops(Path("examples/crops/harbour.png").read_bytes(), 1)  # 56 x 16 px: one window, as most words are
CLIENTS = 32  # enough for the highest throughput
REQUESTS = 10  # for each second, sent by a single client: the shortest response time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cores", default="1,2", help="comma-separated (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="duration of each load (default: %(default)s)")
    parser.add_argument("--runtime", default="openvino", choices=("openvino", "onnx", "paddle"))
    parser.add_argument("--out", type=Path, default=Path("runs/capacity.json"))


def run(args: argparse.Namespace) -> None:
    figures = {
        cores: _measure(int(cores), args) for cores in tqdm(args.cores.split(","), unit="setting", disable=None)
    }
    for name in next(iter(figures.values())):
        print(f"{name:<44}" + "".join(f"{column[name]:>12}" for column in figures.values()))
    about = {
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "machine_cores": os.cpu_count(),
        "runtime": args.runtime,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(about | {"cores": figures}, indent=1) + "\n")


def _measure(cores: int, args: argparse.Namespace) -> dict[str, float]:
    since = time.monotonic()
    settings = {
        "TELESCOPE_LOG_LEVEL": "warning",
        "TELESCOPE_THREADS": str(cores),
        "TELESCOPE_RUNTIME": args.runtime,
    }
    with ExitStack() as stack:
        with _on(cores):
            server = stack.enter_context(Served(**settings))
        started_s, idle = time.monotonic() - since, server.rss
        single = unloaded(server.url, BODY, requests=max(REQUESTS, round(REQUESTS * args.seconds)))
        many = wrk(server.url, BODY, connections=CLIENTS, seconds=args.seconds)
        peak = server.peak_rss
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        batches = apart.submit(_batch_seconds, cores, args.runtime).result()
    return {
        "cores": cores,
        f"images a second, {CLIENTS} clients": round(many.per_s, 1),
        "ms, median, 1 client": round(1000 * statistics.median(single), 1),
        **{f"ms, batch of {size} on every stream": round(1000 * seconds, 1) for size, seconds in batches.items()},
        "seconds to start": round(started_s, 1),
        "MiB at rest": round(idle / MIB),
        "MiB at most": round(peak / MIB),
    }


@contextmanager
def _on(cores: int) -> Iterator[None]:
    """Limit the processes and threads that are started inside the block to the first `cores` cores."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def _batch_seconds(cores: int, runtime: str) -> dict[int, float]:
    """Batch size -> seconds of a batch of the trained input size, as the service measures them during warm-up."""
    with _on(cores):
        predictor = load_model(Settings(threads=cores, runtime=runtime)).predictor
    predictor.close()
    return dict(predictor.batch_seconds[predictor.spec.height, predictor.spec.width])
