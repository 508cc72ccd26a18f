"""Trains the recogniser of the text-focused loss, on stored words, rendered ones, or both.

    python -m training pretrain-recogniser -c training/configs/recogniser-small.yml
    python -m training train ... -o recogniser=runs/recogniser-small/best.safetensors loss.text_focus=true

The loop, the data and the resuming are those of `training.trainer`; only HR is looked at.
"""

from __future__ import annotations

import argparse

from model_store.manifest import PixelSpec
from training.config import PretrainConfig
from training.config_file import add_config_arguments, configured
from training.data.run_data import KeptBatches, open_loader
from training.engines import open_recogniser
from training.fit import BEST_WEIGHTS, Run
from training.validation import READER_COLUMNS, Evaluation, evaluate_reader

SCALE = 2  # samples come as pairs, LR half of what is read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="go on from out/last.ckpt")


def run(args: argparse.Namespace) -> None:
    """Pretrain as the configuration says. Raises TrainingError with one sentence."""
    pretrain(configured(args, PretrainConfig), resume=args.resume)


def pretrain(config: PretrainConfig, *, resume: bool = False) -> None:
    """Train a recogniser, and leave the run in `config.out`."""
    reader = config.reader
    spec = PixelSpec(reader.height // SCALE, reader.width // SCALE, SCALE)
    engine = open_recogniser(config)
    loader = open_loader(config, spec, rank=engine.rank, world=engine.world)
    kept = KeptBatches(config, spec)

    def evaluate() -> Evaluation:
        return evaluate_reader(engine.read, kept.batches())

    work = Run(config, engine, loader, evaluate=evaluate, columns=READER_COLUMNS, resume=resume)
    work.fit()
    if engine.rank == 0:
        print(f"{config.out / BEST_WEIGHTS}: step {work.progress.best_step}")
