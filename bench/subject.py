"""Opens a model of the store or a checkpoint for benchmarks, with the service's predictor and quality gate."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from app.imaging.quality_gate import QualityGate
from app.inference.predictor import Predictor
from app.serving.loading import open_predictor
from app.serving.pipeline import CropPipeline
from app.settings import load_settings
from model_store.calibration import Calibration, calibration_path
from model_store.pixels import Nchw
from model_store.store import Artefact, ModelStore
from training.predictor import LoadedNetwork as Weights
from training.predictor import open_weights

BATCH_SIZES = (1, 8)  # few, because each takes time to warm up


@dataclass(frozen=True)
class Subject:
    """name: `tbsrn:1`, or the file's. artefact: None for a checkpoint."""

    name: str
    sha256: str
    predictor: Predictor
    gate: QualityGate
    artefact: Artefact | None

    @property
    def pipeline(self) -> CropPipeline:
        sizes = self.artefact.manifest.input_sizes if self.artefact else ()
        return CropPipeline(self.predictor.spec, self.gate, sizes=sizes)


def open_subject(args: argparse.Namespace, *, calibrated: bool = True) -> Subject:
    """calibrated: apply the file of --calibration, or else the one beside the model; a checkpoint has none there.

    Raises StartupError, ModelStoreError or CheckpointError.
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
    """Adapts weights opened by training to the service's runtime protocol."""

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
