"""Start-up time and memory of the service with each runtime.

    python -m bench start
    python -m bench start --rounds 5 --out runs/start.json

The time is measured from the start of the process to the first 200 of /readyz, and includes the warm-up of every
batch size. Resident memory is read at that moment, and again after one crop. Runtimes take turns, each in a new
process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
from tqdm import trange

from bench.harness.memory import MIB, rss
from model_store import BUNDLED
from tests.app.process import Process, ready, wait_until
from training.record import machine
from training.run_state import git_commit

SIDES = (("openvino", "bf16"), ("openvino", "fp32"), ("onnx", "fp32"), ("paddle", "fp32"))
CROP = Path(__file__).parents[1] / "examples" / "crops" / "harbour.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="tbsrn", help="name or name:version (default: the newest %(default)s)")
    parser.add_argument("--model-store", type=Path, default=BUNDLED, help="folder (default: the bundled one)")
    parser.add_argument("--rounds", type=int, default=3, help="starts with each runtime (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/start.json"), help="JSON (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Measure, print, and write the figures to --out."""
    load = round(os.getloadavg()[0], 2)
    found: dict[str, list[dict[str, float]]] = {" ".join(side): [] for side in SIDES}
    for _ in trange(args.rounds, unit="round", disable=None):
        for runtime, precision in SIDES:
            found[f"{runtime} {precision}"].append(_start(runtime, precision, args.model, args.model_store))
    figures = {
        side: {name: round(statistics.median(one[name] for one in starts), 1) for name in starts[0]}
        for side, starts in found.items()
    }
    print(f"{machine()}; load {load}; medians of {args.rounds} starts\n")
    print("| runtime | ready after, s | memory when ready, MiB | after a crop, MiB |\n|---|---|---|---|")
    for side, median in figures.items():
        print(f"| {side} | {median['ready_s']} | {median['ready_mib']} | {median['used_mib']} |")
    about = {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}", "git_commit": git_commit(), "machine": machine()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    report = about | {"load_before": load, "starts": found, "medians": figures}
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _start(runtime: str, precision: str, model: str, store: Path) -> dict[str, float]:
    started = time.monotonic()
    process = Process(
        TELESCOPE_RUNTIME=runtime,
        TELESCOPE_PRECISION=precision,
        TELESCOPE_MODEL=model,
        TELESCOPE_MODEL_STORE=str(store.resolve()),
        TELESCOPE_DEVICE="cpu",
        TELESCOPE_DRAIN_GRACE_S="0",
    )
    try:
        url = process.url()
        wait_until(lambda: ready(url), 60)
        seconds, memory = time.monotonic() - started, rss(process.popen.pid)
        files = {"image": CROP.read_bytes()}
        httpx.post(f"{url}/v1/super-resolve?mode=always", files=files, timeout=60).raise_for_status()
        return {"ready_s": seconds, "ready_mib": memory / MIB, "used_mib": rss(process.popen.pid) / MIB}
    finally:
        process.kill()
