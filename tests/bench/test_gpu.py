"""`python -m bench gpu` keeps to its time, and its counted operations are those of the network."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.harness.report import Report, Table
from model_store import BUNDLED
from model_store.store import ModelStore

torch = pytest.importorskip("torch")
from bench import gpu, gpu_network, gpu_service  # noqa: E402

Part = Callable[..., None]


@pytest.mark.parametrize(("model", "gflop"), [("tbsrn:3", 1.74), ("tbsrn:1", 5.10)])
def test_operations_are_those_of_the_networks_shapes(model: str, gflop: float) -> None:
    """GFLOP by hand: 2 x 1,024 positions x 850 thousand weights, and attention's products of 1,024 x 1,024."""
    artefact = ModelStore(BUNDLED).resolve(model)
    with torch.no_grad():
        counted = gpu_network.operations(gpu_network.opened(artefact, "fp32"), gpu_network.images(artefact, 2))
    assert counted["flop"] / 1e9 == pytest.approx(gflop, rel=0.01)
    assert counted["bytes"] == pytest.approx(sum(counted["by_kernel"].values()))
    # layer normalisation, twice in each of five blocks, reads and writes 128 float32 at each of 1,024 positions
    assert counted["by_kernel"]["native_layer_norm"] == pytest.approx(10 * 2 * 128 * 1024 * 4, rel=0.01)


def part(name: str, then: Callable[[], object]) -> Part:
    def run(report: Report, *_: Any) -> None:
        report.figures[name] = {}
        report.tables[name] = Table(name, ("a",), [("1",)])
        then()

    return run


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Runs the benchmark with parts that do nothing but what is given."""

    def run(seconds: float = 60, **then: Callable[[], object]) -> Report:
        for module, names in (
            (gpu_network, ("ceilings", "network", "profile", "compiled")),
            (gpu_service, ("service", "training")),
        ):
            for name in names:
                monkeypatch.setattr(module, name, part(name, then.get(name, lambda: None)))
        monkeypatch.setattr(gpu, "_age", lambda: 0.0)
        return gpu.measure(argparse.Namespace(seconds=seconds, quick=False, model="tbsrn:3", model_store=Path()))

    return run


def test_every_part_has_its_table_in_order(measured: Callable[..., Report]) -> None:
    report = measured()
    assert list(report.tables) == list(gpu.PARTS)
    assert report.figures["notes"] == {}


def test_a_part_ends_at_its_share_of_the_time_and_the_next_begins(measured: Callable[..., Report]) -> None:
    began = time.monotonic()
    report = measured(seconds=2, network=lambda: time.sleep(60))
    assert time.monotonic() - began < 5
    assert report.figures["notes"] == {"network": "its time was over before it had finished"}
    assert "training" in report.tables


def test_a_part_that_fails_costs_no_other(measured: Callable[..., Report]) -> None:
    report = measured(service=lambda: sys.exit("no port"), profile=lambda: 1 / 0)
    assert report.facts["note-profile"] == "failed: ZeroDivisionError: division by zero"
    assert "no port" in report.facts["note-service"]
    assert "compiled" in report.tables


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_all_that_was_measured(number: int, measured: Callable[..., Report]) -> None:
    def interrupted() -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)

    before = signal.getsignal(number)
    report = measured(profile=interrupted)
    assert list(report.tables) == ["ceilings", "network", "profile"]
    assert "stopped" in report.facts["note-profile"]
    assert signal.getsignal(number) is before
