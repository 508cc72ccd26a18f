"""What to plan a replica with: images a second, times and memory of the service on so many cores.

python -m bench capacity --cores 1,2 --seconds 20

The service is a process of its own that may use that many cores; each client asks for one crop, and for the next
when it is answered. The clients run on the same machine and take some of its time, so a figure on all cores is on
the low side.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.main import load_model
from app.settings import Settings
from tests.app.process import Process, ready, wait_until
from tests.reliability.memory import MIB, peak_rss, rss

CROP = Path("examples/crops/harbour.png").read_bytes()  # 56 x 16 px: one window, as most words are
HEADERS = {"Content-Type": "image/png"}
LONE, CROWD = 1, 32  # clients: the shortest time, and the most answers


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
    threads = {"TELESCOPE_THREADS": str(cores), "TELESCOPE_RUNTIME": args.runtime}
    process = Process(TELESCOPE_LOG_LEVEL="warning", **threads)
    try:
        os.sched_setaffinity(process.popen.pid, range(cores))
        wait_until(lambda: ready(process.url()), 120)
        started_s, idle = time.monotonic() - since, rss(process.popen.pid)
        lone = asyncio.run(_load(process.url(), LONE, args.seconds))
        crowd = asyncio.run(_load(process.url(), CROWD, args.seconds))
        peak = peak_rss(process.popen.pid)
    finally:
        process.kill()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        batches = apart.submit(_batch_seconds, cores, args.runtime).result()
    return {
        "cores": cores,
        f"images a second, {CROWD} clients": round(len(crowd) / args.seconds, 1),
        f"ms, median, {CROWD} clients": round(1000 * statistics.median(crowd)),
        f"ms, 95 %, {CROWD} clients": round(1000 * statistics.quantiles(crowd, n=20)[-1]),
        "ms, median, 1 client": round(1000 * statistics.median(lone)),
        **{f"ms, batch of {size} on every stream": round(1000 * seconds, 1) for size, seconds in batches.items()},
        "seconds to start": round(started_s, 1),
        "MiB at rest": round(idle / MIB),
        "MiB at most": round(peak / MIB),
    }


async def _load(url: str, clients: int, seconds: float) -> list[float]:
    """Seconds of each answer that came in time; any that is no picture ends the measurement."""
    took: list[float] = []
    end = time.monotonic() + seconds

    async def client() -> None:
        while (since := time.monotonic()) < end:
            answer = await http.post("/v1/super-resolve?mode=always", content=CROP, headers=HEADERS)
            answer.raise_for_status()
            if time.monotonic() < end:
                took.append(time.monotonic() - since)

    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=None)) as http:
        await asyncio.gather(*(client() for _ in range(clients)))
    return took


def _batch_seconds(cores: int, runtime: str) -> dict[int, float]:
    """Batch size of the trained input size -> seconds, as the service measures them when it warms up."""
    os.sched_setaffinity(0, range(cores))
    model = load_model(Settings(threads=cores, runtime=runtime))
    model.predictor.close()
    return dict(model.predictor.batch_seconds[model.predictor.spec.height, model.predictor.spec.width])
