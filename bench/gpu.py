"""Two minutes on a GPU, or a rehearsal on a CPU: how fast the network, the service and training run by PyTorch.

ceilings   matrix products by precision, and copies: the most that this device reached here
network    images a second by way and batch size, beside the roofline of its counted operations and bytes
service    throughput and response times over loopback
profile    the share of the time that each kernel takes
training   images a second, MSE alone
compiled   the network by torch.compile, last as it takes long

Each part ends at its share of --seconds; after the last one, or SIGTERM or Ctrl-C, the report holds all that was
measured. It needs PyTorch and the service's packages, no network and no other runtime: docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from bench import gpu_network, gpu_service
from bench.harness.options import MODEL, Options, Value
from bench.harness.report import Report
from model_store.optional import first_line

MODELS = Value("tbsrn:4,tbsrn:1", quick="tbsrn:4")  # without and with attention
OPTIONS: Options = {"seconds": Value(120.0, quick=90.0), **MODEL, "model": MODELS}
# part -> the share of the time at which it ends; each begins when the one before it has ended
PARTS = {"ceilings": 0.12, "network": 0.45, "profile": 0.5, "service": 0.75, "training": 0.85, "compiled": 0.97}


class TimeIsUp(KeyboardInterrupt):
    """Which no library takes for a failure of its own, and asyncio hands on."""


class Stopped(TimeIsUp):
    """SIGTERM or Ctrl-C."""


def measure(args: argparse.Namespace) -> Report:
    began = time.monotonic() - _age()
    report = Report({"device": gpu_network.device_facts(), "notes": {}})
    parts: dict[str, Callable[[], None]] = {
        "ceilings": lambda: gpu_network.ceilings(report),
        "network": lambda: gpu_network.network(report, args),
        "profile": lambda: gpu_network.profile(report, args),
        "service": lambda: gpu_service.service(report, args),
        "training": lambda: gpu_service.training(report, args),
        "compiled": lambda: gpu_network.compiled(report, args),
    }
    if args.quick:
        del parts["compiled"]
    for name, part in parts.items():
        print(f"[{time.monotonic() - began:5.1f} s] {name}", flush=True)
        try:
            with _at_most(began + PARTS[name] * args.seconds - time.monotonic()):
                part()
        except Stopped:
            report.figures["notes"][name] = "stopped, and all later parts left out"
            break
        except TimeIsUp:
            report.figures["notes"][name] = "its time was over before it had finished"
        except (Exception, SystemExit) as exc:  # one part's failure must not cost the others
            report.figures["notes"][name] = f"failed: {type(exc).__name__}: {first_line(exc)}"
        with suppress(Exception):  # after an error of the device it fails, too
            torch.cuda.empty_cache()
    report.figures["seconds"] = time.monotonic() - began
    gpu_network.tables(report)
    order = [*PARTS, *report.tables]  # that of the parts, then the others
    report.tables = dict(sorted(report.tables.items(), key=lambda item: order.index(item[0])))
    report.facts |= {"device": gpu_network.device_name(report.figures["device"])}
    report.facts |= {f"note-{name}": note for name, note in report.figures["notes"].items()}
    return report


def _age() -> float:
    """Seconds since this process began (Linux), as importing PyTorch takes a part of the time."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - started


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raises TimeIsUp in the block after some seconds, and Stopped at a signal."""

    def end(number: int, _: Any) -> None:  # noqa: ANN401  a frame
        raise TimeIsUp if number == signal.SIGALRM else Stopped

    before = {number: signal.signal(number, end) for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)}
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
