"""The PyTorch engine by itself: it repeats, resumes, clips and stops as the Paddle one; and its commands."""

import csv
import functools
import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from tests.conftest import REPOSITORY  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.config import TrainConfig  # noqa: E402
from training.config_file import build_config  # noqa: E402
from training.data.samples import Batch  # noqa: E402
from training.engines import NonFinite  # noqa: E402
from training.engines.torch import TorchTelescope, predictor, telescope  # noqa: E402
from training.errors import ConfigError  # noqa: E402
from training.predictor import open_weights  # noqa: E402

TINY = REPOSITORY / "training" / "configs" / "tiny.yml"
FAST = ["data.workers=0", "data.rendered=12", "data.rendered_validation=3", "run.batch_size=2", "run.log_every=1",
        "run.evaluate_every=4", "run.save_every=2", "run.sheet_rows=0", "run.ema_decay=0.9"]  # fmt: skip
Arrays = dict[str, np.ndarray]


def settings(*, model: Any = None, optimiser: Any = None, run: Any = None, **top: Any) -> TrainConfig:
    sizes = {"height": 8, "width": 32, "blocks": 1, "hidden": 2, "stn": False, "dropout": 0.1}
    tree = {"out": "unused", "device": "cpu", "data": {"rendered": 1, "rendered_validation": 1},
            "loss": {"text_focus": False}, "model": sizes | (model or {}), "optimiser": optimiser or {},
            "run": run or {}, **top}  # fmt: skip
    return build_config(tree, TrainConfig, origin="test")


def batch() -> Batch:
    draw = np.random.default_rng(7)
    return Batch(("a",) * 4, draw.random((4, 3, 8, 32), np.float32), draw.random((4, 3, 16, 64), np.float32))


def learn(engine: TorchTelescope, steps: int, *, start: int = 0) -> list[float]:
    return [engine.step(batch(), step=start + k, learning_rate=0.01)["loss"] for k in range(steps)]


def equal(a: Arrays, b: Arrays) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("amp", ["none", "bfloat16"])
def test_a_state_taken_up_by_a_new_engine_goes_on_to_the_digit(amp: str) -> None:
    averaged = settings(run={"ema_decay": 0.9, "amp": amp})
    whole, first, second = (telescope(averaged) for _ in range(3))
    losses = learn(whole, 5)
    learn(first, 2)
    second.load_state(first.state(), origin="first")
    assert learn(second, 3, start=2) == losses[2:]
    assert equal(second.state(), whole.state())


def test_bfloat16_learns_nearly_what_float32_does() -> None:
    exact, rounded = (
        learn(telescope(settings(model={"dropout": 0.0}, run={"amp": a})), 3) for a in ("none", "bfloat16")
    )
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.02)


@pytest.mark.slow
def test_a_compiled_network_learns_the_same() -> None:
    """In a process of its own: PyTorch does not compile functions whose lines are counted."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        compiled, expected, graphs = pool.submit(learn_compiled_and_plain).result()
    assert compiled == pytest.approx(expected, rel=1e-4)
    assert graphs > 0


def learn_compiled_and_plain() -> tuple[list[float], list[float], int]:
    """Compiled up to PyTorch's graphs, which it then runs as they are: C++ code would take a minute to compile."""
    torch.compile = functools.partial(torch.compile, backend="aot_eager")
    plain, compiled = (telescope(settings(model={"dropout": 0.0}, run={"compile": c})) for c in (False, True))
    return learn(compiled, 2), learn(plain, 2), torch._dynamo.utils.counters["aot_autograd"]["ok"]


def test_a_loss_that_is_no_number_changes_no_weight() -> None:
    engine = telescope(settings())
    learn(engine, 1)
    before, poisoned = engine.state(), batch()
    poisoned.lr[0, 0, 0, 0] = np.nan
    with pytest.raises(NonFinite, match="loss is nan, mse is nan, grad_norm is nan"):
        engine.step(poisoned, step=1, learning_rate=0.01)
    after = engine.state()
    assert all(np.array_equal(before[k], after[k]) for k in before if not k.endswith(("_mean", "_variance")))


def test_averaged_weights_follow_the_learnt_ones_and_are_those_that_predict(tmp_path: Path) -> None:
    engine = telescope(settings(run={"ema_decay": 0.5}))
    before = engine.state()
    learn(engine, 1)
    after, name = engine.state(), "block1.0.weight"
    expected = 0.1 * before[f"network/{name}"] + 0.9 * after[f"network/{name}"]  # (1 + 0) / (10 + 0) < 0.5
    np.testing.assert_allclose(after[f"average/{name}"], expected, atol=1e-7)
    assert np.array_equal(after["average/block2.bn1._mean"], after["network/block2.bn1._mean"])
    engine.save_weights(tmp_path / "w.safetensors", source={})
    np.testing.assert_allclose(
        predictor(tmp_path / "w.safetensors")[1](batch().lr), engine.predict(batch().lr), atol=1e-6
    )


