"""`python -m bench gpu` keeps to its time, and its counted operations are those of the network."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench.harness.report import Report
from model_store import BUNDLED
from model_store.store import ModelStore
from tests.conftest import REPOSITORY

torch = pytest.importorskip("torch")
from bench import gpu, gpu_network  # noqa: E402
from tests.bench.gpu_parts import arguments, parts  # noqa: E402


@pytest.mark.parametrize(("model", "gflop"), [("tbsrn:4", 1.74), ("tbsrn:1", 5.10)])
def test_operations_are_those_of_the_networks_shapes(model: str, gflop: float) -> None:
    """GFLOP by hand: 2 x 1,024 positions x 850 thousand weights, and attention's products of 1,024 x 1,024."""
    artefact = ModelStore(BUNDLED).resolve(model)
    with torch.no_grad():
        counted = gpu_network.operations(gpu_network.opened(artefact, "fp32"), gpu_network.images(artefact, 2))
    assert counted["flop"] / 1e9 == pytest.approx(gflop, rel=0.01)
    assert counted["bytes"] == pytest.approx(sum(counted["by_kernel"].values()))
    # layer normalisation, twice in each of five blocks, reads and writes 128 float32 at each of 1,024 positions
    assert counted["by_kernel"]["native_layer_norm"] == pytest.approx(10 * 2 * 128 * 1024 * 4, rel=0.01)


def test_every_part_has_its_table_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    report = measured({}, monkeypatch)
    assert list(report.tables) == list(gpu.PARTS)
    assert report.figures["notes"] == {}


def test_a_part_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    report = measured({"service": lambda: sys.exit("no port"), "profile": lambda: 1 / 0}, monkeypatch)
    assert report.facts["note-profile"] == "failed: ZeroDivisionError: division by zero"
    assert "no port" in report.facts["note-service"]
    assert "compiled" in report.tables


def measured(then: dict[str, Callable[[], object]], monkeypatch: pytest.MonkeyPatch) -> Report:
    for (module, name), made in parts(then).items():
        monkeypatch.setattr(module, name, made)
    monkeypatch.setattr(gpu, "_age", lambda: 0.0)
    return gpu.measure(arguments(60))


def run(*given: object) -> Any:
    command = [sys.executable, "-m", "tests.bench.gpu_parts", *map(str, given)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_part_ends_at_its_share_of_the_time_and_the_next_begins() -> None:
    found = run(2, "network")
    assert found["seconds"] < 5
    assert found["facts"]["note-network"] == "its time was over before it had finished"
    assert "training" in found["tables"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_all_that_was_measured(number: int) -> None:
    found = run(60, "profile", int(number))
    assert found["seconds"] < 5
    assert found["tables"] == ["ceilings", "network", "profile"]
    assert "stopped" in found["facts"]["note-profile"]
