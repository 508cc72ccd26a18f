"""The Paddle engine in one process: what a step does to weights, averages and batch statistics."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle")
from tests.training.rank_script import joined_batch  # noqa: E402
from training.checkpoint import load_checkpoint  # noqa: E402
from training.config import TrainConfig  # noqa: E402
from training.config_file import build_config  # noqa: E402
from training.engines import NonFinite  # noqa: E402
from training.engines.paddle import PaddleTelescope, telescope  # noqa: E402
from training.errors import ConfigError, KeyMismatch, RunError  # noqa: E402

SIZES = {"height": 8, "width": 32, "blocks": 1, "hidden": 2, "stn": False, "dropout": 0.1}
Arrays = dict[str, np.ndarray]


def settings(*, model: Any = None, optimiser: Any = None, run: Any = None, **top: Any) -> TrainConfig:
    tree = {
        "out": "unused",
        "device": "cpu",
        "data": {"rendered": 1, "rendered_validation": 1},
        "loss": {"text_focus": False},
        "model": SIZES | (model or {}),
        "optimiser": optimiser or {},
        "run": run or {},
        **top,
    }
    return build_config(tree, TrainConfig, origin="test")


def learn(engine: PaddleTelescope, steps: int, *, start: int = 0, rate: float = 0.01) -> list[float]:
    return [engine.step(joined_batch(), step=start + k, learning_rate=rate)["loss"] for k in range(steps)]


def part(engine: PaddleTelescope, name: str) -> Arrays:
    return {k: v.copy() for k, v in engine.state().items() if k.startswith(name)}


def equal(a: Arrays, b: Arrays) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_the_same_seed_learns_the_same_and_another_does_not() -> None:
    one, two, other = (telescope(settings(seed=seed)) for seed in (1, 1, 2))
    assert learn(one, 3) == learn(two, 3) != learn(other, 3)
    assert equal(one.state(), two.state())


def test_a_state_taken_up_by_a_new_engine_goes_on_alike() -> None:
    averaged = settings(run={"ema_decay": 0.9})
    whole, first = telescope(averaged), telescope(averaged)
    losses = learn(whole, 5)
    learn(first, 2)
    second = telescope(averaged)
    second.load_state(first.state(), origin="first")
    assert learn(second, 3, start=2) == losses[2:]
    assert equal(second.state(), whole.state())


def test_a_state_that_does_not_fit_is_refused_by_name() -> None:
    engine, state = telescope(settings()), telescope(settings()).state()
    del state["network/block1.0.weight"]
    with pytest.raises(KeyMismatch, match=r"last\.ckpt does not fit.*block1\.0\.weight"):
        engine.load_state(state, origin="last.ckpt")


def test_a_loss_that_is_no_number_changes_no_weight() -> None:
    engine = telescope(settings())
    learn(engine, 1)
    weights = {n: p for n, p in engine.network.named_parameters() if not p.stop_gradient}
    batch, before = joined_batch(), {n: p.numpy().copy() for n, p in weights.items()}
    batch.lr[0, 0, 0, 0] = np.nan
    with pytest.raises(NonFinite, match="loss is nan, mse is nan, grad_norm is nan"):
        engine.step(batch, step=1, learning_rate=0.01)
    assert all(np.array_equal(before[n], p.numpy()) for n, p in weights.items())
    assert all(parameter.grad is None for parameter in engine.network.parameters())


def test_averaged_weights_follow_the_learnt_ones_and_are_those_that_predict(tmp_path: Path) -> None:
    engine = telescope(settings(run={"ema_decay": 0.5}))
    before = part(engine, "network/")
    learn(engine, 1)
    learnt, average = part(engine, "network/"), part(engine, "average/")
    name = "block1.0.weight"
    expected = 0.1 * before[f"network/{name}"] + 0.9 * learnt[f"network/{name}"]  # (1 + 0) / (10 + 0) < 0.5
    np.testing.assert_allclose(average[f"average/{name}"], expected, atol=1e-7)
    assert np.array_equal(average["average/block2.bn1._mean"], learnt["network/block2.bn1._mean"])
    engine.save_weights(tmp_path / "w.safetensors", source={})
    stored = load_checkpoint(tmp_path / "w.safetensors")
    assert np.array_equal(stored.state_dict()[name].numpy(), average[f"average/{name}"])
    lr = joined_batch().lr
    np.testing.assert_allclose(engine.predict(lr), stored(paddle.to_tensor(lr)).numpy(), atol=1e-6)


def test_predicting_does_not_change_what_is_learnt_next() -> None:
    plain, watched = telescope(settings()), telescope(settings())
    learn(plain, 1)
    learn(watched, 1)
    watched.predict(joined_batch().lr)
    assert learn(plain, 1, start=1) == learn(watched, 1, start=1)


@pytest.mark.parametrize(("frozen", "moved"), [("frozen", False), ("local", True)])
def test_frozen_batch_statistics_stay(frozen: str, moved: bool) -> None:
    engine = telescope(settings(model={"batch_norm": frozen}))
    before = engine.state()["network/block2.bn1._mean"].copy()
    learn(engine, 1)
    assert np.array_equal(before, engine.state()["network/block2.bn1._mean"]) != moved


@pytest.mark.parametrize("clip", ["global", "per_tensor", "none"])
def test_gradients_are_clipped_as_named(clip: str) -> None:
    """Plain in Adam's first moment after one step: 0.5 times the clipped gradient."""
    norm = 1e-3
    engine = telescope(settings(optimiser={"clip": clip, "clip_norm": norm}, model={"dropout": 0.0}))
    gradients = engine.gradients(joined_batch())
    values = engine.step(joined_batch(), step=0, learning_rate=0.01)
    total = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in gradients.values()))
    assert values["grad_norm"] == pytest.approx(total, rel=1e-3)
    name = "block1.0.weight"
    own = np.linalg.norm(gradients[name])
    assert norm < own < total
    scale = {"global": norm / total, "per_tensor": norm / own, "none": 1.0}[clip]
    moment = engine.state()[f"optimiser/{name}/moment1_0"]
    np.testing.assert_allclose(moment, 0.5 * scale * gradients[name], rtol=0, atol=1e-3 * scale * own)


def test_training_starts_from_the_weights_it_is_given(tmp_path: Path) -> None:
    first = telescope(settings(seed=1))
    learn(first, 1)
    first.save_weights(tmp_path / "w.safetensors", source={})
    second = telescope(settings(seed=2, model={"init": str(tmp_path / "w.safetensors")}))
    assert equal(part(first, "network/"), part(second, "network/"))
    with pytest.raises(KeyMismatch, match=r"model\.init .*w\.safetensors does not fit"):
        telescope(settings(model={"init": str(tmp_path / "w.safetensors"), "blocks": 2}))


def test_what_a_cpu_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_norm synchronised needs GPUs"):
        telescope(settings(model={"batch_norm": "synchronised"}))
    if not paddle.device.is_compiled_with_cuda():
        with pytest.raises((ConfigError, RunError), match="device is gpu"):
            telescope(settings(device="gpu"))