@pytest.mark.parametrize(("frozen", "moved"), [("frozen", False), ("local", True)])
def test_frozen_batch_statistics_stay(frozen: str, moved: bool) -> None:
    engine = telescope(settings(model={"batch_norm": frozen}))
    before = engine.state()["network/block2.bn1._mean"]
    learn(engine, 1)
    assert np.array_equal(before, engine.state()["network/block2.bn1._mean"]) != moved


@pytest.mark.parametrize("clip", ["global", "per_tensor", "none"])
def test_gradients_are_clipped_as_named(clip: str) -> None:
    """Plain in Adam's first moment after one step: 0.5 times the clipped gradient."""
    norm, name = 1e-3, "block1.0.weight"
    engine = telescope(settings(optimiser={"clip": clip, "clip_norm": norm}, model={"dropout": 0.0}))
    gradients = engine.gradients(batch())
    values = engine.step(batch(), step=0, learning_rate=0.01)
    total = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in gradients.values()))
    own = np.linalg.norm(gradients[name])
    assert values["grad_norm"] == pytest.approx(total, rel=1e-4)
    assert norm < own < total
    scale = {"global": norm / total, "per_tensor": norm / own, "none": 1.0}[clip]
    moment = engine.state()[f"optimiser/{name}/moment1_0"]
    np.testing.assert_allclose(moment, 0.5 * scale * gradients[name], rtol=0, atol=1e-3 * scale * own)


def test_what_it_has_not_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"run\.amp is float16, which the torch engine does not"):
        telescope(settings(run={"amp": "float16"}))
    with pytest.raises(ConfigError, match="batch_norm synchronised needs GPUs"):
        telescope(settings(model={"batch_norm": "synchronised"}))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device is gpu, but the installed PyTorch sees none"):
            telescope(settings(device="gpu"))


def test_a_missing_pytorch_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for module in [name for name in sys.modules if name.startswith("training.engines.torch")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["train", "-c", str(TINY), "--engine", "torch", "-o", f"out={tmp_path}"]) == 2
    assert capsys.readouterr().err == (
        "train: engine torch needs the package torch, which is not installed; "
        "run: pip install 'text-telescope[torch]'.\n"
    )


@pytest.mark.slow
def test_a_published_model_runs_as_trained() -> None:
    pytest.importorskip("onnxruntime")
    lr = np.random.default_rng(3).random((2, 3, 16, 64), np.float32)
    found = open_weights("tbsrn:1", engine="torch")
    assert "torch" in found.engine
    np.testing.assert_allclose(found.run(lr), open_weights("tbsrn:1", engine="onnxruntime").run(lr), atol=1e-4)


@pytest.mark.slow
def test_the_command_trains_and_resumes(tmp_path: Path) -> None:
    assert main(training(tmp_path / "whole", "run.steps=6")) == 0
    assert main(training(tmp_path / "parts", "run.steps=3")) == 0
    assert main(training(tmp_path / "parts", "run.steps=6", resume=True)) == 0
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 6


@pytest.mark.slow
def test_two_processes_under_torchrun_learn_what_one_would_and_need_no_paddle(tmp_path: Path) -> None:
    """Paddle is hidden: on the machines this engine is for there is no build of it."""
    (tmp_path / "paddle.py").write_text("raise ModuleNotFoundError(\"No module named 'paddle'\", name='paddle')")
    crop = next((REPOSITORY / "examples" / "crops").glob("*.png"))
    weights = tmp_path / "two" / "best.safetensors"
    frozen = ["model.batch_norm=frozen", "run.ema_decay=0", "data.shuffle=false"]
    assert main(training(tmp_path / "one", "run.steps=3", *frozen, "run.batch_size=4")) == 0
    under_torchrun(
        tmp_path,
        training(tmp_path / "two", "run.steps=3", *frozen, "run.batch_size=2"),
        training(tmp_path / "two", "run.steps=5", *frozen, "run.batch_size=2", resume=True),
        ["predict", "--engine", "torch", "--weights", str(weights), "--image", str(crop), "--out", "sr"],
    )
    assert losses(tmp_path / "two")[:3] == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert len(losses(tmp_path / "two")) == 5
    assert list((tmp_path / "sr").iterdir())


def training(out: Path, *settings: str, resume: bool = False) -> list[str]:
    """The arguments of a small training run."""
    small = [*FAST, "model.height=8", "model.width=16", f"out={out}", *settings]
    return ["train", "-c", str(TINY), "--engine", "torch", *(["--resume"] if resume else []), "-o", *small]


def under_torchrun(folder: Path, *commands: list[str]) -> None:
    """Run the commands one after another in each of two processes."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{REPOSITORY}", "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command = [*launcher, "-m", "tests.training.commands", json.dumps(commands)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]


def losses(out: Path) -> list[float]:
    with (out / "metrics.csv").open(newline="") as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]
