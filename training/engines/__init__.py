"""Engines: one deep-learning framework each, behind an interface of numpy arrays.

    config -> open_telescope(config) -> step(batch), ..., predict(lr), save_weights(path)
    config -> open_recogniser(config) -> step(batch), ..., read(images), save_weights(path)

The training loop, the data and the checkpoints depend on no framework. To add an engine, write a module with
`telescope(config)` and `recogniser(config)`, and add it to ENGINES.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from training.config import CommonConfig, PretrainConfig, TrainConfig
from training.data.samples import Batch, Nchw
from training.errors import ConfigError
from training.optional import needs

Arrays = dict[str, np.ndarray]

# name -> module, imported on demand, and the pip extra that installs its framework
ENGINES = {"paddle": ("training.engines.paddle", "train"), "torch": ("training.engines.torch", "torch")}


class NonFinite(Exception):
    """A loss or gradient is infinite or NaN; the weights are unchanged. values: the step's losses."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self.values = dict(values)
        bad = {name: value for name, value in values.items() if not np.isfinite(value)}
        super().__init__(", ".join(f"{name} is {value}" for name, value in bad.items()))


class Engine(Protocol):
    """A network in training. With several processes, each has an engine, and all call the same methods.

    rank, world: number of this process, and of processes; rank 0 evaluates and writes.
    architecture: the network's arguments, as JSON values; a checkpoint with other ones is refused.
    """

    rank: int
    world: int
    architecture: dict[str, Any]

    def step(self, batch: Batch, *, step: int, learning_rate: float) -> dict[str, float]:
        """Train on one batch -> "loss", its parts, and "grad_norm" before clipping, averaged over ranks.

        Random numbers depend on (seed, rank, step) alone, so a resumed run repeats them. Raises NonFinite on
        every rank before any weight changes; end the run then, as running batch statistics may be NaN.
        """

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; every rank must call this."""

    def state(self) -> Arrays:
        """The arrays to resume from: weights, optimiser, averaged weights, loss scaling."""

    def load_state(self, state: Arrays, *, origin: str) -> None:
        """Resume from a `state`. Raises KeyMismatch naming the arrays that do not fit."""

    def save_weights(self, path: Path, *, source: Mapping[str, Any]) -> None:
        """Write the (averaged) weights in the format that the other commands read."""


class TelescopeEngine(Engine, Protocol):
    def predict(self, lr: Nchw) -> Nchw:
        """SR of LR in evaluation mode, with the averaged weights if there are any."""


class RecogniserEngine(Engine, Protocol):
    def read(self, images: Nchw) -> list[str]:
        """Read images (N, 3, H, W) in [0, 1]: one word each."""


def open_telescope(config: TrainConfig) -> TelescopeEngine:
    """The engine that a configuration names, with its network, loss and optimiser. Raises ConfigError."""
    engine: TelescopeEngine = _module(config).telescope(config)
    return engine


def open_recogniser(config: PretrainConfig) -> RecogniserEngine:
    """As `open_telescope`, with a recogniser to pretrain."""
    engine: RecogniserEngine = _module(config).recogniser(config)
    return engine


def step_seed(seed: int, *, rank: int, step: int) -> int:
    """Seed of the framework's random numbers (dropout) in one step, so that no generator state is stored."""
    return int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0])


def start_weights(config: TrainConfig, weights: Arrays, *, fresh: Arrays) -> Arrays:
    """Fit the weights of `model.init` to the configured network, whose random weights are `fresh`.

    Weights of an STN or attention that is switched off are dropped. Attention that `model.init` lacks gets fresh
    weights and an output of zero, so that the network computes the same function as before.
    """
    parts = {"stn_head.": config.model.stn, ".multihead.": config.model.attention}
    left = [part for part, wanted in parts.items() if not wanted]
    start = {name: value for name, value in weights.items() if not any(part in name for part in left)}
    for name in (name for name in fresh.keys() - weights.keys() if ".multihead." in name):
        start[name] = np.zeros_like(fresh[name]) if ".linears.3." in name else fresh[name]
    return start


def group(state: Arrays, prefix: str) -> Arrays:
    """Entries of `state` under `prefix/`, with the prefix removed."""
    return {k.removeprefix(f"{prefix}/"): v for k, v in state.items() if k.startswith(f"{prefix}/")}


def _module(config: CommonConfig) -> ModuleType:
    if config.engine not in ENGINES:
        raise ConfigError(f"engine is {config.engine!r}; there are: {', '.join(ENGINES)}")
    return engine_module(config.engine)


def engine_module(name: str) -> ModuleType:
    """The module of an engine. MissingExtra names the pip extra to install."""
    path, extra = ENGINES[name]
    with needs(f"engine {name}", extra=extra):
        return importlib.import_module(path)
