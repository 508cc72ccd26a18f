"""The predictor's warm-up, and its batches without an event loop."""

import numpy as np
import pytest

from app.inference.predictor import Predictor
from model_store.pixels import Nchw
from tests.app.conftest import SPEC
from tests.app.fakes import FakeRuntime, nearest_x2


class RestingRuntime(FakeRuntime):
    """Notes how many batches had run at each rest."""

    def __init__(self) -> None:
        super().__init__()
        self.ran_before_rest: list[int] = []

    def rest(self) -> None:
        super().rest()
        self.ran_before_rest.append(len(self.batches))


def test_the_runtime_rests_once_after_the_whole_warm_up() -> None:
    runtime = RestingRuntime()
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1, 4], input_sizes=[(24, 96)])
    warmed = len(runtime.batches)
    predictor.run_blocking(lr(1))
    predictor.close()
    assert runtime.ran_before_rest == [warmed]
    assert len(runtime.threads - {"MainThread"}) == 1  # the same thread as the batches


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("streams", [1, 2])
def test_any_number_of_images_runs_in_warmed_batches(n: int, streams: int) -> None:
    runtime = FakeRuntime()
    runtime.streams = streams
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1, 4])
    before = len(runtime.batches)
    assert np.array_equal(predictor.run_blocking(lr(n)), nearest_x2(lr(n)))
    predictor.close()
    assert set(runtime.batches[before:]) <= {1, 4}


@pytest.mark.parametrize(
    ("streams", "n", "batches"),
    [(1, 1, [1]), (1, 2, [1, 1]), (1, 3, [4]), (2, 2, [1, 1]), (2, 4, [1, 1, 1, 1]), (2, 8, [4, 4])],
)
def test_images_run_in_the_batches_that_take_least_time(streams: int, n: int, batches: list[int]) -> None:
    runtime = FakeRuntime()
    runtime.streams = streams
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1, 4])
    predictor.batch_seconds = {(SPEC.height, SPEC.width): {1: 1.0, 4: 2.5}}
    before = len(runtime.batches)
    predictor.run_blocking(lr(n))
    predictor.close()
    assert runtime.batches[before:] == batches


def lr(n: int) -> Nchw:
    return np.random.default_rng(n).random((n, 3, SPEC.height, SPEC.width), np.float32)
