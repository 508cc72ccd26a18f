"""The work that is admitted for a crop before it is decoded."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
import pytest

from app.batching.batcher import Batcher
from app.batching.capacity import Capacity
from app.imaging.quality_gate import ALWAYS, QualityGate
from app.serving.pipeline import CropOptions, CropPipeline
from app.serving.runner import Crop, CropResult, CropRunner, Timings
from app.telemetry.metrics import Metrics
from model_store import views
from model_store.calibration import UNCALIBRATED
from model_store.pixels import Nchw, Rgb
from tests.app.conftest import SPEC
from tests.app.fakes import NoObserver, nearest_x2

SIZES = ((24, 96), (32, 128), (48, 192))
OPTIONS = CropOptions(policy=ALWAYS)


async def enlarge(lr: Nchw) -> Nchw:
    return nearest_x2(lr)


@pytest.fixture
def runner() -> CropRunner:
    pipeline = CropPipeline(SPEC, QualityGate(), sizes=SIZES)
    capacity = Capacity(max_windows=4096, max_decoded_bytes=2**30, max_body_bytes=2**30, max_unsent_bytes=2**30)
    batcher = Batcher(
        enlarge,
        batch_seconds={size: {1: 0.001} for size in pipeline.sizes},
        capacity=capacity,
        observer=NoObserver(),
    )
    return CropRunner(pipeline, batcher, workers=ThreadPoolExecutor(1), metrics=Metrics())


@dataclass(frozen=True)
class Written:
    """A word, blurred."""

    height: int
    width: int
    sigma: float

    def decode(self) -> Rgb:
        crop = np.full((self.height, self.width, 3), 230, np.uint8)
        cv2.putText(crop, "Harbour", (2, self.height - 6), cv2.FONT_HERSHEY_DUPLEX, self.height / 30, (20, 20, 20))
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), self.sigma), np.uint8)


def crop(runner: CropRunner, source: Written) -> Crop:
    size = source.height, source.width
    pipeline = runner._pipeline
    largest = pipeline.largest_views(*size, OPTIONS)
    return Crop(source, OPTIONS, pipeline.output_size(*size, OPTIONS), largest, "png")


def test_no_views_take_more_work_than_was_admitted(runner: CropRunner) -> None:
    for height in range(8, 80, 5):
        for width in range(16, 500, 17):
            for rule, least in product((UNCALIBRATED, replace(UNCALIBRATED, views=6)), (1.0, 1.9, 2.1, 3.3)):
                most = views.plan(height, width, rule.looks(least), spec=SPEC, sizes=runner._pipeline.sizes)
                admitted = runner._most_windows(replace(crop(runner, Written(height, width, 1)), largest=most))
                for blur in least * np.geomspace(1, 12, 12):
                    looks = rule.looks(float(blur))
                    taken = views.plan(height, width, looks, spec=SPEC, sizes=runner._pipeline.sizes).distinct()
                    assert runner._windows(taken) <= admitted, (height, width, blur)


def test_crops_of_every_size_and_blur_have_a_result(runner: CropRunner) -> None:
    sources = [Written(h, w, s) for h in range(20, 60, 6) for w in range(60, 300, 19) for s in (2.2, 2.8)]

    async def run() -> list[object]:
        loop = asyncio.create_task(runner._batcher.run())
        crops = [crop(runner, source) for source in sources]
        results: list[object] = []
        for one in crops:
            with runner.admit([one], deadline=asyncio.get_running_loop().time() + 60) as admission:
                results += await runner.run([one], admission, Timings())
        loop.cancel()
        return results

    for source, result in zip(sources, asyncio.run(run()), strict=True):
        assert isinstance(result, CropResult), (source, result)
        assert result.output_size == (2 * source.height, 2 * source.width)
