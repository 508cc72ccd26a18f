"""Trains TBSRN from a configuration.

python -m training train -c training/configs/tiny.yml
python -m training train -c training/configs/telescope.yml -o data.train=DIR run.epochs=10
python -m training train -c training/configs/telescope.yml --resume
python -m paddle.distributed.launch --gpus 0,1,2,3 training/__main__.py train -c ...

configuration -> engine, samples -> Trainer.fit -> out/best.safetensors, last.ckpt, metrics.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from model_store.manifest import PixelSpec
from training.config import TrainConfig
from training.config_file import add_config_arguments, configured
from training.engines import TelescopeEngine, open_telescope
from training.errors import ConfigError
from training.held_out import HeldOut, word_sets
from training.ocr import TextReader, open_readers
from training.trainer import BEST_WEIGHTS, Trainer, open_loader
from training.validation import (
    RECOGNISER_COLUMNS,
    TELESCOPE_COLUMNS,
    Evaluation,
    Recognisers,
    ValidationBatches,
    evaluate_telescope,
)

LOSS_COLUMNS = ("mse", "attention", "recognition", "reading")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="continue the run from out/last.ckpt")


def run(args: argparse.Namespace) -> None:
    """Train as configured. Raises TrainingError with one sentence."""
    train(configured(args, TrainConfig), resume=args.resume)


def train(config: TrainConfig, *, resume: bool = False) -> None:
    """Train, and write the run into `config.out`."""
    if config.run.seconds is not None:
        train_by_time(config, resume=resume)
        return
    if config.data.held_out and not config.run.readers:
        raise ConfigError("data.held_out keeps words to be read, so it needs run.readers")
    spec = PixelSpec(config.model.height, config.model.width, config.model.scale)
    engine = open_telescope(config)
    loader = open_loader(config, spec, engine)
    evaluate, measured = evaluation(config, spec, engine)
    columns = (*LOSS_COLUMNS, *measured)
    trainer = Trainer(config, engine, loader, evaluate=evaluate, columns=columns, resume=resume)
    trainer.fit()
    if engine.rank == 0:
        progress = trainer.progress
        print(f"{config.out / BEST_WEIGHTS}: step {progress.best_step}, score {progress.best:.4f}")
        if progress.unreadable:
            print(f"{progress.unreadable} unreadable samples were met and replaced")


def evaluation(
    config: TrainConfig, spec: PixelSpec, engine: TelescopeEngine
) -> tuple[Callable[[], Evaluation], Sequence[str]]:
    """The evaluation that the configuration asks for, and the names of its values.

    With `data.held_out` it is of held-out words, else of validation batches. Only rank 0 opens recognisers.
    """
    readers: list[TextReader] = open_readers(config.run.readers) if engine.rank == 0 else []
    if config.data.held_out:
        sets = word_sets(config.data, spec, seed=config.seed, limit=config.data.validation_limit)
        held_out = HeldOut(sets, readers, rows=config.run.sheet_rows)
        return lambda: held_out.evaluate(engine.predict), held_out.columns
    batches, recognisers = ValidationBatches(config, spec), Recognisers(readers) if readers else None

    def evaluate() -> Evaluation:
        rows = config.run.sheet_rows
        return evaluate_telescope(
            engine.predict, batches.all(), spec=spec, sheet_rows=rows, recognisers=recognisers
        )

    return evaluate, (*TELESCOPE_COLUMNS, *(RECOGNISER_COLUMNS if config.run.readers else ()))


def train_by_time(config: TrainConfig, *, resume: bool) -> None:
    """Train for `run.seconds`."""
    if config.engine != "torch":
        raise ConfigError(f"run.seconds needs engine=torch, and engine is {config.engine}")
    if resume:
        raise ConfigError(
            "a run against the clock (run.seconds) cannot be resumed: start another from its saved weights, "
            f"model.init={config.out}/average.safetensors"
        )
    from training.engines.torch_timed import train as train_timed  # PyTorch

    train_timed(config)
