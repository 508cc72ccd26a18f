"""The engine that `evaluate` and `predict` choose if a package is broken."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
from training.predictor import open_weights


def test_a_broken_openvino_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb.so.12: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    for module in [name for name in sys.modules if f"{name}.".startswith("openvino.")]:
        monkeypatch.delitem(sys.modules, module)
    assert open_weights("tbsrn").engine.startswith("onnxruntime ")
    assert "openvino, which is installed but cannot be loaded (ImportError: libtbb.so.12" in caplog.text
