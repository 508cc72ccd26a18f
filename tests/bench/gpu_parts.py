"""Runs `bench gpu` with parts that do nothing, except that one sleeps, or sends a signal to its own process.

    python -m tests.bench.gpu_parts SECONDS PART [SIGNAL]  ->  JSON of the tables, notes and seconds

A process of its own: frameworks that other tests load take signals, too.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import gpu, gpu_network, gpu_service
from bench.harness.report import Report, Table

Part = Callable[..., None]


def part(name: str, then: Callable[[], object]) -> Part:
    def run(report: Report, *_: Any) -> None:
        report.figures[name] = {}
        report.tables[name] = Table(name, ("a",), [("1",)])
        then()

    return run


def parts(then: dict[str, Callable[[], object]]) -> dict[tuple[Any, str], Part]:
    """(module, name) -> the part in its place."""
    modules = {
        gpu_network: ("ceilings", "network", "profile", "compiled"),
        gpu_service: ("service", "training"),
    }
    return {(m, name): part(name, then.get(name, lambda: None)) for m, names in modules.items() for name in names}


def arguments(seconds: float) -> argparse.Namespace:
    return argparse.Namespace(seconds=seconds, quick=False, model="tbsrn:4", model_store=Path())


def main(seconds: str, name: str, number: str = "") -> None:
    def then() -> None:
        if number:
            os.kill(os.getpid(), int(number))
        time.sleep(60)

    for (module, each), made in parts({name: then}).items():
        setattr(module, each, made)
    gpu._age = lambda: 0.0
    began = time.monotonic()
    report = gpu.measure(arguments(float(seconds)))
    found = {"tables": list(report.tables), "facts": report.facts, "seconds": time.monotonic() - began}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
