"""Correctness under load, as one table: failing batches, overload, damaged pictures and clients that disconnect.

python -m bench reliability --minutes 10 --inputs 50000

Each picture has its own colour and the fake predictor repeats pixels, so a response with another request's picture
is detected. The service runs as a separate process on a loopback address. The scenarios are in tests/reliability.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
import warnings
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from app.http.api_keys import new_key
from bench.harness.memory import MIB, growth, rss
from bench.harness.process import total
from model_store.manifest import PixelSpec
from model_store.store import ModelStore
from tests.app.process import Process, ready, wait_until
from tests.reliability.corpus import mutants
from tests.reliability.fuzz import read_all
from tests.reliability.overload import CAPACITY_PER_S, MIX, flood, share_with
from tests.reliability.swarm import activate, ask_all, exchange, post, storm

FUZZED_OVER_HTTP = 0.02  # ratio of the damaged pictures over HTTP to those decoded in process
REQUESTS = 200  # a round
DISCONNECTS = 50  # a round
KEY, STORED = new_key("bench", admin=True)
HEADERS = f"X-API-Key: {KEY}\r\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=1, help="duration of the load (default: %(default)s)")
    parser.add_argument("--inputs", type=int, default=50_000, help="damaged pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the damaged pictures (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/reliability.json"), help="default: %(default)s")


def run(args: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore", module="PIL")
    with tempfile.TemporaryDirectory() as folder:
        process = _launch(_store(Path(folder)))
        try:
            figures = asyncio.run(_soak(process, args)) | _overload() | _fuzz(args)
        finally:
            process.kill()
    for name, value in figures.items():
        print(f"{name:<44}{value}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    asked = {"minutes": args.minutes, "inputs": args.inputs, "seed": args.seed}
    about = {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}", "cores": os.cpu_count(), "load": os.getloadavg()}
    args.out.write_text(json.dumps(asked | about | figures, indent=1) + "\n")


def _store(folder: Path) -> Path:
    staging, root = folder / "staging", folder / "store"
    (staging / "onnx").mkdir(parents=True)
    root.mkdir()
    (staging / "onnx" / "model.onnx").write_bytes(b"not a network")
    spec = PixelSpec(height=16, width=64, scale=2)
    for _ in range(2):
        ModelStore(root).publish(
            staging, name="tbsrn", pixels=spec, training={}, metrics=[], licence="none", git_commit="none"
        )
    return root


def _launch(store: Path) -> Process:
    process = Process(
        program="tests.reliability.fake_service",
        TELESCOPE_MODEL_STORE=str(store),
        TELESCOPE_LOG_LEVEL="error",
        TELESCOPE_API_KEYS=STORED.entry(),
        BATCH_S="0.005",
        FAULT_EVERY="15",
    )
    wait_until(lambda: ready(process.url()), 60)
    return process


async def _soak(process: Process, args: argparse.Namespace) -> dict[str, object]:
    """Rounds of requests during a switch of models, followed by clients that disconnect and damaged pictures."""
    url, pid = process.url(), process.popen.pid
    damaged = mutants(seed=args.seed + 1, inputs=max(1, int(FUZZED_OVER_HTTP * args.inputs)))
    endings: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    switches: Counter[int] = Counter()
    samples: list[int] = []
    disconnected, asking_s, end = 0, 0.0, time.monotonic() + 60 * args.minutes
    progress = tqdm(desc="soak", unit="round", disable=None)
    while time.monotonic() < end or len(samples) < 10:
        since = time.monotonic()
        tags = range(len(samples) * REQUESTS, (len(samples) + 1) * REQUESTS)
        ref = f"tbsrn:{1 + len(samples) % 2}"
        asked, status = await asyncio.gather(
            ask_all(url, tags, at_once=32, headers=HEADERS), asyncio.to_thread(activate, url, ref, KEY)
        )
        endings += asked
        switches[status] += 1
        asking_s += time.monotonic() - since
        await storm(url, DISCONNECTS)
        disconnected += DISCONNECTS
        for _, picture in zip(range(50), damaged, strict=False):
            statuses[int((await exchange(url, post(picture, headers=HEADERS))).split(maxsplit=2)[1])] += 1
        samples.append(rss(pid))
        progress.update()
    progress.close()
    return {
        "requests sent, 32 at once": endings.total(),
        "load held (responses a second, with faults)": round(endings["right"] / asking_s, 1),
        "responses right": endings["right"],
        "faults injected (failed batches)": int(total(url, "telescope_batch_failures_total")),
        "images that failed with them": endings["inference_failed"],
        "responses lost": endings["lost"] + endings["unreachable"],
        "responses mixed up": endings["mixed"],
        "refused or late": sum(endings[code] for code in ("overloaded", "deadline_exceeded", "not_ready")),
        "models switched meanwhile": switches[200],
        "switches that failed": switches.total() - switches[200],
        "clients that disconnected": disconnected,
        "damaged pictures over HTTP": statuses.total(),
        "of them with a 5xx response": sum(n for status, n in statuses.items() if status >= 500),
        "memory growth, bytes a request": round(growth(samples) / REQUESTS, 1),
        "memory at the end, MiB": round(samples[-1] / MIB, 1),
    }


def _overload() -> dict[str, object]:
    ones, mixed = flood(3), flood(3, sizes=MIX)
    alone, _ = share_with(singles=32, large=0)
    shared, _ = share_with(singles=32, large=1)
    return {
        "goodput at 3 x capacity, of the maximum": round(ones.goodput_per_s / CAPACITY_PER_S, 3),
        "the same with requests of 1 to 64 images": round(mixed.goodput_per_s / CAPACITY_PER_S, 3),
        "admitted and late at 3 x capacity": ones.expired + mixed.expired,
        "p99 wait of singles beside 64, times alone": round(shared.wait_s(0.99) / alone.wait_s(0.99), 2),
    }


def _fuzz(args: argparse.Namespace) -> dict[str, object]:
    fuzzed = read_all(mutants(seed=args.seed, inputs=args.inputs))
    return {
        "inputs fuzzed in process": fuzzed.inputs,
        "of them neither read nor refused": len(fuzzed.escaped),
        "outcomes": ", ".join(f"{name} {n}" for name, n in fuzzed.outcomes.most_common()),
        "slowest input, CPU ms": round(1000 * fuzzed.slowest_s, 1),
    }
