"""Jobs in this process, with a predictor that repeats pixels."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.bulk.entries import JobOptions
from app.bulk.job import run
from app.imaging.quality_gate import ALWAYS, QualityGate
from app.serving.loading import LoadedModel
from app.settings import Settings
from model_store.store import ModelStore
from tests.app.conftest import SPEC
from tests.app.fakes import FakeRuntime, fake_predictor

RGB_PNG = JobOptions("png", "native", ALWAYS, None)


@pytest.fixture(scope="module")
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture(scope="module")
def model(fake_store: Path, runtime: FakeRuntime) -> Iterator[LoadedModel]:
    predictor = fake_predictor(runtime, spec=SPEC, batch_sizes=(1, 4))
    yield LoadedModel(ModelStore(fake_store).resolve("tbsrn"), predictor, QualityGate())
    predictor.close()


Job = Callable[..., int]


@pytest.fixture
def job(tmp_path: Path, fake_store: Path, model: LoadedModel) -> Job:
    """job(): from tmp_path/in to tmp_path/out."""

    def job(options: JobOptions = RGB_PNG, **more: Any) -> int:
        settings = Settings(model_store=fake_store)
        return run(tmp_path / "in", tmp_path / "out", options, settings, model=model, **more)

    return job
