"""The degradation: shapes, repeatability, and that each operator does what its range says."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.blur import disk_kernel, gaussian_kernel, motion_kernel
from training.data.degrade import MAX_SIGMA_PX, degrade, degrade_pair
from training.data.degrade_config import CROPS, PRESETS, DegradeConfig, preset
from training.errors import ConfigError

CLEAN = DegradeConfig(
    misalign_share=0.0,
    light_share=0.0,
    gaussian_share=1.0,
    defocus_share=0.0,
    sigma_px=(0.05, 0.05),  # a kernel of one
    sigma_tail_share=0.0,
    filter_weights=(1.0, 0.0, 0.0),
    noise_share=0.0,
    sharpen_share=0.0,
    jpeg_share=0.0,
    heavy_share=0.0,
)

# Mean and deviation of `bars()` degraded with seeds 0 to 5 and the default settings, at the first version.
BEFORE = [(97.22, 45.57), (127.56, 51.19), (109.8, 48.21), (97.15, 43.71), (116.54, 48.69), (116.63, 49.44)]


def bars(height: int = 32, width: int = 128) -> np.ndarray:
    """Vertical strokes of two pixels, as thin as letters get, in two colours."""
    hr = np.full((height, width, 3), (200, 180, 40), np.uint8)
    hr[:, np.arange(width) % 8 < 2] = (20, 30, 90)
    return hr


def detail(img: np.ndarray) -> float:
    """Standard deviation of differences between columns: falls with blur."""
    return float(np.diff(img.astype(float), axis=1).std())


@settings(max_examples=60)
@given(
    half_height=st.integers(2, 40),
    half_width=st.integers(2, 90),
    name=st.sampled_from(sorted(PRESETS)),
    seed=st.integers(0, 2**40),
)
def test_every_preset_halves_every_even_size_and_repeats_itself(
    half_height: int, half_width: int, name: str, seed: int
) -> None:
    hr = np.random.default_rng(seed).integers(0, 256, (2 * half_height, 2 * half_width, 3), np.uint8)
    before = hr.copy()
    lr = degrade(hr, config=preset(name), seed=seed)
    assert lr.shape == (half_height, half_width, 3)
    assert lr.dtype == np.uint8
    assert lr.flags.c_contiguous
    assert np.array_equal(lr, degrade(hr, config=preset(name), seed=seed))
    assert np.array_equal(hr, before)


def test_another_process_gives_the_same_bytes() -> None:
    code = (
        "import hashlib, numpy as np; from training.data.degrade import degrade;"
        "hr = (np.arange(32 * 128 * 3) % 251).astype(np.uint8).reshape(32, 128, 3);"
        "print(hashlib.sha256(b''.join(degrade(hr, seed=s).tobytes() for s in range(30))).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    hr = (np.arange(32 * 128 * 3) % 251).astype(np.uint8).reshape(32, 128, 3)
    here = hashlib.sha256(b"".join(degrade(hr, seed=s).tobytes() for s in range(30))).hexdigest()
    assert there.strip() == here


def test_seeds_differ() -> None:
    assert len({degrade(bars(), seed=seed).tobytes() for seed in range(20)}) == 20


def test_with_everything_off_only_the_area_mean_remains() -> None:
    hr = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    mean = hr.reshape(4, 2, 6, 2, 3).astype(float).mean((1, 3))
    assert np.abs(degrade(hr, config=CLEAN, seed=1) - mean).max() <= 0.5


def test_a_plain_crop_keeps_its_colour_order() -> None:
    hr = np.full((32, 64, 3), (220, 120, 20), np.uint8)
    config = replace(CLEAN, jpeg_share=1.0, heavy_share=1.0, misalign_share=1.0)
    red, green, blue = degrade(hr, config=config, seed=3).reshape(-1, 3).mean(0)
    assert red > green + 50 > blue + 100


def test_harder_presets_leave_less_detail() -> None:
    quiet = {name: replace(preset(name), noise_share=0.0, jpeg_share=0.0) for name in PRESETS}
    left = {n: np.mean([detail(degrade(bars(), config=c, seed=s)) for s in range(40)]) for n, c in quiet.items()}
    assert left["mild"] > left["medium"] > left["hard"]


def test_a_sharp_pair_is_shrunk_and_nothing_else() -> None:
    hr = np.random.default_rng(0).integers(0, 256, (32, 80, 3), dtype=np.uint8)
    config = replace(preset("sharp"), jpeg_share=0.0)
    shrunk = [
        cv2.resize(hr, (40, 16), interpolation=kind)
        for kind in (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    ]
    for seed in range(10):
        assert any(np.array_equal(degrade(hr, config=config, seed=seed), lr) for lr in shrunk)
    half = [degrade(hr, config=replace(config, sharp_share=0.5), seed=seed) for seed in range(40)]
    assert 8 < sum(any(np.array_equal(found, lr) for lr in shrunk) for found in half) < 32


def test_noise_has_the_asked_deviation_in_colour_and_in_grey() -> None:
    plain = np.full((64, 256, 3), 128, np.uint8)
    noisy = replace(CLEAN, noise_share=1.0, noise_std=(6.0, 6.0))
    colour = degrade(plain, config=replace(noisy, grey_noise_share=0.0), seed=5)
    grey = degrade(plain, config=replace(noisy, grey_noise_share=1.0), seed=5)
    assert colour.std() == pytest.approx(6.0, rel=0.05)
    assert grey.std() == pytest.approx(6.0, rel=0.05)
    assert np.ptp(grey, axis=2).max() == 0
    assert np.ptp(colour, axis=2).max() > 5


def test_misalignment_stays_within_two_pixels() -> None:
    hr = np.zeros((32, 128, 3), np.uint8)
    hr[12:20, 60:68] = 255  # a block, so that the clipped ringing of the cubic filter hardly moves its centre
    config = replace(CLEAN, misalign_share=1.0)
    yx = np.indices((16, 64))
    moves = []
    for seed in range(200):
        weight = degrade(hr, config=config, seed=seed)[..., 0].astype(float)
        moves.append(2 * ((yx * weight).sum((1, 2)) / weight.sum() - (7.5, 31.5)))  # HR pixels
    assert 1.0 < np.abs(moves).max() <= 2.0
    assert np.abs(np.mean(moves, axis=0)).max() < 0.15  # as often one way as the other


def test_a_seed_gives_what_it_gave_before_there_were_scales_and_kinds() -> None:
    """Grain and blur of these seeds as the first version drew them; one draw more or less changes them all."""
    found = [(lr.mean(), lr.std()) for lr in (degrade(bars(), seed=seed).astype(float) for seed in range(6))]
    assert np.allclose(found, BEFORE, atol=0.05)  # room for another OpenCV's rounding


def edge_sigma(lr: np.ndarray) -> float:
    """Standard deviation in LR pixels of the blur that made one upright edge soft."""
    rise = np.diff(lr.astype(float).mean((0, 2)))
    at = np.arange(len(rise))
    middle = (rise * at).sum() / rise.sum()
    return float(np.sqrt((rise * (at - middle) ** 2).sum() / rise.sum()))


def upright_edge(height: int = 64, width: int = 128) -> np.ndarray:
    hr = np.zeros((height, width, 3), np.uint8)
    hr[:, width // 2 :] = 255
    return hr


def test_text_twice_as_high_is_blurred_by_twice_as_many_pixels() -> None:
    config = replace(CLEAN, sigma_px=(2.0, 2.0), anisotropy=(1.0, 1.0))
    once, twice = (edge_sigma(degrade(upright_edge(), config=config, seed=1, scale=s)) for s in (1.0, 2.0))
    assert twice == pytest.approx(2 * once, rel=0.1)  # shrinking adds a little blur of its own


@pytest.mark.parametrize(
    ("kernel", "limit"),
    [
        ({"sigma_px": (0.3, 4.0), "anisotropy": (1.0, 1.0)}, MAX_SIGMA_PX),
        ({"gaussian_share": 0.0, "defocus_share": 1.0}, 6.5 / 2),
        ({"gaussian_share": 0.0}, 12 / 3.4),
    ],
    ids=["gaussian", "disk", "motion"],
)
def test_no_blur_of_high_text_exceeds_the_limit_and_few_draws_lie_at_it(
    kernel: dict[str, Any], limit: float
) -> None:
    config = replace(CLEAN, **kernel)
    found = [2 * edge_sigma(degrade(upright_edge(), config=config, seed=s, scale=3.0)) for s in range(60)]
    assert limit * 0.8 < max(found) < limit * 1.05
    assert np.mean(np.array(found) > 0.95 * limit) < 0.3


def test_a_scale_that_is_no_height_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be a positive number, got 0"):
        degrade(bars(), seed=0, scale=0.0)


def test_a_clean_pair_is_blurred_without_noise_or_blocks() -> None:
    noisy = replace(CROPS, clean_share=1.0, sharp_share=0.0, screen_share=0.0, scan_share=0.0, heavy_share=1.0)
    plain = np.full((32, 128, 3), (200, 120, 30), np.uint8)
    assert all((degrade(plain, config=noisy, seed=seed) == plain[0, 0]).all() for seed in range(20))
    blurred = [detail(degrade(bars(), config=noisy, seed=seed)) for seed in range(20)]
    assert np.mean(blurred) < 0.8 * detail(degrade(bars(), config=replace(CLEAN, sharp_share=1.0), seed=0))


def test_edges_on_a_screen_are_fringed_oppositely_in_red_and_blue() -> None:
    config = replace(CLEAN, screen_share=1.0, screen_rescaled_share=0.0)
    leads = []
    for seed in range(20):
        lr = degrade(upright_edge(), config=config, seed=seed).astype(int)
        red, blue = (lr - lr[..., 1:2])[..., 0].sum(1), (lr - lr[..., 1:2])[..., 2].sum(1)
        assert np.array_equal(red, -blue)
        assert np.abs(np.abs(red) - 255 / 3).max() <= 1  # a third of a pixel each
        leads.append(red[0] > 0)
    assert 0 < sum(leads) < 20  # both orders of sub-pixels exist
    plain = np.full((32, 64, 3), (10, 200, 90), np.uint8)
    assert (degrade(plain, config=config, seed=3) == plain[0, 0]).all()


def test_a_scan_is_grey_with_white_paper_and_black_ink_and_so_is_its_target() -> None:
    hr = np.full((32, 128, 3), (190, 170, 150), np.uint8)
    hr[8:24, np.arange(128) % 16 < 6] = (120, 90, 80)
    config = replace(CLEAN, scan_share=1.0)
    for seed in range(20):
        target, lr = degrade_pair(hr, config=config, seed=seed)
        assert target.shape == hr.shape
        for picture in (target, lr):
            assert np.ptp(picture, axis=2).max() == 0
            low, high = np.percentile(picture, (5, 95))
            assert low < 75 < 200 < high
        assert len(np.unique(target)) == 2  # the grain is the crop's, not the target's


def test_the_target_is_the_crop_itself_where_its_colours_can_be_seen() -> None:
    config = replace(CROPS, scan_share=0.0)
    hr = bars()
    for seed in range(20):
        target, lr = degrade_pair(hr, config=config, seed=seed)
        assert target is hr
        assert np.array_equal(lr, degrade(hr, config=config, seed=seed))


@given(
    major=st.floats(0.3, 4.0),
    ratio=st.floats(0.3, 1.0),
    radius=st.floats(0.5, 4.0),
    length=st.floats(1.0, 8.0),
    angle=st.floats(0.0, 3.2),
)
def test_kernels_neither_brighten_nor_shift(
    major: float, ratio: float, radius: float, length: float, angle: float
) -> None:
    for kernel in (
        gaussian_kernel(major, major * ratio, angle),
        disk_kernel(radius),
        motion_kernel(length, angle),
    ):
        assert kernel.shape[0] == kernel.shape[1]
        assert kernel.shape[0] % 2 == 1
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
        assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-6)


def test_a_gaussian_kernel_has_the_asked_deviations() -> None:
    kernel = gaussian_kernel(2.0, 1.0, 0.0)
    axis = np.arange(len(kernel)) - len(kernel) // 2
    assert np.sqrt((kernel.sum(0) * axis**2).sum()) == pytest.approx(2.0, rel=0.1)  # cut at 2.5 sigma
    assert np.sqrt((kernel.sum(1) * axis**2).sum()) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(
    "hr",
    [np.zeros((31, 128, 3), np.uint8), np.zeros((2, 8, 3), np.uint8), np.zeros((32, 128), np.uint8),
     np.zeros((32, 128, 3), np.float32)],
)  # fmt: skip
def test_an_array_that_is_no_even_rgb_crop_is_refused(hr: np.ndarray) -> None:
    with pytest.raises(ValueError, match="hr must"):
        degrade(hr, seed=0)


def test_an_unknown_preset_is_refused_with_the_names() -> None:
    with pytest.raises(ConfigError, match=r"'foggy'.*mild, medium, hard"):
        preset("foggy")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jpeg_share", 1.5),
        ("noise_std", (8.0, 0.5)),
        ("gaussian_share", 0.95),
        ("screen_scale", (0.0, 1.0)),
    ],
)
def test_an_impossible_setting_is_named(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=setting):
        DegradeConfig(**{setting: value})


def test_kinds_that_exceed_one_together_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"screen_share .* must not exceed 1"):
        DegradeConfig(sharp_share=0.6, screen_share=0.5)
