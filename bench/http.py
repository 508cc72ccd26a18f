"""The service over HTTP, as a real process with the bundled models.

saturation   images a second with 1 and with 16 images a request, beside the runtime alone (all streams busy)
latency      response times one after another, and evenly spaced at shares of the capacity
capacity     a replica of one and of two cores
start        start-up time and memory with each runtime, in turns

Compared sides are measured in turns; the clients run on the same processors. CPU ms is the processor time of an
image over all threads of the service, which other work on the machine hardly affects. `saturation` measures every
model of --model, the other parts the first.
"""

from __future__ import annotations

import argparse
import importlib
from contextlib import AbstractContextManager

import httpx

from bench.harness.options import MODEL, Options, Value
from bench.harness.process import Process, served
from bench.harness.report import Report

PARTS = {"saturation": "saturation", "latency": "load", "capacity": "load", "start": "load"}
OPTIONS: Options = {
    "parts": Value(",".join(PARTS)),
    **MODEL,
    "model": Value("tbsrn,tbsrn:1", quick="tbsrn"),
    "rounds": Value(3, quick=1),
    "seconds": Value(3.0, quick=0.3),
}


def measure(args: argparse.Namespace) -> Report:
    report = Report({})
    for part in args.parts.split(","):
        if part not in PARTS:
            raise SystemExit(f"--parts has no {part}; there are {', '.join(PARTS)}.")
        found: Report = getattr(importlib.import_module(f"bench.http_{PARTS[part]}"), part)(args)
        report.figures[part] = found.figures
        report.tables |= found.tables
        report.facts |= found.facts
    return report


def service(args: argparse.Namespace, model: str = "", **settings: str) -> AbstractContextManager[Process]:
    soon = {"TELESCOPE_BATCH_SIZES": "1", "TELESCOPE_THREADS": "1"} if args.quick else {}  # ready
    settings = soon | {"TELESCOPE_MODEL_STORE": str(args.model_store.resolve()), **settings}
    return served(TELESCOPE_MODEL=model or args.model.split(",")[0], **settings)


def runs_on(server: Process) -> str:
    """The model, runtime and precision of the service."""
    first = httpx.get(f"{server.url()}/v1/models").json()["models"][0]
    return f"{first['name']}:{first['version']}, {first['runtime']} {first['precision']}"
