"""Stretched or in natural proportion: LR and HR stay over each other, and what is cut has no label."""

from dataclasses import replace

import numpy as np
import pytest

from model_store.manifest import PixelSpec
from model_store.pixels import resize
from training.config import DataConfig
from training.data.framing import window
from training.data.samples import training_samples, validation_samples
from training.errors import ConfigError

SPEC = PixelSpec(16, 64, 2)


def pair(width: int) -> tuple[np.ndarray, np.ndarray]:
    """LR of 16 x width whose columns are numbered, and HR with each pixel doubled."""
    lr = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (16, width, 3)).copy()
    return lr, lr.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_of_a_long_word_a_piece_is_cut_at_one_place_in_both(seed: int) -> None:
    lr, hr, whole = window(*pair(150), SPEC, seed=seed)
    assert (lr.shape, hr.shape, whole) == ((16, 64, 3), (32, 128, 3), False)
    assert np.array_equal(lr[0, :, 0], lr[0, 0, 0] + np.arange(64))
    assert np.array_equal(hr, lr.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("seed", range(5))
def test_a_short_word_is_whole_between_its_repeated_edges(seed: int) -> None:
    lr, hr, whole = window(*pair(20), SPEC, seed=seed)
    assert (lr.shape, hr.shape, whole) == ((16, 64, 3), (32, 128, 3), True)
    assert np.array_equal(hr, lr.repeat(2, axis=0).repeat(2, axis=1))
    columns = lr[0, :, 0].tolist()
    assert columns == sorted(columns)
    assert set(columns) == set(range(20))


def test_places_differ_by_seed() -> None:
    assert len({window(*pair(150), SPEC, seed=seed)[0][0, 0, 0] for seed in range(20)}) > 10


def test_a_word_of_another_height_keeps_its_proportion() -> None:
    lr, hr = pair(40)
    larger = resize(lr, height=32, width=80), resize(hr, height=64, width=160)
    found = window(*larger, SPEC, seed=1)[1].astype(int)
    assert np.abs(found - window(lr, hr, SPEC, seed=1)[1].astype(int)).mean() < 1


def test_windows_come_in_their_share_and_only_in_training() -> None:
    config = DataConfig(rendered=60, rendered_validation=60, window_share=0.5)
    plain = replace(config, window_share=0.0)
    mixed, stretched = (training_samples(c, SPEC, seed=1) for c in (config, plain))
    pairs = [(mixed.pair(n, epoch=0), stretched.pair(n, epoch=0)) for n in range(60)]
    assert all(a is not None and b is not None and a.label in (b.label, "") for a, b in pairs)
    different = sum(not np.array_equal(a.hr, b.hr) for a, b in pairs if a and b)
    assert 15 < different < 45
    cut = [a for a, _ in pairs if a and not a.label]
    assert 0 < len(cut) < different
    kept = validation_samples(config, SPEC, seed=1), validation_samples(plain, SPEC, seed=1)
    for number in range(20):
        first, second = (samples.pair(number, epoch=9) for samples in kept)
        assert first is not None
        assert second is not None
        assert np.array_equal(first.hr, second.hr)


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"window_share is 1\.5"):
        DataConfig(rendered=1, rendered_validation=1, window_share=1.5)
