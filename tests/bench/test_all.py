"""`python -m bench all --quick`: every benchmark once, on little work, and the figures of its report."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from bench.__main__ import BENCHMARKS, main
from tests.app.process import SOON_READY
from tests.conftest import REPOSITORY
from training.calibration.blur import HEIGHTS
from training.calibration.cells import CELLS
from training.calibration.rendered import fonts

pytestmark = pytest.mark.slow
READER = "rapidocr-v6"
START_NO_SPARE_WORKERS = {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0"}
WAYS = ("plain", "named", "auto", "always", "second")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reports."""
    for package in ("onnxruntime", "openvino", "paddle", "rapidocr", "ray", "torch"):
        pytest.importorskip(package)
    if not which("wrk"):
        pytest.skip("wrk, which generates the load, is not installed: apt-get install wrk")
    if not all(fonts().values()):
        pytest.skip("no font for one of the scripts: apt-get install fonts-wqy-zenhei")
    folder = tmp_path_factory.mktemp("reports")
    command = [sys.executable, "-m", "bench", "all", "--quick", "--out", str(folder)]
    environment = os.environ | SOON_READY | START_NO_SPARE_WORKERS
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return folder


def report(out: Path, name: str) -> Any:
    return json.loads((out / f"{name}.json").read_text())


def test_every_benchmark_leaves_a_report(out: Path) -> None:
    assert {path.stem for path in out.glob("*.json")} == {path.stem for path in out.glob("*.md")} == {*BENCHMARKS}
    assert all(report(out, name)["quick"] for name in BENCHMARKS)
    for chart in out.glob("*.svg"):
        assert "<svg" in chart.read_text()
    assert {path.stem for path in out.glob("*.svg")} >= {"throughput", "pages", "ocr", "gained", "alternatives"}


def test_speeds_stand_beside_those_of_the_reference_predictor(out: Path) -> None:
    quotes = report(out, "raw")["quotes"]
    assert {"throughput", "exact-fp32"} <= quotes.keys()


def test_every_part_of_the_http_benchmark_makes_its_table(out: Path) -> None:
    found = report(out, "http")
    assert found["quotes"].keys() >= {"saturation", "latency", "capacity", "start"}
    assert float(found["quotes"]["tbsrn-http-1-share"].rstrip("%")) > 0
    for ((seconds, ready_mib, used_mib),) in found["figures"]["start"]["starts"].values():
        assert seconds > 0.3
        assert 100 < ready_mib <= used_mib * 1.2


def test_sizes_are_reported_with_their_tiles(out: Path) -> None:
    assert "| 300 x 2000 | 0.2 | 6 of 32x128 |" in (out / "sizes.md").read_text()


def test_lines_are_found_and_read(out: Path) -> None:
    assert "900 x 450 | 32 | 6 | 6 |" in (out / "reading.md").read_text()


def test_blur_is_reported_by_script_and_height(out: Path) -> None:
    groups = [row.split(" | ")[0].strip("| ") for row in report(out, "blur")["quotes"]["errors"].splitlines()[2:]]
    scripts = ["latin", "cyrillic", "greek", "digits", "line", "thin", "chinese"]
    heights = [f"{height} px" for height in HEIGHTS]
    assert groups == ["all", *scripts, *heights, "clean", "noisy", "jpeg"]


def test_words_are_read_in_every_way(out: Path) -> None:
    found = report(out, "ocr")
    right = found["figures"]["right in each cell"]
    assert set(right) == {f"digits, {READER}, {way}" for way in WAYS}
    sharp = [cell.name for cell in CELLS].index("48 px, blur 0")
    assert right[f"digits, {READER}, plain"][sharp] == right[f"digits, {READER}, named"][sharp] == 1
    tables = {"gap", "blurred", "small_sharp", "all", "second_opinions", "second_opinions_by_script", "cells"}
    assert tables | {"harmed", "harmed_named", f"{READER}_plain"} <= found["quotes"].keys()


def test_other_ways_to_enlarge_are_read_beside_ours(out: Path) -> None:
    found = report(out, "alternatives")
    assert found["figures"]["words read"].keys() >= {f"{READER}, plain", f"{READER}, bicubic", f"{READER}, second"}
    assert found["figures"]["seconds a crop"].keys() == {"auto", "always", "bicubic", "Lanczos", "unsharp masking"}


def test_a_page_is_read_in_every_way(out: Path) -> None:
    found = report(out, "pages")
    (page,) = found["figures"].values()
    assert (page["lines"], page.get("missed", 0)) == (4, 0)
    assert page.get(f"{READER}, plain", 0) < 0.2 * page["characters"]
    assert page["fonts"]
    assert {"kinds", "named", "scripts", "harmed", "service_all_pages", "rapidocr_all_pages"} <= set(
        found["quotes"]
    )
    assert "| subtitle | 4 |" in (out / "pages.md").read_text()


def test_a_repeated_command_goes_on_with_the_readings_that_it_has_kept(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SOON_READY.items():
        monkeypatch.setenv(name, value)
    before, readings = report(out, "pages"), (out / "pages" / "readings.jsonl").read_text().split()
    main(["pages", "--quick", "--out", str(out)])
    assert (out / "pages" / "readings.jsonl").read_text().split() == readings
    assert report(out, "pages")["quotes"] == before["quotes"]
