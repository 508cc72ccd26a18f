"""`python -m training average`."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("safetensors")
from training.__main__ import main
from training.weights_file import read_checkpoint, write_checkpoint


def checkpoint(path: Path, value: float, **architecture: int) -> str:
    weights = {"a": np.full((2, 3), value, np.float32), "b": np.array([value, -value], np.float32)}
    write_checkpoint(path, weights, architecture={"blocks": 1} | architecture, source={"run": value})
    return str(path)


def test_every_weight_is_the_mean_and_every_source_is_told(tmp_path: Path) -> None:
    files = [checkpoint(tmp_path / f"{value}.safetensors", value) for value in (1.0, 2.0, 6.0)]
    assert main(["average", *files, "--out", str(tmp_path / "mean.safetensors")]) == 0
    weights, about = read_checkpoint(tmp_path / "mean.safetensors")
    np.testing.assert_array_equal(weights["a"], np.full((2, 3), 3.0, np.float32))
    np.testing.assert_array_equal(weights["b"], np.array([3.0, -3.0], np.float32))
    assert about["source"] == {"average_of": [{"run": 1.0}, {"run": 2.0}, {"run": 6.0}]}


def test_another_architecture_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [checkpoint(tmp_path / "one", 1.0), checkpoint(tmp_path / "two", 1.0, blocks=2)]
    assert main(["average", *files, "--out", str(tmp_path / "mean")]) == 2
    assert "two is of another architecture" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
