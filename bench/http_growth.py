"""`python -m bench http --parts growth`: throughput and memory at growing load, request size and queue length."""

from __future__ import annotations

import argparse
import threading
from typing import Any

import numpy as np

from bench.harness.memory import MIB, growth
from bench.http_saturation import CROP, service
from bench.served import Served
from bench.wrk import crops, wrk

CONNECTIONS = (1, 8, 32, 128)
IMAGES = (1, 4, 16, 64)
QUEUES = (64, 256, 1024)  # limits of the queue in windows; the smallest holds one full request
BEYOND = 4  # connections with 16 images each, in addition to the number that fills the queue
LONG = 10  # times --seconds, to see whether memory grows with time
FULL_QUEUE_S = 10  # at least: requests take turns, so in a full queue of equal ones all are finished at its end
SAMPLE_S = 0.1
Row = dict[str, Any]


def measure(args: argparse.Namespace, _: object = None) -> dict[str, Any]:
    """A new service for each kind of growth.

    `kib_a_queued_window` is the slope of a line through the added memory (peak minus rest) over the queue limit.
    """
    rows: list[Row] = []
    with service(args) as server:
        rows += [_row(server, "connections", n, connections=n, images=1, args=args) for n in CONNECTIONS]
    with service(args) as server:
        rows += [_row(server, "images a request", n, connections=8, images=n, args=args) for n in IMAGES]
    for limit in QUEUES:
        with service(args, TELESCOPE_MAX_QUEUE_WINDOWS=str(limit)) as server:
            rows.append(_row(server, "queue limit", limit, connections=limit // 16 + BEYOND, images=16, args=args))
    with service(args) as server:
        _load(server, connections=32, images=1, seconds=args.seconds)
        in_time = _in_time(server, args.seconds * LONG)
    queued = [row for row in rows if row["grows"] == "queue limit"]
    limits, added = zip(*((row["value"], row["peak_mib"] - row["rest_mib"]) for row in queued), strict=True)
    slope = float(np.polyfit(limits, added, 1)[0])
    fit = (
        round(float(np.corrcoef(limits, added)[0, 1]), 3) if np.ptp(added) else None
    )  # None: all values are equal
    return {"rows": rows, "kib_a_queued_window": round(1024 * slope, 1), "linear_r": fit} | in_time


def _row(
    server: Served, grows: str, value: int, *, connections: int, images: int, args: argparse.Namespace
) -> Row:
    rest = server.rss
    server.forget_peak()
    seconds = max(args.seconds, FULL_QUEUE_S) if grows == "queue limit" else args.seconds
    images_per_s = _load(server, connections=connections, images=images, seconds=seconds)
    return {
        "grows": grows,
        "value": value,
        "images_per_s": round(images_per_s, 1),
        "rest_mib": round(rest / MIB, 1),
        "peak_mib": round(server.peak_rss / MIB, 1),
    }


def _load(server: Served, *, connections: int, images: int, seconds: float) -> float:
    body = crops(CROP.read_bytes(), images)
    load = wrk(server.url, body, connections=connections, seconds=seconds, may_refuse=True)
    return images * load.per_s


def _in_time(server: Served, seconds: float) -> dict[str, float]:
    samples: list[int] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            samples.append(server.rss)

    watching = threading.Thread(target=sample)
    watching.start()
    try:
        _load(server, connections=32, images=1, seconds=seconds)
    finally:
        over.set()
        watching.join()
    a_minute = growth(samples) * 60 / SAMPLE_S
    return {"seconds_watched": seconds, "mib_a_minute": round(a_minute / MIB, 2)}


def table(found: dict[str, Any]) -> str:
    lines = ["| what grows | | images a second | memory at rest, MiB | peak, MiB |", "|---" * 5 + "|"]
    lines += [
        f"| {r['grows']} | {r['value']} | {r['images_per_s']:.1f} | {r['rest_mib']:.0f} | {r['peak_mib']:.0f} |"
        for r in found["rows"]
    ]
    return "\n".join(
        [
            *lines,
            f"queue: {found['kib_a_queued_window']} KiB a window (r = {found['linear_r']}); over "
            f"{found['seconds_watched']:g} s of 32 connections: {found['mib_a_minute']:+} MiB a minute",
        ]
    )
