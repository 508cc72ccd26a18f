"""`python -m bench ocr`: its tables from known readings, and the command from words to report."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import main
from bench.ocr import Results, _harmed
from tests.training.calibration.words import drawn_words, installed_reader
from training.calibration.cells import CELLS

WORDS = 200


@pytest.fixture
def results() -> Results:
    """Half of the words are read. Named gains 20 words in the first cell; second opinions lose 2 in the last."""
    plain = np.zeros((len(CELLS), 2, WORDS), bool)
    plain[:, 0, : WORDS // 2] = True
    named, second = plain.copy(), plain.copy()
    named[0, 0, : WORDS // 2 + 20] = True
    second[-1, 0, :2] = False
    second[:, 1, ::4] = True
    ways = {"plain": plain, "named": named, "auto": plain, "always": plain, "second": second}
    return Results(["tesseract"], ["latin"], {("latin", "tesseract", way): found for way, found in ways.items()})


def test_a_table_has_the_plain_rate_the_changes_and_the_crops_sent(results: Results) -> None:
    table = results.table("a title", results.parts(CELLS[0].name), "named", "second")
    assert table.columns == ["words read, %", "plain crop", "recogniser named", "second opinion", "crops sent"]
    ((name, plain, named, second, sent),) = table.rows
    assert (name, plain, second, sent) == ("Tesseract, Latin words, 12 px, blur 0", "50.0", "0", "25 %")
    assert named.startswith("**+10.0 (+")


def test_every_group_that_loses_words_is_named(results: Results) -> None:
    table, share = _harmed(results)
    assert share == "1 of 43"  # all, blurred, six heights, five blurs, thirty cells
    assert table.rows == [["Tesseract, Latin words", "64 px, blur 0.11", "-1.0"]]


@pytest.mark.slow
def test_the_command_goes_on_with_the_readings_that_it_has_kept(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    reader = installed_reader()
    command = ["ocr", "--data", str(drawn_words(tmp_path / "words")), "--scripts", "latin", "--limit", "2"]
    command += ["--readers", reader, "--out", str(tmp_path)]
    main(command)
    report = json.loads((tmp_path / "ocr.json").read_text())
    right = report["figures"]["right in each cell"]
    ways = ("plain", "named", "auto", "always", "second")
    assert set(right) == {f"latin, {reader}, {way}" for way in ways}
    sharp = [cell.name for cell in CELLS].index("48 px, blur 0")
    assert right[f"latin, {reader}, plain"][sharp] == right[f"latin, {reader}, named"][sharp] == 2
    assert {"blurred", "all", "second_opinions", "second_opinions_by_script", "cells", "harmed"} <= set(
        report["quotes"]
    )
    assert "<svg" in (tmp_path / "ocr.svg").read_text()
    readings = (tmp_path / "ocr" / "readings.jsonl").read_text().split()
    main(command)
    assert (tmp_path / "ocr" / "readings.jsonl").read_text().split() == readings
    assert json.loads((tmp_path / "ocr.json").read_text())["quotes"] == report["quotes"]
