"""Several views of the network at one crop, and the mean of their pictures."""

from dataclasses import replace

import numpy as np
import pytest

from model_store import tiling, views
from model_store.calibration import UNCALIBRATED, Rule, SecondOpinion
from model_store.pixels import Nchw, Rgb
from model_store.views import Look
from tests.app.conftest import SPEC
from tests.app.fakes import nearest_x2

SIZES = ((16, 64), (24, 96))
SIX = replace(UNCALIBRATED, target_blur=2.0, views=6)
BOTH = (False, True)


def noise(height: int, width: int) -> Rgb:
    return np.random.default_rng(height).integers(30, 220, (height, width, 3), np.uint8)


def through(rgb: Rgb, looks: tuple[Look, ...], network: object = nearest_x2) -> Rgb:
    planned = views.plan(rgb.shape[0], rgb.shape[1], looks, spec=SPEC, sizes=SIZES)
    lr = planned.split(rgb, SPEC)
    assert len(lr) == planned.tiles
    return planned.merge([network(tile[None])[0] for tile in lr], SPEC)  # type: ignore[operator]


def test_one_view_is_the_crop_at_its_working_scale() -> None:
    crop = noise(40, 150)
    layout = tiling.plan(40, 150, scale=0.5, spec=SPEC, sizes=SIZES)
    alone = tiling.merge(list(nearest_x2(tiling.split(crop, layout, SPEC))), layout, SPEC)
    assert np.array_equal(through(crop, (Look(0.5),)), alone)


@pytest.mark.parametrize(
    ("blur", "scales"),
    [(4.0, (0.375, 0.5, 0.625)), (2.0, (0.75, 1.0, 1.0)), (1.0, (1.0, 1.0, 1.0)), (None, (1.0, 1.0, 1.0))],
)
def test_six_looks_are_at_three_scales_as_the_crop_is_and_inverted(
    blur: float | None, scales: tuple[float, ...]
) -> None:
    assert SIX.looks(blur) == tuple(Look(scale, inverted) for scale in scales for inverted in BOTH)


@pytest.mark.parametrize(("height", "blur", "different"), [(48, 4.0, 6), (48, 2.0, 4), (48, 1.0, 2), (12, 4.0, 2)])
def test_the_network_never_computes_a_view_twice(height: int, blur: float, different: int) -> None:
    planned = views.plan(height, 3 * height, SIX.looks(blur), spec=SPEC, sizes=SIZES).distinct()
    assert len(planned.each) == different  # no crop is shrunk to fewer than 12 rows


def test_an_inverted_view_is_inverted_back() -> None:
    crop = noise(16, 64)
    plain, inverted = (through(crop, (Look(1.0, own),)).astype(int) for own in BOTH)
    assert np.abs(plain - inverted).max() <= 1


def test_what_the_network_adds_to_every_crop_is_not_in_the_mean_of_both_views() -> None:
    def brighter(lr: Nchw) -> Nchw:
        return nearest_x2(lr) + np.float32(0.08)

    crop = noise(16, 64)
    plain = through(crop, (Look(),)).astype(int)
    alone = through(crop, (Look(),), brighter).astype(int) - plain
    both = through(crop, tuple(Look(1.0, own) for own in BOTH), brighter).astype(int) - plain
    assert alone.mean() == pytest.approx(0.08 * 255, abs=0.5)
    assert np.abs(both).max() <= 1


def test_views_may_differ_in_the_size_of_their_tiles() -> None:
    crop = noise(48, 180)
    looks = SIX.looks(4.0)
    planned = views.plan(48, 180, looks, spec=SPEC, sizes=SIZES)
    assert len({layout.tile for layout in planned.layouts}) == 2
    assert planned.pixels == sum(layout.tiles * layout.tile[0] * layout.tile[1] for layout in planned.layouts)
    assert through(crop, looks).shape == (96, 360, 3)


def test_a_rule_without_views_has_one_and_an_unknown_number_is_refused() -> None:
    limits = UNCALIBRATED.as_json()
    assert Rule.from_json({**limits, "views": 6}).views == 6
    assert Rule.from_json({name: value for name, value in limits.items() if name != "views"}).views == 1
    with pytest.raises(ValueError, match=r"views must be one of \[1, 6\], not 3"):
        Rule.from_json({**limits, "views": 3})
    second = SecondOpinion.from_json({"below": 0.9, "margin": 0.1, "views": 6, "strength_of_one": 0.4})
    assert second.treatment(UNCALIBRATED) == replace(UNCALIBRATED, views=6, strength_of_one=0.4)
    for one in (SIX, replace(SIX, strength_of_one=0.4), UNCALIBRATED):
        assert Rule.from_json(one.as_json()) == one
    assert SecondOpinion.from_json(second.as_json()) == second


@pytest.mark.parametrize("strength", [0, 1.1, -0.4])
def test_a_strength_of_one_view_beyond_its_range_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="each strength in"):
        replace(SIX, strength_of_one=strength)
