import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model_store.manifest import PixelSpec
from model_store.pixels import crops_to_lr, resize, sr_to_crops

SPEC = PixelSpec(height=16, width=64, scale=2)
SIGNED = PixelSpec(height=16, width=64, scale=2, low=-1.0, high=1.0)
tiles = hnp.arrays(np.uint8, (16, 64, 3))


@given(tiles, st.sampled_from([SPEC, SIGNED]))
def test_a_tile_of_the_models_size_survives_the_round_trip(tile: np.ndarray, spec: PixelSpec) -> None:
    lr = crops_to_lr([tile], spec)
    assert lr.dtype == np.float32
    assert lr.min() >= spec.low
    assert lr.max() <= spec.high
    assert (sr_to_crops(lr, spec)[0] == tile).all()


def test_crops_of_any_size_become_one_batch() -> None:
    crops = [np.full((h, w, 3), h, np.uint8) for h, w in [(8, 8), (16, 64), (60, 2000)]]
    lr = crops_to_lr(crops, SPEC)
    assert lr.shape == (3, 3, 16, 64)
    assert lr[:, 0, 0, 0] * 255 == pytest.approx([8, 16, 60])


def test_values_outside_the_range_are_clipped_and_not_wrapped() -> None:
    sr = np.array([-0.2, 1.3, 0.5 / 255, 1.6 / 255], np.float32).reshape(1, 1, 1, 4).repeat(3, axis=1)
    (crop,) = sr_to_crops(sr, SPEC)
    assert crop[0, :, 0].tolist() == [0, 255, 0, 2]


def test_resizing_is_pillows_bicubic() -> None:
    step = np.zeros((1, 4, 3), np.uint8)
    step[:, 2:] = 200
    # By the kernel's formula with a = -0.5; cv2's a = -0.75 would give 45, 155, 221, 207 at the step.
    assert resize(step, height=1, width=8)[0, :, 0].tolist() == [0, 0, 0, 41, 159, 214, 204, 200]
