"""Records name what was installed, whichever package brings a module."""

from importlib import metadata

import pytest

from training import versions as module
from training.versions import versions


def test_a_package_is_named_by_the_module_it_brings() -> None:
    found = versions(["PIL", "numpy", "no_such_module"])
    assert found == {"pillow": metadata.version("pillow"), "numpy": metadata.version("numpy")}


def test_the_gpu_s_package_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "packages_distributions", lambda: {"paddle": ["paddlepaddle-gpu"] * 2})
    monkeypatch.setattr(module, "version", lambda name: {"paddlepaddle-gpu": "3.3.1"}[name])
    assert versions(["paddle", "onnx"]) == {"paddlepaddle-gpu": "3.3.1"}
