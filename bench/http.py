"""The service over HTTP, compared with its own runtime and with bare frameworks, at partial and at growing load.

    python -m bench http
    python -m bench http --parts saturation,latency --model tbsrn:1 --seconds 10 --rounds 5

saturation   images a second over HTTP, with 1 and with 16 images a request, compared with the runtime alone
null         the service with a runtime that only repeats pixels, compared with bare FastAPI and LitServe
latency      response times of evenly spaced and of random requests at 10, 50, 70 and 80 % of the capacity, which
             is measured just before each load
growth       throughput and memory at growing numbers of connections, images a request and queued windows, and
             memory over time

The compared servers are measured in turns. The clients (wrk, and this process for `latency`) run on the same
processors as the service; their share of the CPU time is printed. CPU ms is the processor time of an image or
request over all threads of the service. The clients and other work on the machine hardly affect it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import http_growth, http_latency, http_null, http_saturation
from model_store import BUNDLED
from training.record import machine
from training.run_state import git_commit

Report = dict[str, Any]
PARTS: Mapping[str, tuple[Callable[[argparse.Namespace, Report], Report], Callable[[Report], str]]] = {
    "saturation": (http_saturation.measure, http_saturation.table),
    "null": (http_null.measure, http_null.table),
    "latency": (http_latency.measure, http_latency.table),
    "growth": (http_growth.measure, http_growth.table),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--model", default="tbsrn", help="name or name:version (default: the newest %(default)s)")
    parser.add_argument("--model-store", type=Path, default=BUNDLED, help="folder (default: the bundled one)")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all measurements (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/http.json"), help="JSON (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Measure, print, and write the figures to --out."""
    wanted = args.parts.split(",")
    if unknown := set(wanted) - set(PARTS):
        raise SystemExit(f"--parts has no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    report: Report = {
        "command": "python -m bench http " + shlex.join(sys.argv[2:]),
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "git_commit": git_commit(),
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 2),
        "seconds": args.seconds,
        "rounds": args.rounds,
    }
    print(f"{report['machine']}; load {report['load_before']}; {args.rounds} rounds of {args.seconds:g} s")
    for part, (measure, table) in PARTS.items():
        if part in wanted:
            report[part] = measure(args, report)
            print(f"\n{table(report[part])}", flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
