"""What is measured: a model of the store or a checkpoint, behind the service's own predictor and gate."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from app.imaging.quality_gate import QualityGate
from app.inference.predictor import Predictor
from app.main import open_predictor
from app.serving.pipeline import Planner
from app.settings import load_settings
from model_store import BUNDLED
from model_store.calibration import Calibration, calibration_path
from model_store.pixels import Nchw
from model_store.store import Artefact, ModelStore
from training.predictor import LoadedNetwork as Weights
from training.predictor import open_weights

BATCH_SIZES = (1, 8)  # few, for each is warmed


@dataclass(frozen=True)
class Subject:
    """name: `tbsrn:1`, or the file's. artefact: None for a checkpoint."""

    name: str
    sha256: str
    predictor: Predictor
    gate: QualityGate
    artefact: Artefact | None

    @property
    def planner(self) -> Planner:
        return self.planner_with(self.gate)

    def planner_with(self, gate: QualityGate) -> Planner:
        sizes = self.artefact.manifest.input_sizes if self.artefact else ()
        return Planner(self.predictor.spec, gate, sizes=sizes)


def add_subject(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", default="tbsrn", help="of the model store (default: the newest %(default)s)")
    which.add_argument("--weights", help="a checkpoint or exported file instead")
    parser.add_argument("--model-store", type=Path, default=BUNDLED, help="default: the bundled one")


def open_subject(args: argparse.Namespace, *, calibrated: bool = True) -> Subject:
    """calibrated: with --calibration's file, else the one beside the model; a checkpoint has none of its own.

    Raises StartupError, ModelStoreError or CheckpointError in one sentence.
    """
    file: Path | None = args.calibration if calibrated else None
    if args.weights:
        weights = open_weights(args.weights)
        gate = QualityGate(Calibration.read(file, digest=weights.sha256) if file else None)
        predictor = Predictor(lambda: _Opened(weights), spec=weights.spec, batch_sizes=BATCH_SIZES)
        return Subject(weights.name, weights.sha256, predictor, gate, None)
    settings = load_settings(model=args.model, model_store=args.model_store)
    artefact = ModelStore(settings.model_store).resolve(args.model)
    if calibrated and not file and calibration_path(artefact).exists():
        file = calibration_path(artefact)
    gate = QualityGate(Calibration.read(file, digest=artefact.digest) if file else None)
    predictor = open_predictor(settings, artefact, batch_sizes=BATCH_SIZES)
    return Subject(artefact.manifest.ref, artefact.digest, predictor, gate, artefact)


class _Opened:
    """Weights that training opened, as a runtime of the service."""

    device = "cpu"
    precision = "fp32"
    streams = 1

    def __init__(self, weights: Weights) -> None:
        self.name = weights.engine
        self._weights = weights

    def run(self, lr_nchw: Nchw) -> Nchw:
        return self._weights.run(lr_nchw)

    def close(self) -> None:
        pass
