"""An engine without a framework: one number that learns how bright SR must be."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.data.samples import Batch, Nchw
from training.engines import Arrays, NonFinite, step_seed


class FakeEngine:
    """SR is LR with each pixel repeated, times `gain`; the loss is its MSE, with noise drawn per step."""

    rank = 0
    world = 1

    def __init__(self, *, architecture: dict[str, Any] | None = None, seed: int = 1) -> None:
        self.architecture = architecture or {"blocks": 1, "hidden": 4}
        self.gain, self.momentum, self.seed = 0.2, 0.0, seed
        self.steps: list[int] = []
        self.rates: list[float] = []
        self.poisoned_at = -1  # step whose loss is not a number
        self.on_step: Callable[[int], None] = lambda step: None

    def step(self, batch: Batch, *, step: int, learning_rate: float) -> dict[str, float]:
        self.on_step(step)
        noise = np.random.default_rng(step_seed(self.seed, rank=self.rank, step=step)).normal()
        large = self._enlarged(batch.lr)
        error = self.gain * large - batch.hr
        loss = float(np.mean(error**2)) if step != self.poisoned_at else float("nan")
        if not np.isfinite(loss):
            raise NonFinite({"loss": loss, "mse": loss})
        gradient = float(np.mean(2 * error * large)) + 1e-3 * noise
        self.momentum = 0.5 * self.momentum + gradient
        self.gain -= 100 * learning_rate * self.momentum
        self.steps.append(step)
        self.rates.append(learning_rate)
        return {"loss": loss, "mse": loss, "grad_norm": abs(gradient)}

    def any(self, flag: bool) -> bool:
        return flag

    def predict(self, lr: Nchw) -> Nchw:
        return (self.gain * self._enlarged(lr)).astype(np.float32)

    def state(self) -> Arrays:
        return {"gain": np.array([self.gain]), "momentum": np.array([self.momentum])}

    def load_state(self, state: Arrays, *, origin: str) -> None:
        self.gain, self.momentum = float(state["gain"][0]), float(state["momentum"][0])

    def save_weights(self, path: Path, *, source: Mapping[str, Any]) -> None:
        path.write_text(f"{source['step']} {self.gain!r}")

    @staticmethod
    def _enlarged(lr: Nchw) -> Nchw:
        return lr.repeat(2, axis=2).repeat(2, axis=3)
