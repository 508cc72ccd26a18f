"""`python -m bench precision` on a handful of crops, with the bundled model."""

import json
from pathlib import Path

import pytest

from app.errors import StartupError
from app.inference import runtimes
from bench import precision
from bench.__main__ import main
from tests.conftest import REPOSITORY
from tests.training.calibration.words import installed_reader

pytestmark = pytest.mark.slow


def measured(tmp_path: Path) -> dict[str, str]:
    pytest.importorskip("openvino")
    data = str(REPOSITORY / "examples" / "crops")
    main(["precision", "--quick", "--data", data, "--readers", installed_reader(), "--out", str(tmp_path)])
    quotes: dict[str, str] = json.loads((tmp_path / "precision.json").read_text())["quotes"]
    return quotes


def test_every_precision_of_the_processor_is_compared_with_fp32(tmp_path: Path) -> None:
    quotes = measured(tmp_path)
    rows = quotes["precision"].splitlines()[2:]
    assert rows[0].startswith("| fp32 | ")
    assert quotes["crops"] == "4"
    assert len(rows) == 2 or "bf16 cannot be had" in quotes["without_bf16"]


def test_a_precision_that_the_processor_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*args: object, precision: str, **options: object) -> object:
        if precision == "bf16":
            raise StartupError("this processor has no bf16")
        return original(*args, precision=precision, **options)  # type: ignore[arg-type]  # as given

    original = runtimes.open_runtime
    monkeypatch.setattr(precision, "open_runtime", opened)
    quotes = measured(tmp_path)
    assert quotes["without_bf16"] == "this processor has no bf16"
    assert len(quotes["precision"].splitlines()) == 3
