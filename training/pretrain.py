"""Trains the recogniser of the text-focused loss, on stored words, rendered ones, or both.

    python -m training pretrain-recogniser -c training/configs/recogniser-small.yml
    python -m training train ... -o recogniser=runs/recogniser-small/best.safetensors loss.text_focus=true

`training.trainer` gives the loop, the data and `--resume`; the recogniser sees HR alone.
"""

from __future__ import annotations

import argparse

from model_store.manifest import PixelSpec
from training.config import PretrainConfig
from training.config_file import add_config_arguments, configured
from training.engines import open_recogniser
from training.trainer import BEST_WEIGHTS, Trainer, open_loader
from training.validation import READER_COLUMNS, Evaluation, ValidationBatches, evaluate_reader

SCALE = 2  # samples are pairs, LR half the size of the HR that the recogniser reads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="continue the run from out/last.ckpt")


def run(args: argparse.Namespace) -> None:
    """Pretrain as configured. Raises TrainingError with one sentence."""
    pretrain(configured(args, PretrainConfig), resume=args.resume)


def pretrain(config: PretrainConfig, *, resume: bool = False) -> None:
    """Train a recogniser, and write the run into `config.out`."""
    reader = config.reader
    spec = PixelSpec(reader.height // SCALE, reader.width // SCALE, SCALE)
    engine = open_recogniser(config)
    loader = open_loader(config, spec, engine)
    batches = ValidationBatches(config, spec)

    def evaluate() -> Evaluation:
        return evaluate_reader(engine.read, batches.all())

    trainer = Trainer(config, engine, loader, evaluate=evaluate, columns=READER_COLUMNS, resume=resume)
    trainer.fit()
    if engine.rank == 0:
        print(f"{config.out / BEST_WEIGHTS}: step {trainer.progress.best_step}")
