"""Correctness of a real service with a bundled model: a steady load with faults of clients, and an overload.

Each crop has its own colour. Its response while the service is idle is the right one; under load every response is
compared with it, within one level of 255, as a crop's neighbours in its batch change the rounding. Meanwhile other
clients disconnect within their requests and send damaged pictures. The overload offers three times the highest
throughput, with deadlines, to `tbsrn:1`: its inference takes most of the time, so the clients' share is small.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from tqdm import tqdm

from app.imaging.decode import decode
from app.imaging.encode import encode
from bench.harness.load import Body, open_loop
from bench.harness.memory import growth, rss
from bench.harness.options import MODEL, Options, Value
from bench.harness.process import Process, total, wait_until
from bench.harness.report import Report, Table
from bench.harness.swarm import Asked, ask_all, exchange, post, storm
from bench.http import runs_on, service
from bench.http_saturation import CROP, counted

GAUGES = ("queue_windows", "admitted_windows", "admitted_bytes", "body_bytes", "requests_in_progress")
REQUESTS, DISCONNECTS, DAMAGED = 200, 20, 20  # in each round
DEADLINE_MS = 1000
OPTIONS: Options = {**MODEL, "seconds": Value(120.0, quick=1.0), "seed": Value(0)}


def measure(args: argparse.Namespace) -> Report:
    with service(args, TELESCOPE_LOG_LEVEL="error") as server:
        facts = {"runs": runs_on(server)} | asyncio.run(_steady(server, args))
    with service(args, "tbsrn:1") as server:
        facts |= _overloaded(server, min(args.seconds, 20))
    rows = [(name.replace("-", " "), fact) for name, fact in facts.items()]
    return Report(facts, {"reliability": Table("Correctness under load", ("", ""), rows)}, facts)


async def _steady(server: Process, args: argparse.Namespace) -> dict[str, str]:
    url, chance = server.url(), random.Random(args.seed)
    asked = [
        Asked(request, decode((await exchange(url, request)).partition(b"\r\n\r\n")[2])) for request in _crops()
    ]
    outcomes, statuses, samples = Counter[str](), Counter[int](), list[int]()
    end = time.monotonic() + args.seconds
    with tqdm(desc="load", unit="round", disable=None) as progress:
        while time.monotonic() < end or len(samples) < 5:
            several = (chance.choice(asked) for _ in range(REQUESTS))
            leaving = storm(url, asked[0].request, DISCONNECTS)
            found, _ = await asyncio.gather(ask_all(url, several, at_once=32, levels=1), leaving)
            outcomes += found
            for _ in range(DAMAGED):
                data = bytearray(CROP.read_bytes())
                data[chance.randrange(8, len(data))] ^= chance.randrange(1, 256)
                statuses[int((await exchange(url, post(bytes(data)))).split(maxsplit=2)[1])] += 1
            samples.append(rss(server.pid))
            progress.update()

    def held() -> float:
        return sum(total(url, f"telescope_{gauge}") for gauge in GAUGES)

    with suppress(TimeoutError):
        await asyncio.to_thread(wait_until, lambda: not held(), 30)
    lost = outcomes["lost"] + outcomes["unreachable"]
    return {
        "responses": f"{outcomes.total() - lost}",
        "lost": f"{lost}",
        "mixed-up": f"{outcomes['mixed']}",
        "refused": f"{outcomes.total() - lost - outcomes['right'] - outcomes['mixed']}",
        "disconnected": f"{DISCONNECTS * len(samples)}",
        "damaged": f"{statuses.total()}",
        "damaged-5xx": f"{sum(n for status, n in statuses.items() if status >= 500)}",
        "growth": f"{growth(samples) / REQUESTS:+.0f} bytes a request",
        "held-at-the-end": f"{held():.0f}",
    }


def _crops() -> Iterator[bytes]:
    """Requests with the same word in 64 colours."""
    for colour in np.ndindex(4, 4, 4):
        tinted = decode(CROP.read_bytes()) * (1 - np.array(colour) / 5)
        yield post(encode(tinted.astype(np.uint8), "png"), query="?mode=always")


def _overloaded(server: Process, seconds: float) -> dict[str, str]:
    body = Body(CROP.read_bytes())
    most = counted(server, body, connections=32, seconds=max(2, seconds / 4))["images_per_s"]
    headers = f"X-Request-Timeout-Ms: {DEADLINE_MS}\r\n"
    answers = open_loop(server.url(), body, requests=round(3 * most * seconds), per_s=3 * most, headers=headers)
    in_time = sum(answer.status == 200 and 1000 * answer.seconds <= DEADLINE_MS for answer in answers)
    refused = sum(answer.status == 429 for answer in answers)
    return {
        "overload": f"{runs_on(server)}, {3 * most:.0f} images/s, 3 times the most",
        "overload-in-time": f"{in_time / seconds / most:.0%} of the most",
        "overload-late": f"{len(answers) - in_time - refused}",
    }
