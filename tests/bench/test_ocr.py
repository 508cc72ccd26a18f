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

from app.judge import Calibration
from bench.__main__ import main
from bench.ocr_data import HEIGHTS, SUBSETS, small, words
from model_store import BUNDLED
from model_store.store import ModelStore
from training.errors import MissingExtra
from training.ocr import open_reader

WORDS = ["Harbour", "EXIT", "2048", "coffee"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    for word in WORDS:
        crop = np.full((64, 20 + 34 * len(word), 3), (200, 245, 250), np.uint8)
        cv2.putText(crop, word, (10, 46), cv2.FONT_HERSHEY_DUPLEX, 1.5, (90, 30, 20), 3, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"{word}.png"), crop)
    (folder / "low.png").write_bytes(cv2.imencode(".png", np.full((20, 60, 3), 9, np.uint8))[1].tobytes())
    names = [*WORDS, "low"]
    (folder / "labels.tsv").write_text("".join(f"{name}.png\t{name}\n" for name in names))
    return folder


@pytest.fixture
def reader() -> str:
    try:
        open_reader("rapidocr-v6")
    except MissingExtra as missing:
        pytest.skip(str(missing))
    return "rapidocr-v6"


def run(*arguments: object) -> None:
    pytest.importorskip("openvino")
    main([str(argument) for argument in arguments])


def test_words_keep_their_proportion_and_their_seed_in_every_subset(data: Path) -> None:
    found = words(data)
    assert [word.label for word in found] == WORDS  # the low one is no HR
    for subset in SUBSETS:
        crops = small(subset, found, seed=1)
        for word, crop in zip(found, crops, strict=True):
            assert HEIGHTS[0] <= len(crop) <= HEIGHTS[1]
            proportion = word.rgb.shape[1] / len(word.rgb)
            assert abs(crop.shape[1] - proportion * len(crop)) <= 1
        alone = small(subset, found[2:], seed=1)
        assert all((a == b).all() for a, b in zip(crops[2:], alone, strict=True))


def test_the_proof_reports_every_recogniser_subset_and_variant(
    data: Path, reader: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = (
        "ocr",
        "--model",
        "tbsrn:1",
        "--data",
        data,
        "--readers",
        reader,
        "--subsets",
        "sharp,hard",
        "--out",
        out,
    )
    run(*command)
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    figures = report["figures"][reader]
    assert list(figures) == ["sharp", "hard", "all"]
    assert list(figures["all"]) == ["plain", "bicubic", "always", "auto", "named"]
    assert figures["sharp"]["plain"]["accuracy"] == 1
    assert figures["all"]["always"]["words"] == 2 * len(WORDS)
    assert report["decisions"]["hard"]["any"].keys() <= {"uncalibrated", "blurred", "sharp", "noisy"}
    assert "| sharp | 100.0 (51.0-100.0) |" in capsys.readouterr().out
    ElementTree.parse(out / "chart.svg")
    readings = (out / "readings.jsonl").read_text().split()
    run(*command)
    assert (out / "readings.jsonl").read_text().split() == readings  # taken up, not read again
    assert json.loads((out / "report.json").read_text())["figures"] == report["figures"]


def test_a_calibration_lands_beside_its_model_and_the_service_takes_it(
    data: Path, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(BUNDLED / "tbsrn" / "1", store / "tbsrn" / "1")
    artefact = ModelStore(store).resolve("tbsrn:1")
    assert Calibration.of(artefact) is None
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["bench", "calibrate"])
    run(
        *("calibrate", "--model", "tbsrn:1", "--model-store", store, "--data", data),
        *("--readers", reader, "--subsets", "blurred,hard", "--out", out),
    )
    assert Calibration.of(artefact) is not None
    report = json.loads((store / "tbsrn" / "calibration-1.json").read_text())
    assert report["digest"] == artefact.digest
    assert report["points_over_plain"].keys() == {"always", "any", "named", "named_cross_validated"}
    assert report["rules"].keys() == {"any", reader}
    ElementTree.parse(out / "curve.svg")


def test_an_unknown_subset_is_named(data: Path, reader: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no subset 'foggy'; known are sharp, blurred"):
        run("ocr", "--data", data, "--readers", reader, "--subsets", "foggy", "--out", tmp_path)
