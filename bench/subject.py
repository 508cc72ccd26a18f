"""What is measured: a model of the store or a checkpoint, behind the service's own predictor and judge."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from app.judge import Judge
from app.main import load_model
from app.predictor import Predictor
from app.settings import load_settings
from model_store import BUNDLED
from model_store.pixels import Nchw
from model_store.store import Artefact
from training.predictor import Predictor as Weights
from training.predictor import open_weights

BATCH_SIZES = (1, 8)  # few, for each is warmed


@dataclass(frozen=True)
class Subject:
    """name: `tbsrn:1`, or the file's. artefact: None for a checkpoint, which no calibration can belong to yet."""

    name: str
    sha256: str
    predictor: Predictor
    judge: Judge
    artefact: Artefact | None


def add_subject(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", default="tbsrn", help="of the model store (default: the newest %(default)s)")
    which.add_argument("--weights", help="a checkpoint or exported file instead, which has no calibration")
    parser.add_argument("--model-store", type=Path, default=BUNDLED, help="default: the bundled one")


def open_subject(args: argparse.Namespace) -> Subject:
    """Raises StartupError or CheckpointError in one sentence."""
    if args.weights:
        weights = open_weights(args.weights)
        predictor = Predictor(lambda: _Opened(weights), spec=weights.spec, batch_sizes=BATCH_SIZES)
        return Subject(weights.name, weights.sha256, predictor, Judge(), None)
    model = load_model(load_settings(model=args.model, model_store=args.model_store, batch_sizes=BATCH_SIZES))
    return Subject(
        model.artefact.manifest.ref, model.artefact.digest, model.predictor, model.judge, model.artefact
    )


class _Opened:
    """Weights that training opened, as a runtime of the service."""

    device = "cpu"

    def __init__(self, weights: Weights) -> None:
        self.name = weights.engine
        self._weights = weights

    def run(self, lr_nchw: Nchw) -> Nchw:
        return self._weights.run(lr_nchw)

    def close(self) -> None:
        pass
