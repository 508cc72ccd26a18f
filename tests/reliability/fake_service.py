"""The service as a process, in front of the fake predictor: exact answers, a known capacity, its own memory.

python -m tests.reliability.fake_service serve --port 0      # BATCH_S, LEAK_BYTES: environment
"""

import argparse
import os

import numpy as np

from app.judge import Judge
from app.logs import configure_logging
from app.main import LoadedModel, create_app
from app.predictor import Predictor
from app.server import bind, serve
from app.settings import load_settings
from model_store.pixels import Nchw
from model_store.store import ModelStore
from tests.reliability.faults import FaultyRuntime


class LeakingRuntime(FaultyRuntime):
    """Keeps some bytes of every batch for ever."""

    def __init__(self, *, batch_s: float, leak_bytes: int) -> None:
        super().__init__(batch_s=batch_s)
        self._leak_bytes = leak_bytes
        self._kept: list[object] = []

    def run(self, lr_nchw: Nchw) -> Nchw:
        if self._leak_bytes:
            self._kept.append(np.ones(self._leak_bytes, np.uint8))
        self.batches.clear()  # noted for tests in the same process; here it would be a leak of its own
        return super().run(lr_nchw)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--port", type=int, required=True)
    settings = load_settings(port=parser.parse_args().port)
    configure_logging(settings.log_level)
    bound = bind(settings)
    artefact = ModelStore(settings.model_store).resolve(settings.model)
    batch_s, leak_bytes = float(os.environ.get("BATCH_S", "0")), int(os.environ.get("LEAK_BYTES", "0"))
    predictor = Predictor(
        lambda: LeakingRuntime(batch_s=batch_s, leak_bytes=leak_bytes),
        spec=artefact.manifest.pixels,
        batch_sizes=settings.batch_sizes,
    )
    serve(create_app(settings, LoadedModel(artefact, predictor, Judge())), settings, bound)


if __name__ == "__main__":
    main()
