"""`python -m training calibrate` from words to the file that the service loads, on a handful of words."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest

from model_store import BUNDLED
from model_store.calibration import Calibration
from model_store.store import ModelStore
from tests.training.calibration.words import drawn_words, installed_reader
from training.__main__ import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return drawn_words(tmp_path / "words")


@pytest.fixture
def reader() -> str:
    pytest.importorskip("openvino")
    return installed_reader()


@pytest.fixture
def _reads_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognisers are opened here, and not in each process of a pool, which takes seconds."""
    monkeypatch.setattr("training.calibration.readers.ProcessPoolExecutor", lambda **_: ThreadPoolExecutor(1))


def calibrate(*arguments: object) -> int:
    return main(["calibrate", *map(str, arguments)])


@pytest.mark.slow
@pytest.mark.usefixtures("_reads_in_this_process")
def test_a_calibration_lands_beside_its_model_and_the_service_takes_it(
    data: Path, reader: str, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(BUNDLED / "tbsrn" / "3", store / "tbsrn" / "3")
    artefact = ModelStore(store).resolve("tbsrn:3")
    assert Calibration.of(artefact) is None
    out = tmp_path / "out"
    command = ("--model", "tbsrn:3", "--model-store", store, "--data", data, "--scripts", "latin")
    assert calibrate(*command, "--readers", reader, "--draws", 3, "--out", out) == 0
    assert Calibration.of(artefact) is not None
    report = json.loads((store / "tbsrn" / "calibration-3.json").read_text())
    assert report["digest"] == artefact.digest
    assert report["precision"] == "fp32"
    assert report["points_over_plain"].keys() == {"any", "named", "named_cross_validated"}
    assert report["rules"].keys() == {"any", reader}
    ElementTree.parse(out / "curve.svg")
    readings = (out / "readings.jsonl").read_text().split()
    assert calibrate(*command, "--readers", reader, "--draws", 3, "--out", out, "--dry-run") == 0
    assert (out / "readings.jsonl").read_text().split() == readings  # taken up, not read again
    assert json.loads((out / "calibration.json").read_text())["rules"] == report["rules"]


@pytest.mark.slow
@pytest.mark.usefixtures("_reads_in_this_process")
def test_second_opinions_are_added_to_rules_that_stay(
    data: Path, reader: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(BUNDLED / "tbsrn" / "3", store / "tbsrn" / "3")
    chosen = ("--second-opinions", "--model", "tbsrn:3", "--model-store", store, "--data", data)
    command = (*chosen, "--scripts", "latin", "--readers", reader, "--draws", 2, "--out", tmp_path / "out")
    assert calibrate(*command) == 2  # there are no rules yet
    file = store / "tbsrn" / "calibration-3.json"
    shutil.copy(BUNDLED / "tbsrn" / file.name, file)
    before = json.loads(file.read_text())
    rules = {"any": before["rules"]["any"]}
    file.write_text(json.dumps(before | {"rules": rules}))
    assert calibrate(*command) == 2
    assert f"the calibration has no rule for {reader}" in capsys.readouterr().err
    assert json.loads(file.read_text())["rules"] == rules
    file.write_text(json.dumps(before))
    assert calibrate(*command) == 0
    after = json.loads(file.read_text())
    found = after.pop("second_opinions")
    before.pop("second_opinions", None)
    assert (after, list(found["sent"])) == (before, [reader, f"{reader} as any"])
    assert (found["data"]["crops"], found["recognisers"].keys()) == (6, {reader})
    calibration = Calibration.of(ModelStore(store).resolve("tbsrn:3"))
    assert calibration is not None
    assert calibration.second_opinions.keys() == found["limits"].keys()


@pytest.mark.slow
def test_a_file_of_weights_is_calibrated_into_the_folder_of_results(
    data: Path, reader: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("--weights", BUNDLED / "tbsrn" / "3" / "onnx" / "model.onnx", "--data", data, "--scripts", "latin")
    assert calibrate(*command, "--readers", reader, "--draws", 1, "--out", out) == 0
    assert json.loads((out / "calibration.json").read_text())["model"] == "model.onnx"


def test_a_model_that_is_not_in_the_store_is_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate("--model", "tbsrn:99", "--data", data, "--out", tmp_path / "out") == 2
    assert "tbsrn:99 cannot be calibrated: model 'tbsrn' has no version '99'" in capsys.readouterr().err
