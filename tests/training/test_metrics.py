"""The figures of training.metrics, against the parity kit and against laws they must obey."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import metrics
from training.metrics import SRMetric


@pytest.fixture(scope="module")
def kit(shared_dir: Path) -> dict[str, np.ndarray]:
    with np.load(shared_dir / "parity" / "paddleocr_io.npz") as arrays:
        return {name: arrays[name] for name in ("sr", "hr", "bicubic")}


@pytest.fixture(scope="module")
def expected(shared_dir: Path) -> dict[str, dict[str, float]]:
    loaded: dict[str, dict[str, float]] = json.loads(
        (shared_dir / "parity" / "paddleocr_expected.json").read_text()
    )
    return loaded


def random_pair(seed: int, n: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    hr = rng.random((n, 3, 32, 128), np.float32)
    return (hr + rng.normal(0, 0.1, hr.shape)).astype(np.float32), hr


@pytest.mark.parametrize(
    ("picture", "batch", "name"),
    [
        ("sr", 8, "metric_one_batch"),
        ("sr", 3, "metric_batches_of_3"),
        ("bicubic", 8, "metric_bicubic_one_batch"),
    ],
)
def test_batch_figures_equal_paddleocr(
    kit: dict[str, np.ndarray], expected: dict[str, dict[str, float]], picture: str, batch: int, name: str
) -> None:
    metric = SRMetric()
    for start in range(0, 8, batch):
        metric.update(kit[picture][start : start + batch], kit["hr"][start : start + batch])
    figures = metric.result()
    assert figures.psnr_avg == pytest.approx(expected[name]["psnr_avg"], abs=1e-4)
    assert figures.ssim_avg == pytest.approx(expected[name]["ssim_avg"], abs=1e-4)
    assert figures.all == pytest.approx(expected[name]["all"], abs=1e-4)
    assert (figures.images, figures.batches) == (8, math.ceil(8 / batch))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_image_means_do_not_depend_on_the_batch_size(seed: int, batch: int) -> None:
    sr, hr = random_pair(seed, n=5)
    whole, parts = SRMetric(), SRMetric()
    whole.update(sr, hr)
    for start in range(0, 5, batch):
        parts.update(sr[start : start + batch], hr[start : start + batch])
    assert parts.result().psnr_image_mean == pytest.approx(whole.result().psnr_image_mean, rel=1e-12)
    assert parts.result().ssim_image_mean == pytest.approx(whole.result().ssim_image_mean, rel=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_ssim_is_symmetric_bounded_and_one_for_equal_pictures(seed: int) -> None:
    sr, hr = random_pair(seed)
    assert metrics.ssim(sr, hr) == pytest.approx(metrics.ssim(hr, sr), abs=1e-12)
    assert -1 <= metrics.ssim(sr, hr) < 1
    assert metrics.ssim(hr, hr) == pytest.approx(1)


def test_psnr_of_a_known_error() -> None:
    hr = np.zeros((2, 3, 4, 4), np.float32)
    assert metrics.psnr(hr + 0.1, hr) == pytest.approx(20, abs=1e-5)  # mse = (25.5)^2
    assert metrics.psnr_per_image(hr + 0.1, hr).shape == (2,)


def test_an_identical_picture_is_counted_and_does_not_spoil_the_mean() -> None:
    sr, hr = random_pair(0, n=2)
    sr[1] = hr[1]
    metric = SRMetric()
    metric.update(sr, hr)
    figures = metric.result()
    assert figures.identical == 1
    assert figures.psnr_image_mean == pytest.approx(metrics.psnr(sr[:1], hr[:1]))
    assert metrics.psnr(hr, hr) == math.inf


def test_ssim_window_reaches_over_zeros_beyond_the_border() -> None:
    """The corner of an all-one picture sees the window's part inside: one quarter and a bit."""
    ones = np.ones((1, 1, 32, 128))
    blurred = metrics._blur(ones)[0, 0]
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / 4.5)
    assert blurred[16, 64] == pytest.approx(1)
    assert blurred[0, 0] == pytest.approx((window[5:].sum() / window.sum()) ** 2)


@pytest.mark.parametrize("shape", [(2, 3, 32, 64), (3, 32, 128)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must both be"):
        metrics.psnr(np.zeros((1, 3, 32, 128), np.float32), np.zeros(shape, np.float32))


def test_no_batch_has_no_figures() -> None:
    with pytest.raises(ValueError, match="no batch"):
        SRMetric().result()
    with pytest.raises(ValueError, match="empty batch"):
        SRMetric().update(*random_pair(0, n=0))


def test_text_is_compared_without_case_or_punctuation() -> None:
    figures = metrics.text_figures(["don't", "EXIT!", "lO0", ""], ["DONT", "exit", "100", "a"])
    assert (figures.words, figures.correct, figures.accuracy) == (4, 2, 0.5)
    # "lo0" -> "100": two of three wrong; "" -> "a": one; of 4 + 4 + 3 + 1 characters
    assert figures.character_error_rate == pytest.approx(3 / 12)
    assert figures.low < 0.5 < figures.high


def test_wilson_interval_of_a_published_example() -> None:
    """81 of 263 at 95 %: 0.2553 to 0.3662 (Newcombe 1998, method 3)."""
    assert metrics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = metrics.wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1


@given(st.text())
def test_normalised_text_is_readable_and_stable(text: str) -> None:
    once = metrics.normalise_text(text)
    assert set(once) <= metrics.READABLE
    assert metrics.normalise_text(once) == once
