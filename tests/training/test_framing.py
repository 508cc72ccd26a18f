"""Stretched, or placed at a scale of its own: the box says where the text lies, and what is cut is told."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from model_store.manifest import PixelSpec
from model_store.pixels import resize
from training.config import DataConfig
from training.data.framing import Placed, place, stretch
from training.data.samples import Pair, Samples, training_samples, validation_samples
from training.errors import ConfigError

SPEC = PixelSpec(16, 64, 2)
CANVAS = (64, 192)


def crop(height: int, width: int) -> np.ndarray:
    """Rows in red, columns in green: each pixel is found again."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.full_like(rows, 9)], axis=2)


def placed(rgb: np.ndarray, *, seed: int, height: int | None = None) -> tuple[Placed, np.ndarray]:
    """And the pixels within the box."""
    found = place(rgb, height=height or len(rgb), canvas=CANVAS, rng=np.random.default_rng(seed))
    assert found.canvas.shape == (*CANVAS, 3)
    left, top, right, bottom = map(int, found.box)
    return found, found.canvas[top:bottom, left:right]


@pytest.mark.parametrize("seed", range(5))
def test_the_box_holds_the_text_and_around_it_its_edges_go_on(seed: int) -> None:
    found, inside = placed(crop(20, 50), seed=seed)
    assert (found.wide, found.high, found.whole) == (True, True, True)
    assert np.array_equal(inside, crop(20, 50))
    left, top, *_ = map(int, found.box)
    rows, columns = (np.arange(length) for length in CANVAS)
    assert np.array_equal(found.canvas[:, left, 0], np.clip(rows - top, 0, 19))
    assert np.array_equal(found.canvas[top, :, 1], np.clip(columns - left, 0, 49))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("size", "wide", "high"), [((40, 230), False, True), ((90, 120), True, False), ((90, 230), False, False)]
)
def test_of_what_is_too_large_there_is_a_piece_that_says_so(
    size: tuple[int, int], wide: bool, high: bool, seed: int
) -> None:
    found, inside = placed(crop(*size), seed=seed)
    assert (found.wide, found.high, found.whole) == (wide, high, False)
    assert inside.shape[:2] == (min(size[0], CANVAS[0]), min(size[1], CANVAS[1]))
    top, left = inside[0, 0, :2]
    assert np.array_equal(inside, crop(*size)[top:, left:][: inside.shape[0], : inside.shape[1]])


@pytest.mark.parametrize("height", [30, 47, 64])
def test_a_crop_is_brought_to_the_height_in_its_own_proportion(height: int) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (50, 80, 3), np.uint8)
    found, inside = placed(rgb, seed=3, height=height)
    assert np.array_equal(inside, resize(rgb, height=height, width=round(80 * height / 50)))
    assert found.whole


@pytest.mark.parametrize("size", [(20, 50), (90, 230)])
def test_places_differ_by_seed_and_reach_both_ends(size: tuple[int, int]) -> None:
    seen = [placed(crop(*size), seed=seed)[0] for seed in range(200)]
    tops = {int(one.canvas[0, 0, 0]) if size[0] > CANVAS[0] else int(one.box[1]) for one in seen}
    assert min(tops) == 0
    assert max(tops) == abs(CANVAS[0] - size[0])


def test_what_is_stretched_fills_both_pictures() -> None:
    lr, hr = stretch(crop(20, 33), crop(40, 66), SPEC)
    assert (lr.shape, hr.shape) == ((16, 64, 3), (32, 128, 3))


def pairs(samples: Samples, *, placed: bool) -> Iterator[Pair]:
    for number in range(len(samples)):
        pair = samples.pair(number, epoch=0, placed=placed)
        assert pair is not None
        yield pair


def test_a_placed_pair_is_a_canvas_whose_label_is_missing_where_a_piece_is_shown() -> None:
    config = DataConfig(rendered=60, rendered_validation=1, window_share=0.5, window=(32, 64))
    samples = training_samples(config, SPEC, seed=1)
    found = list(pairs(samples, placed=True))
    stretched = list(pairs(samples, placed=False))
    assert {(pair.lr.shape, pair.hr.shape) for pair in found} == {((32, 64, 3), (64, 128, 3))}
    assert {(pair.lr.shape, pair.hr.shape) for pair in stretched} == {((16, 64, 3), (32, 128, 3))}
    for pair, whole in zip(found, stretched, strict=True):
        left, top, right, bottom = pair.box
        assert 0 <= left < right <= 128
        assert 0 <= top < bottom <= 64
        assert whole.label
        assert pair.label in (whole.label, "")
        assert pair.text in (whole.label, "")
        assert pair.text if pair.label else right - left == 128 or bottom - top == 64
    assert 0 < sum(not pair.label for pair in found) < 60


def test_canvases_come_in_their_share_and_only_in_training() -> None:
    config = DataConfig(rendered=40, rendered_validation=5, window_share=0.3)
    samples = training_samples(config, SPEC, seed=1)
    shapes = [samples.batch([number], epoch=epoch).lr.shape for epoch in (0, 1) for number in range(40)]
    assert {shape[2:] for shape in shapes} == {(16, 64), (32, 96)}
    assert 0.15 < np.mean([shape[2:] == (32, 96) for shape in shapes]) < 0.45
    kept = (validation_samples(c, SPEC, seed=1) for c in (config, replace(config, window_share=0.0)))
    for one, other in zip(*(pairs(samples, placed=False) for samples in kept), strict=True):
        assert np.array_equal(one.hr, other.hr)


@pytest.mark.parametrize("name", ["window_share", "negative_share"])
def test_a_share_beyond_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is 1\.5"):
        DataConfig(rendered=1, rendered_validation=1, **{name: 1.5})  # type: ignore[arg-type]
