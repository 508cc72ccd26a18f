"""Pretraining the recogniser: it learns, resumes, and what it leaves is what the loss takes."""

from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")
pytest.importorskip("tensorboardX")
from tests.conftest import REPOSITORY  # noqa: E402
from training.architecture import RecogniserConfig  # noqa: E402
from training.config import PretrainConfig, TrainConfig  # noqa: E402
from training.config_file import read_config  # noqa: E402
from training.engines import paddle as paddle_engine  # noqa: E402
from training.errors import ConfigError, RunError  # noqa: E402
from training.pretrain import pretrain  # noqa: E402
from training.recogniser_file import load_recogniser  # noqa: E402
from training.train import train  # noqa: E402

CONFIGS = REPOSITORY / "training" / "configs"
READER = RecogniserConfig(stem=(4, 8), stages=(8, 8, 8, 16), blocks=(1, 1, 1, 1), width=32, heads=4, inner=32)
FAST = ["data.workers=0", "data.rendered=16", "data.rendered_validation=4", "run.batch_size=4", "run.log_every=1",
        "run.evaluate_every=4", "run.save_every=4", "optimiser.warmup_steps=0", "optimiser.learning_rate=0.005",
        "reader.height=16", "reader.width=64"]  # fmt: skip


@pytest.fixture(autouse=True)
def _few_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecogniserConfig, "small", classmethod(lambda cls: READER))


def config(out: Path, *overrides: str) -> PretrainConfig:
    path = CONFIGS / "recogniser-small.yml"
    return read_config(path, PretrainConfig, [*FAST, f"out={out}", *overrides])


def losses(out: Path) -> list[float]:
    lines = (out / "metrics.csv").read_text().splitlines()[1:]
    return [float(line.split(",")[2]) for line in lines if line.split(",")[2]]


@pytest.mark.slow
def test_reading_is_learnt_resumed_and_taken_by_the_loss(tmp_path: Path) -> None:
    pretrain(config(tmp_path / "whole", "run.steps=16", "optimiser.schedule=constant"))
    curve = losses(tmp_path / "whole")
    assert len(curve) == 16
    assert np.mean(curve[-4:]) < 0.95 * np.mean(curve[:4])

    pretrain(config(tmp_path / "parts", "run.steps=8", "optimiser.schedule=constant"))
    pretrain(config(tmp_path / "parts", "run.steps=16", "optimiser.schedule=constant"), resume=True)
    assert losses(tmp_path / "parts") == curve

    best = tmp_path / "whole" / "best.safetensors"
    assert load_recogniser(best).config == READER
    small = ["model.height=8", "model.width=32", "model.hidden=2", "data.rendered=8", "data.rendered_validation=2",
             "data.workers=0", "run.batch_size=2", "run.steps=2", "run.log_every=1"]  # fmt: skip
    text = ["loss.text_focus=true", f"recogniser={best}", f"out={tmp_path / 'telescope'}"]
    train(read_config(CONFIGS / "tiny.yml", TrainConfig, [*small, *text]))
    header, first, *_ = (tmp_path / "telescope" / "metrics.csv").read_text().splitlines()
    values = dict(zip(header.split(","), first.split(","), strict=True))
    parts = float(values["mse"]) + 10 * float(values["attention"]) + 0.0005 * float(values["recognition"])
    assert float(values["loss"]) == pytest.approx(parts, rel=1e-5)
    assert float(values["attention"]) > 0


@pytest.mark.slow
def test_a_recogniser_of_another_size_is_not_resumed(tmp_path: Path) -> None:
    pretrain(config(tmp_path / "run", "run.steps=1"))
    other = config(tmp_path / "run", "run.steps=2", "reader.size=published")
    with pytest.raises(RunError, match="recogniser was small, now published"):
        pretrain(other, resume=True)


def test_mixed_precision_on_a_cpu_is_refused_and_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.amp is bfloat16, which Paddle has on GPUs only"):
        paddle_engine.recogniser(config(tmp_path, "run.amp=bfloat16", "device=cpu"))
