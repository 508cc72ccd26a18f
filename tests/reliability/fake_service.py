"""The service with the fake predictor as a separate process: exact results, known capacity, memory of its own.

python -m tests.reliability.fake_service serve --port 0      # environment: BATCH_S, LEAK_BYTES, FAULT_EVERY
"""

import argparse
import os

import numpy as np

from app.errors import InferenceFailed
from app.inference.predictor import Predictor
from app.main import create_app
from app.server.server import serve
from app.server.sockets import bind
from app.serving.loading import LoadedModel
from app.settings import load_settings
from app.telemetry.logs import configure_logging
from model_store.pixels import Nchw
from model_store.store import Artefact, ModelStore
from tests.reliability.faults import FaultyRuntime


class TroubledRuntime(FaultyRuntime):
    """Leaks LEAK_BYTES a batch, and fails one in `fault_every` batches (0: none; single images never fail)."""

    def __init__(self) -> None:
        super().__init__(batch_s=float(os.environ.get("BATCH_S", "0")))
        self._leak_bytes = int(os.environ.get("LEAK_BYTES", "0"))
        self.fault_every = 0
        self._ran = 0
        self._kept: list[object] = []

    def run(self, lr_nchw: Nchw) -> Nchw:
        if self._leak_bytes:
            self._kept.append(np.ones(self._leak_bytes, np.uint8))
        self._ran += 1
        if 0 < self.fault_every <= self._ran and len(lr_nchw) > 1:
            self._ran = 0
            raise InferenceFailed("injected fault")
        self.batches.clear()  # the list is for tests in the same process; here it would grow without end
        return super().run(lr_nchw)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--port", type=int, required=True)
    settings = load_settings(port=parser.parse_args().port)
    configure_logging(settings.log_level)
    bound = bind(settings)

    def load(artefact: Artefact) -> LoadedModel:
        artefact.files("onnx")  # verifies the digest of each file, as every runtime does
        runtime = TroubledRuntime()
        predictor = Predictor(lambda: runtime, spec=artefact.manifest.pixels, batch_sizes=settings.batch_sizes)
        runtime.fault_every = int(os.environ.get("FAULT_EVERY", "0"))  # no faults during the warm-up
        return LoadedModel(artefact, predictor)

    loaded = [load(ModelStore(settings.model_store).resolve(ref)) for ref in settings.model]
    serve(create_app(settings, loaded, load), bound)


if __name__ == "__main__":
    main()
