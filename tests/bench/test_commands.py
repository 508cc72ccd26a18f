"""Benchmarks without tests in other files: each runs its command on little work and checks the figures."""

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from training.calibration.blur import HEIGHTS
from training.calibration.rendered import fonts

pytestmark = pytest.mark.slow


def test_sizes_are_reported_with_their_tiles(tmp_path: Path) -> None:
    main(["sizes", "--quick", "--out", str(tmp_path)])
    assert "| 300 x 2000 | 0.2 | 6 of 32x128 |" in (tmp_path / "sizes.md").read_text()


def test_lines_are_found_and_read(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr")
    main(["reading", "--quick", "--out", str(tmp_path)])
    assert "900 x 450 | 32 | 6 | 6 |" in (tmp_path / "reading.md").read_text()


def test_bulk_jobs_are_timed_with_one_and_two_workers(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    main(["bulk", "--quick", "--out", str(tmp_path)])
    assert "579 pictures/s" in (tmp_path / "bulk.md").read_text()


@pytest.mark.parametrize(("name", "quote"), [("raw", "exact-fp32")])
def test_speeds_beside_other_frameworks_are_reported(name: str, quote: str, tmp_path: Path) -> None:
    pytest.importorskip("paddle")
    pytest.importorskip("torch")
    main([name, "--quick", "--out", str(tmp_path)])
    assert json.loads((tmp_path / f"{name}.json").read_text())["quotes"][quote]


@pytest.mark.skipif(
    not all(fonts().values()), reason="no font for one of the scripts: apt-get install fonts-wqy-zenhei"
)
def test_blur_is_reported_by_script_and_height(tmp_path: Path) -> None:
    main(["blur", "--quick", "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "blur.json").read_text())["quotes"]["errors"].splitlines()[2:]
    groups = [row.split(" | ")[0].strip("| ") for row in rows]
    scripts = ["latin", "cyrillic", "greek", "digits", "line", "thin", "chinese"]
    heights = [f"{height} px" for height in HEIGHTS]
    assert groups == ["all", *scripts, *heights, "clean", "noisy", "jpeg"]
