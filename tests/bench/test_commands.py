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
    main(["sizes", "--quick", "--out", str(tmp_path)])
    assert "| 300 x 2000 | 0.2 | 6 of 32x128 |" in (tmp_path / "sizes.md").read_text()


def test_lines_are_found_and_read(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    main(["reading", "--quick", "--out", str(tmp_path)])
    assert "900 x 450 | 32 | 6 | 100 % |" in (tmp_path / "reading.md").read_text()


def test_bulk_jobs_are_timed_with_one_and_two_workers(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    main(["bulk", "--quick", "--out", str(tmp_path)])
    assert "579 pictures/s" in (tmp_path / "bulk.md").read_text()


@pytest.mark.parametrize(("name", "quote"), [("raw", "exact-fp32"), ("training", "gain")])
def test_speeds_beside_other_frameworks_are_reported(name: str, quote: str, tmp_path: Path) -> None:
    pytest.importorskip("paddle")
    pytest.importorskip("torch")
    main([name, "--quick", "--out", str(tmp_path)])
    assert json.loads((tmp_path / f"{name}.json").read_text())["quotes"][quote]


@pytest.mark.skipif(
    not all(fonts().values()), reason="no font for one of the scripts: apt-get install fonts-wqy-zenhei"
)
def test_blur_is_reported_by_script_and_height(tmp_path: Path) -> None:
    main(["blur", "--each", "2", "--out", str(tmp_path)])
    table = (tmp_path / "table.md").read_text()
    assert "| 64 px |" in table
    assert "| chinese |" in table.lower()
