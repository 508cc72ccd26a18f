"""`python -m bench ocr`, `blur` and `sizes` from words to report, on a handful, with the bundled model."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.__main__ import main
from tests.training.calibration.words import drawn_words, installed_fonts, installed_reader
from training.calibration.cells import BLURS, CELLS, HEIGHTS


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return drawn_words(tmp_path / "words")


@pytest.fixture
def reader() -> str:
    return installed_reader()


@pytest.fixture
def faces() -> dict[str, tuple[str, ...]]:
    return installed_fonts()


def run(*arguments: object) -> None:
    pytest.importorskip("openvino")
    main([str(argument) for argument in arguments])


def test_the_proof_reports_every_recogniser_cell_and_variant(
    data: Path, reader: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ("ocr", "--model", "tbsrn", "--data", data, "--readers", reader, "--scripts", "latin")
    run(*command, "--limit", 2, "--out", out)
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    figures = report["figures"][reader]["latin"]
    bands = [*(f"{height} px" for height in HEIGHTS), *(f"blur {blur:g}" for blur in BLURS)]
    assert list(figures) == [*(cell.name for cell in CELLS), "blurred", "all", *bands]
    assert list(figures["all"]) == ["plain", "always", "auto", "named", "second"]
    assert figures["48 px, blur 0"]["plain"]["accuracy"] == 1
    assert figures["48 px, blur 0"]["named"]["over_plain"]["points"] == 0
    second = figures["all"]["second"]
    assert 0 < second["kept"] <= second["sent"] < 0.5
    assert (figures["all"]["always"]["words"], figures["blurred"]["always"]["words"]) == (2 * 30, 2 * 12)
    assert sum(report["reasons"]["latin"][reader].values()) == 60
    assert "| 48 px, blur 0 | 100.0 (34.2-100.0) |" in capsys.readouterr().out
    ElementTree.parse(out / "chart.svg")
    readings = (out / "readings.jsonl").read_text().split()
    run(*command, "--limit", 2, "--out", out)
    assert (out / "readings.jsonl").read_text().split() == readings  # taken up, not read again
    assert json.loads((out / "report.json").read_text())["figures"] == report["figures"]


def test_the_report_of_the_estimate_covers_scripts_heights_and_kinds(
    faces: dict[str, tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("blur", "--each", 6, "--out", tmp_path)
    errors = json.loads((tmp_path / "report.json").read_text())["errors"]
    assert {
        "all",
        "latin",
        "cyrillic",
        "thin",
        "line",
        "10 px",
        "64 px",
        "clean",
        "noisy",
        "jpeg",
    } <= errors.keys()
    assert set(errors) >= {script for script, found in faces.items() if found}
    assert errors["all"]["median_absolute"] < 0.2
    assert "| latin |" in capsys.readouterr().out


def test_the_cost_of_a_crop_is_about_that_of_its_area(tmp_path: Path) -> None:
    run("sizes", "--rounds", 1, "--out", tmp_path)
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    computed = {(row["crop"], row["scale"]): row["pixels_over_area"] for row in rows}
    assert computed["48 x 200", 1.0] <= 1
    assert computed["48 x 200", 0.625] <= 1.1
