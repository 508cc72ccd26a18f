"""The service over HTTP: beside its own runtime, beside bare frameworks, at part load, and as load grows.

    python -m bench http
    python -m bench http --parts saturation,latency --model tbsrn:1 --seconds 10 --rounds 5

saturation   images a second over HTTP, of one image a request and of 16, beside the runtime alone
null         a runtime that only repeats pixels: the service beside a bare FastAPI handler and LitServe
latency      requests that come evenly, and by chance, at 10, 50, 70 and 80 % of what was possible just before
growth       throughput and memory as connections, images a request and the queue's limit grow, and over time

Sides take turns. The clients (wrk, and this process for `latency`) share the machine's processors with what they
measure; how much they took is printed. CPU ms is the processor time of an image or request over all threads of the
service, which neither the clients nor other work on the machine disturb much.
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
    parser.add_argument("--parts", default=",".join(PARTS), help="by comma (default: %(default)s)")
    parser.add_argument("--model", default="tbsrn", help="of the model store (default: the newest %(default)s)")
    parser.add_argument("--model-store", type=Path, default=BUNDLED, help="default: the bundled one")
    parser.add_argument("--seconds", type=float, default=5, help="of each side in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all sides (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/http.json"), help="default: %(default)s")


def run(args: argparse.Namespace) -> None:
    """Measure, print, and keep the figures."""
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
