"""Opens a model of the store for benchmarks, with the service's predictor and quality gate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from app.bulk.in_process import InProcess
from app.imaging.quality_gate import Decision, QualityGate, RoutingPolicy
from app.inference.predictor import Predictor
from app.serving.loading import open_predictor
from app.serving.pipeline import CropPipeline
from app.settings import load_settings
from model_store.calibration import Calibration
from model_store.pixels import Rgb
from model_store.store import Artefact, ModelStore

BATCH_SIZES = (1, 8)  # few, because each takes time to warm up
Treated = list[tuple[Rgb, Decision]]


@dataclass(frozen=True)
class Subject:
    artefact: Artefact
    predictor: Predictor
    gate: QualityGate

    @property
    def name(self) -> str:
        return self.artefact.manifest.ref

    def treated(self, crops: Sequence[Rgb], policy: RoutingPolicy) -> Treated:
        """The crops as the service returns them, by its own code in this process."""
        pipeline = CropPipeline(self.predictor.spec, self.gate, sizes=self.artefact.manifest.input_sizes)
        return InProcess(self.predictor, pipeline, policy=policy)(crops) if crops else []


def open_subject(args: argparse.Namespace, *, calibrated: bool = True) -> Subject:
    """args: `model` and `model_store`. Raises StartupError or ModelStoreError."""
    settings = load_settings(model=args.model, model_store=args.model_store)
    artefact = ModelStore(settings.model_store).resolve(args.model)
    gate = QualityGate(Calibration.of(artefact) if calibrated else None)
    return Subject(artefact, open_predictor(settings, artefact, batch_sizes=BATCH_SIZES), gate)
