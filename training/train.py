"""Trains TBSRN from a configuration.

    python -m training train -c training/configs/tiny.yml
    python -m training train -c training/configs/telescope.yml -o data.train=DIR run.epochs=10
    python -m training train -c training/configs/telescope.yml --resume
    python -m paddle.distributed.launch --gpus 0,1,2,3 training/__main__.py train -c ...

Flow:
    configuration -> engine, samples -> Run.fit (training.fit) -> out/best.safetensors, last.ckpt, metrics.csv
"""

from __future__ import annotations

import argparse

from model_store.manifest import PixelSpec
from training.config import TrainConfig
from training.config_file import add_config_arguments, configured
from training.data.run_data import KeptBatches, open_loader
from training.engines import open_telescope
from training.errors import ConfigError
from training.fit import BEST_WEIGHTS, Run
from training.judging import HeldOut, word_sets
from training.ocr import open_readers
from training.validation import JUDGE_COLUMNS, TELESCOPE_COLUMNS, Evaluation, Judge, evaluate_telescope

LOSS_COLUMNS = ("mse", "attention", "recognition", "reading")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="go on from out/last.ckpt")


def run(args: argparse.Namespace) -> None:
    """Train as the configuration says. Raises TrainingError with one sentence."""
    train(configured(args, TrainConfig), resume=args.resume)


def train(config: TrainConfig, *, resume: bool = False) -> None:
    """Train, and leave the run in `config.out`."""
    if config.run.seconds is not None:
        train_by_time(config, resume=resume)
        return
    if config.data.held_out and not config.run.readers:
        raise ConfigError("data.held_out keeps words to be read, so it needs run.readers")
    model = config.model
    spec = PixelSpec(model.height, model.width, model.scale)
    engine = open_telescope(config)
    loader = open_loader(config, spec, rank=engine.rank, world=engine.world)
    readers = open_readers(config.run.readers) if engine.rank == 0 else []
    if config.data.held_out:
        sets = word_sets(config.data, spec, seed=config.seed, limit=config.data.validation_limit)
        held_out = HeldOut(sets, readers, rows=config.run.sheet_rows)
        measured = held_out.columns
    else:
        kept, judge = KeptBatches(config, spec), Judge(readers) if readers else None
        measured = (*TELESCOPE_COLUMNS, *(JUDGE_COLUMNS if config.run.readers else ()))

    def evaluate() -> Evaluation:
        if config.data.held_out:
            return held_out.evaluate(engine.predict)
        rows = config.run.sheet_rows
        return evaluate_telescope(engine.predict, kept.batches(), spec=spec, sheet_rows=rows, judge=judge)

    columns = (*LOSS_COLUMNS, *measured)
    work = Run(config, engine, loader, evaluate=evaluate, columns=columns, resume=resume)
    work.fit()
    if engine.rank == 0:
        best = config.out / BEST_WEIGHTS
        print(f"{best}: step {work.progress.best_step}, score {work.progress.best:.4f}")
        if work.progress.unreadable:
            print(f"{work.progress.unreadable} unreadable samples were met and replaced")


def train_by_time(config: TrainConfig, *, resume: bool) -> None:
    """Train for `run.seconds`."""
    if config.engine != "torch":
        raise ConfigError(f"run.seconds needs engine=torch, and engine is {config.engine}")
    if resume:
        raise ConfigError(
            "a run against the clock (run.seconds) cannot be resumed: start another from what it saved, "
            f"model.init={config.out}/average.safetensors"
        )
    from training.engines.torch_timed import train as train_timed  # PyTorch

    train_timed(config)
