"""`python -m bench ocr` and `calibrate` from words to report, on a handful, with the bundled model."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from bench.__main__ import main
from bench.crops import BLURS, CELLS, HEIGHTS, Cell, crop, half_of, words
from bench.rendered import WORDS, fonts, render
from model_store import BUNDLED
from model_store.blur import estimate
from model_store.calibration import Calibration
from model_store.store import ModelStore
from training.errors import DataError, MissingExtra
from training.ocr import open_reader

HARBOURS = ["Harbour", "EXIT", "2048", "coffee", "Museum", "park"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    for word in HARBOURS:
        picture = np.full((64, 20 + 34 * len(word), 3), (200, 245, 250), np.uint8)
        cv2.putText(picture, word, (10, 46), cv2.FONT_HERSHEY_DUPLEX, 1.5, (90, 30, 20), 3, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"{word}.png"), picture)
    (folder / "low.png").write_bytes(cv2.imencode(".png", np.full((20, 60, 3), 9, np.uint8))[1].tobytes())
    names = [*HARBOURS, "low"]
    (folder / "labels.tsv").write_text("".join(f"{name}.png\t{name}\n" for name in names))
    return folder


@pytest.fixture
def reader() -> str:
    try:
        open_reader("rapidocr-v6")
    except MissingExtra as missing:
        pytest.skip(str(missing))
    return "rapidocr-v6"


@pytest.fixture
def faces() -> dict[str, tuple[str, ...]]:
    try:
        return fonts()
    except DataError as missing:
        pytest.skip(str(missing))


def run(*arguments: object) -> None:
    pytest.importorskip("openvino")
    main([str(argument) for argument in arguments])


def test_the_halves_share_no_photograph_and_leave_no_word_out(data: Path) -> None:
    halves = [words(data, half, scripts=["latin"]) for half in ("calibration", "proof")]
    assert all(halves)
    assert sorted(word.label for half in halves for word in half) == sorted(HARBOURS)  # the low one is not sharp
    assert half_of("iiit5k/598_1.jpg") == half_of("iiit5k/598_2.jpg")


def test_words_keep_their_proportion_and_their_seed_in_every_cell(data: Path) -> None:
    found = words(data, "proof", scripts=["latin"])
    assert len(CELLS) == len(HEIGHTS) * len(BLURS)
    for cell in CELLS:
        for word in found:
            made = crop(word, cell, seed=1)
            assert len(made) == cell.height
            assert abs(made.shape[1] - word.rgb.shape[1] / len(word.rgb) * cell.height) <= 1
            assert (made == crop(word, cell, seed=1)).all()


def test_a_blurred_cell_is_measured_as_blurred_as_it_is(data: Path) -> None:
    found = words(data, "proof", scripts=["latin"])
    for height in (24, 48):
        measured = [estimate(crop(word, Cell(height, 0.08), seed=1)).blur for word in found]
        assert np.median(measured) == pytest.approx(0.08 * height, rel=0.25)


def test_rendered_scripts_have_words_in_both_halves(faces: dict[str, tuple[str, ...]]) -> None:
    """A hundred at least, where a font draws them."""
    for script in ("digits", "chinese"):
        if not faces[script]:
            pytest.skip(f"no font here draws {script}")
        for half in ("calibration", "proof"):
            assert len(words(Path(), half, scripts=[script])) >= 100  # type: ignore[arg-type]


def test_a_rendered_word_is_as_blurred_as_was_wished(faces: dict[str, tuple[str, ...]]) -> None:
    rng = np.random.default_rng(0)
    for blur in (1.0, 3.0):
        pictures = [render(w, font=faces["latin"][0], height=40, blur=blur, rng=rng) for w in WORDS["latin"]]
        assert {len(picture) for picture in pictures} == {40}
        assert np.median([estimate(picture).blur for picture in pictures]) == pytest.approx(blur, rel=0.2)


def test_the_proof_reports_every_recogniser_cell_and_variant(
    data: Path, reader: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ("ocr", "--model", "tbsrn", "--data", data, "--readers", reader, "--scripts", "latin")
    run(*command, "--limit", 2, "--out", out)
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    figures = report["figures"][reader]["latin"]
    assert list(figures) == [*(cell.name for cell in CELLS), "blurred", "all"]
    assert list(figures["all"]) == ["plain", "always", "auto", "named"]
    assert figures["48 px, blur 0"]["plain"]["accuracy"] == 1
    assert figures["48 px, blur 0"]["named"]["over_plain"]["points"] == 0
    assert (figures["all"]["always"]["words"], figures["blurred"]["always"]["words"]) == (2 * 30, 2 * 12)
    assert sum(report["reasons"]["latin"][reader].values()) == 60
    assert "| 48 px, blur 0 | 100.0 (34.2-100.0) |" in capsys.readouterr().out
    ElementTree.parse(out / "chart.svg")
    readings = (out / "readings.jsonl").read_text().split()
    run(*command, "--limit", 2, "--out", out)
    assert (out / "readings.jsonl").read_text().split() == readings  # taken up, not read again
    assert json.loads((out / "report.json").read_text())["figures"] == report["figures"]


def test_a_calibration_lands_beside_its_model_and_the_service_takes_it(
    data: Path, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(BUNDLED / "tbsrn" / "3", store / "tbsrn" / "3")
    artefact = ModelStore(store).resolve("tbsrn:3")
    assert Calibration.of(artefact) is None
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["bench", "calibrate"])
    run(
        *("calibrate", "--model", "tbsrn:3", "--model-store", store, "--data", data, "--scripts", "latin"),
        *("--readers", reader, "--draws", 4, "--out", out),
    )
    assert Calibration.of(artefact) is not None
    report = json.loads((store / "tbsrn" / "calibration-3.json").read_text())
    assert report["digest"] == artefact.digest
    assert report["points_over_plain"].keys() == {"always", "any", "named", "named_cross_validated"}
    assert report["rules"].keys() == {"any", reader}
    ElementTree.parse(out / "curve.svg")


def test_an_unknown_script_is_named(data: Path) -> None:
    with pytest.raises(DataError, match="no script 'runes'; known are latin, digits, chinese"):
        words(data, "proof", scripts=["runes"])


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
