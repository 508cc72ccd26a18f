"""`python -m bench precision` on a handful of crops, with the bundled model."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.__main__ import main
from training.errors import MissingExtra
from training.ocr import open_reader

pytest.importorskip("openvino")


def test_every_precision_is_compared_with_fp32(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bf16")
    try:
        open_reader("rapidocr-v4")
    except MissingExtra as exc:
        pytest.skip(str(exc))
    for word in ("harbour", "exit"):
        crop = np.full((64, 20 + 34 * len(word), 3), 230, np.uint8)
        cv2.putText(crop, word, (10, 46), cv2.FONT_HERSHEY_DUPLEX, 1.5, (60, 30, 20), 3, cv2.LINE_AA)
        cv2.imwrite(str(tmp_path / f"{word}.png"), crop)
    (tmp_path / "labels.tsv").write_text("harbour.png\tharbour\nexit.png\texit\n")
    out = tmp_path / "out"
    main(["precision", "--data", str(tmp_path), "--readers", "rapidocr-v4", "--out", str(out)])
    figures = json.loads((out / "report.json").read_text())["figures"]
    assert 0 < abs(figures["bf16"]["psnr_avg"] - figures["fp32"]["psnr_avg"]) < 0.1
    assert figures["fp32"]["rapidocr-v4"]["points"] == 0
    table = capsys.readouterr().out
    assert "on 2 crops" in table
    assert f"| bf16 | {figures['bf16']['psnr_avg']:.3f} |" in table
