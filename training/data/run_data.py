"""The two ends of a run's data: the loader it learns from, and the batches it is evaluated on."""

from __future__ import annotations

from model_store.manifest import PixelSpec
from training.config import CommonConfig
from training.data.loader import Loader, validation_batches
from training.data.samples import Batch, training_samples, validation_samples


def open_loader(config: CommonConfig, spec: PixelSpec, *, rank: int, world: int) -> Loader:
    """Training batches of one rank. Raises DataError or ConfigError naming what cannot be used."""
    return Loader(
        training_samples(config.data, spec, seed=config.seed),
        config.run.batch_size,
        config.seed,
        shuffle=config.data.shuffle,
        workers=config.data.workers,
        rank=rank,
        world=world,
    )


class KeptBatches:
    """Validation batches, made once: rank 0 evaluates on the same pictures dozens of times."""

    def __init__(self, config: CommonConfig, spec: PixelSpec) -> None:
        self._samples = validation_samples(config.data, spec, seed=config.seed)
        self._batch_size, self._limit = config.run.evaluation_batch_size, config.data.validation_limit
        self._kept: list[Batch] = []

    def batches(self) -> list[Batch]:
        if not self._kept:
            self._kept = list(validation_batches(self._samples, batch_size=self._batch_size, limit=self._limit))
        return self._kept
