"""The order of a training step, the same for every framework."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from training.config import CommonConfig
from training.data.samples import Batch
from training.engines import NonFinite, step_seed


class BaseEngine(ABC):
    """Base of every `Engine`. Its __init__ sets the attributes below; its methods call the framework.

    average: averaged weights with `update(network, step)`, or None. unchecked: values that may be infinite.
    """

    rank: int
    world: int
    architecture: dict[str, Any]
    network: Any
    average: Any
    config: CommonConfig
    unchecked: frozenset[str] = frozenset()

    def step(self, batch: Batch, *, step: int, learning_rate: float) -> dict[str, float]:
        """One training step: see `Engine.step`."""
        self._seed(step_seed(self.config.seed, rank=self.rank, step=step))
        parts = self._backward(batch, step)
        values = self._mean_over_ranks(self._clip(parts))
        if not all(np.isfinite(value) for name, value in values.items() if name not in self.unchecked):
            self._clear_gradients()
            raise NonFinite(values)
        self._update(learning_rate)
        self._clear_gradients()
        if self.average is not None:
            self.average.update(self.network, step)
        return values

    def any(self, flag: bool) -> bool:
        return self._mean_over_ranks({"flag": float(flag)})["flag"] > 0

    @abstractmethod
    def _seed(self, seed: int) -> None:
        """Seed the framework's random numbers."""

    @abstractmethod
    def _backward(self, batch: Batch, step: int) -> Mapping[str, Any]:
        """Compute the losses of a batch, scalars by name, and their gradients, averaged over ranks."""

    @abstractmethod
    def _clip(self, parts: Mapping[str, Any]) -> dict[str, float]:
        """Clip the gradients -> the losses as numbers, and "grad_norm" before clipping."""

    @abstractmethod
    def _update(self, learning_rate: float) -> None:
        """Let the optimiser change the weights."""

    @abstractmethod
    def _clear_gradients(self) -> None:
        """Forget the gradients."""

    @abstractmethod
    def _mean_over_ranks(self, values: Mapping[str, float]) -> dict[str, float]:
        """Average values over all ranks; every rank must call this with the same names."""
