"""Start-up time and memory of the service with each runtime.

Each start is a new process, and the runtimes take turns. The time runs from the start of the process to the first
200 of /readyz, and includes the warm-up. Resident memory is read at that moment, and again after one crop.
"""

from __future__ import annotations

import argparse
import statistics
import time

import httpx
from tqdm import trange

from bench.harness.load import PATH
from bench.harness.memory import MIB, rss
from bench.harness.options import MODEL, Options, Value
from bench.harness.report import Report, Table
from bench.http import runs_on, service
from bench.http_saturation import CROP

OPTIONS: Options = {**MODEL, "rounds": Value(3, quick=1)}


def measure(args: argparse.Namespace) -> Report:
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in ("openvino", "onnx", "paddle")}
    ran, rows, facts = {}, [], dict[str, str]()
    for _ in trange(args.rounds, unit="round", disable=None):
        for runtime, starts in found.items():
            since = time.monotonic()
            with service(args, TELESCOPE_RUNTIME=runtime, TELESCOPE_DEVICE="cpu") as server:
                seconds, ready, ran[runtime] = time.monotonic() - since, rss(server.pid), runs_on(server)
                httpx.post(server.url() + PATH, files={"image": CROP.read_bytes()}, timeout=60).raise_for_status()
                starts.append((seconds, ready / MIB, rss(server.pid) / MIB))
    for runtime, starts in found.items():
        seconds, ready, used = (statistics.median(column) for column in zip(*starts, strict=True))
        rows.append((ran[runtime], f"{seconds:.1f} s", f"{ready:.0f} MiB", f"{used:.0f} MiB"))
        facts |= zip((f"{runtime}-{figure}" for figure in ("seconds", "ready", "used")), rows[-1][1:], strict=True)
    columns = ("", "ready after", "memory when ready", "after a crop")
    return Report({"starts": found}, {"start": Table(f"Medians of {args.rounds} starts", columns, rows)}, facts)
