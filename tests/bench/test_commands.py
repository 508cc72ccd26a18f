"""Benchmarks without tests in other files: each runs its command on little work and checks the figures."""

import json
from pathlib import Path
from shutil import which

import pytest

from bench.__main__ import main
from training.calibration.rendered import fonts

pytestmark = pytest.mark.slow


@pytest.mark.skipif(
    not which("wrk"), reason="wrk, which generates the load, is not installed: apt-get install wrk"
)
def test_capacity_is_reported_for_each_number_of_cores(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    out = tmp_path / "capacity.json"
    main(["capacity", "--cores", "1", "--seconds", "0.5", "--out", str(out)])
    figures = json.loads(out.read_text())["cores"]["1"]
    assert figures["images a second, 32 clients"] > 0
    assert figures["ms, batch of 16 on every stream"] > figures["ms, batch of 1 on every stream"] > 0


def test_reliability_reports_faults_and_no_lost_or_mixed_response(tmp_path: Path) -> None:
    out = tmp_path / "reliability.json"
    main(["reliability", "--minutes", "0.01", "--inputs", "300", "--out", str(out)])
    figures = json.loads(out.read_text())
    assert figures["faults injected (failed batches)"] > 0
    assert figures["responses lost"] == figures["responses mixed up"] == figures["switches that failed"] == 0


def test_sizes_are_reported_with_their_tiles(tmp_path: Path) -> None:
    main(["sizes", "--rounds", "1", "--out", str(tmp_path)])
    assert "| 300 x 2000 | 0.2 | 6 of 32x128 |" in (tmp_path / "table.md").read_text()


@pytest.mark.skipif(
    not all(fonts().values()), reason="no font for one of the scripts: apt-get install fonts-wqy-zenhei"
)
def test_blur_is_reported_by_script_and_height(tmp_path: Path) -> None:
    main(["blur", "--each", "2", "--out", str(tmp_path)])
    table = (tmp_path / "table.md").read_text()
    assert "| 64 px |" in table
    assert "| chinese |" in table.lower()
