"""From nothing to an answered request: data, training, evaluation, export, publishing and serving, all real."""

import csv
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

for needed in ("lmdb", "openvino", "paddle", "paddle2onnx", "tensorboardX", "uvicorn"):
    pytest.importorskip(needed)
from tests.conftest import REPOSITORY  # noqa: E402
from training.__main__ import main  # noqa: E402

TINY = REPOSITORY / "training" / "configs" / "tiny.yml"
TILE = ["model.height=8", "model.width=32"]  # what attention costs grows with the square of its area
SHORT = ["run.steps=30", "run.evaluate_every=30", "data.rendered_validation=4", "data.workers=0"]
CROP = REPOSITORY / "examples" / "crops" / "harbour.png"


def run(*arguments: object) -> None:
    """A command with the arguments that a user types."""
    assert main([*map(str, arguments)]) == 0


@contextmanager
def served(store: Path) -> Iterator[str]:
    """The address of a service of its own on a model store."""
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--model-store", str(store), "--model", "tiny"]
    settings = {"RUNTIME": "openvino", "PRECISION": "fp32", "BATCH_SIZES": "1", "OCR": "off"}
    environment = {"PATH": os.environ["PATH"], **{f"TELESCOPE_{name}": value for name, value in settings.items()}}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = ""
    try:
        for line in process.stderr:
            said += line
            if address := re.search(r"http://[\d.]+:\d+", line):
                yield address.group()
                break
        else:
            pytest.fail(f"the service did not start: {said}")
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.slow
def test_what_is_trained_is_what_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    best, facts, card = tmp_path / "run" / "best.safetensors", tmp_path / "facts.json", tmp_path / "card.md"
    run("make-data", "rendered", tmp_path / "words", "--count", 8, "--workers", 1)
    run("train", "-c", TINY, "-o", f"out={tmp_path / 'run'}", *TILE, *SHORT)
    with (tmp_path / "run" / "metrics.csv").open(newline="") as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]
    assert losses[-1] < 0.5 * losses[0]

    run("evaluate", "--weights", best, "--data", tmp_path / "words", "--out", tmp_path / "ev")
    assert "words (8 crops)" in capsys.readouterr().out
    (score,) = json.loads((tmp_path / "ev" / "report.json").read_text())["scores"]

    facts.write_text(json.dumps({"training": {"data": "rendered words"}, "licence": "Apache-2.0"}))
    card.write_text("# A toy, to see that everything fits together")
    monkeypatch.setattr("training.export.clean_commit", lambda _: "c" * 40)  # a working tree may be at work
    monkeypatch.setattr("training.parity.BATCH_SIZES", (1, 2))  # the forms are compared in test_export
    monkeypatch.setattr("training.parity.CROPS", 2)
    options = ["--name", "tiny", "--store", tmp_path / "store", "--card", card, "--facts", facts]
    command = ["export", "--weights", best, "--out", tmp_path / "exported", "--evaluation", tmp_path / "ev"]
    run(*command, "--publish", *options)

    with served(tmp_path / "store") as address:
        with urllib.request.urlopen(f"{address}/v1/models/tiny", timeout=30) as answer:
            figures = {metric["name"]: metric["value"] for metric in json.load(answer)["metrics"]}
        request = urllib.request.Request(
            f"{address}/v1/super-resolve?geometry=telescope", CROP.read_bytes(), {"Content-Type": "image/png"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert (answer.headers["X-Model-Name"], answer.headers["X-Model-Version"]) == ("tiny", "1")
            picture = pixels(answer.read())
    assert figures["psnr_avg"] == score["sr"]["psnr_avg"]
    run("predict", "--weights", best, "--image", CROP, "--out", tmp_path / "predicted")
    predicted = pixels((tmp_path / "predicted" / f"sr_{CROP.name}").read_bytes())
    assert picture.shape == (16, 64, 3)
    assert np.abs(picture - predicted).max() <= 1  # rounding to 8 bits


def pixels(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)
