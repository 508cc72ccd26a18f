"""Opening models: the store's artefact, a warmed predictor on it, and the gate that applies its calibration."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.errors import StartupError
from app.imaging.quality_gate import QualityGate
from app.inference.predictor import Predictor
from app.inference.runtimes import open_runtime
from app.serving.pipeline import CropPipeline
from app.settings import Settings
from model_store.calibration import Calibration
from model_store.errors import ModelStoreError
from model_store.store import Artefact, ModelStore


@dataclass(frozen=True)
class LoadedModel:
    artefact: Artefact
    predictor: Predictor
    gate: QualityGate = field(default_factory=QualityGate)

    @property
    def pipeline(self) -> CropPipeline:
        manifest = self.artefact.manifest
        return CropPipeline(manifest.pixels, self.gate, sizes=manifest.input_sizes)


def load_model(settings: Settings) -> LoadedModel:
    """Open and warm the default model; takes seconds. Raises StartupError that names the remedy."""
    (model,) = load_models(settings.model_copy(update={"model": settings.model[:1]}))
    return model


def load_models(settings: Settings) -> list[LoadedModel]:
    """Open and warm every model of the settings, each once. Raises StartupError that names the remedy."""
    loaded: dict[str, LoadedModel] = {}  # by name:version, which may be listed under its name, too
    for ref in settings.model:
        try:
            artefact = ModelStore(settings.model_store).resolve(ref)
            if artefact.manifest.ref not in loaded:
                loaded[artefact.manifest.ref] = open_model(settings, artefact)
        except ModelStoreError as exc:
            raise StartupError(f"The model {ref!r} cannot be served: {exc}.") from exc
    return list(loaded.values())


def open_model(settings: Settings, artefact: Artefact) -> LoadedModel:
    """Raises StartupError or ModelStoreError."""
    gate = QualityGate(Calibration.of(artefact))
    return LoadedModel(artefact, open_predictor(settings, artefact, batch_sizes=settings.batch_sizes), gate)


def open_predictor(settings: Settings, artefact: Artefact, *, batch_sizes: Sequence[int]) -> Predictor:
    """The predictor that the settings choose, opened and warmed. Raises StartupError that names the remedy."""
    return Predictor(
        lambda: open_runtime(
            settings.runtime,
            artefact,
            device=settings.device,
            threads=settings.threads,
            precision=settings.precision,
        ),
        spec=artefact.manifest.pixels,
        batch_sizes=batch_sizes,
        input_sizes=artefact.manifest.input_sizes,
    )
