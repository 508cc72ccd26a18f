"""What to plan a replica with: images a second, times and memory of the service on so many cores.

python -m bench capacity --cores 1,2 --seconds 20

The service is a process of its own that may use that many cores; each client asks for one crop, and for the next
when it is answered. The clients run on the same machine and take some of its time, so a figure on all cores is on
the low side.
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

from app.serving.loading import load_model
from app.settings import Settings
from bench.open_loop import unloaded
from bench.served import Served
from bench.wrk import crops, wrk
from tests.reliability.memory import MIB

BODY = crops(Path("examples/crops/harbour.png").read_bytes(), 1)  # 56 x 16 px: one window, as most words are
CROWD = 32  # clients: the most answers
REQUESTS = 10  # for each second, of the lone client: the shortest time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cores", default="1,2", help="by comma (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of each load (default: %(default)s)")
    parser.add_argument("--runtime", default="openvino", choices=("openvino", "onnx", "paddle"))
    parser.add_argument("--out", type=Path, default=Path("runs/capacity.json"))


def run(args: argparse.Namespace) -> None:
    figures = {cores: _measure(cores, args) for cores in map(int, args.cores.split(","))}
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
        lone = unloaded(server.url, BODY, requests=max(REQUESTS, round(REQUESTS * args.seconds)))
        crowd = wrk(server.url, BODY, connections=CROWD, seconds=args.seconds)
        peak = server.peak_rss
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        batches = apart.submit(_batch_seconds, cores, args.runtime).result()
    return {
        "cores": cores,
        f"images a second, {CROWD} clients": round(crowd.per_s, 1),
        "ms, median, 1 client": round(1000 * statistics.median(lone), 1),
        **{f"ms, batch of {size} on every stream": round(1000 * seconds, 1) for size, seconds in batches.items()},
        "seconds to start": round(started_s, 1),
        "MiB at rest": round(idle / MIB),
        "MiB at most": round(peak / MIB),
    }


@contextmanager
def _on(cores: int) -> Iterator[None]:
    """What is started within may use so many cores."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def _batch_seconds(cores: int, runtime: str) -> dict[int, float]:
    """Batch size of the trained input size -> seconds, as the service measures them when it warms up."""
    with _on(cores):
        predictor = load_model(Settings(threads=cores, runtime=runtime)).predictor
    predictor.close()
    return dict(predictor.batch_seconds[predictor.spec.height, predictor.spec.width])
