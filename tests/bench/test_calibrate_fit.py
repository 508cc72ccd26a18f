"""The rule of auto mode: it finds where a model helps, and keeps away where none would be helped."""

import math

import numpy as np
import pytest

from app.judge import Rule
from bench.calibrate_fit import NEVER, Samples, curve, fit, gain

SUBSETS, WORDS = 4, 300


def samples(share_gained: float, share_lost: float, *, seed: int = 0, readers: int = 2) -> Samples:
    """A blur of 1 to 3 px; from 2 upwards words are gained, and below it lost, with those probabilities."""
    draw = np.random.default_rng(seed)
    blur = draw.uniform(1, 3, (SUBSETS, WORDS))
    sign = np.where(blur > 2, 1, -1)
    chance = np.where(blur > 2, share_gained, share_lost)
    gains = {f"reader {i}": sign * (draw.random(blur.shape) < chance).astype(float) for i in range(readers)}
    return Samples(blur, draw.uniform(0, 0.1, blur.shape), gains)


def test_a_model_that_helps_what_is_blurred_is_used_there_alone() -> None:
    data = samples(0.3, 0.3)
    rule = fit(data)
    assert rule.min_blur == pytest.approx(2, abs=0.12)
    assert all(found["points"] > 12 for found in gain(data, data.chosen(rule)).values())


def test_a_model_that_helps_everywhere_is_used_everywhere() -> None:
    data = samples(0.3, -0.3)
    everywhere = Samples(data.blur, data.noise, {name: abs(g) for name, g in samples(0.3, 0.3).gains.items()})
    assert everywhere.chosen(fit(everywhere)).all()


def test_a_model_that_harms_is_never_used() -> None:
    data = samples(0.3, 0.3)
    harmed = Samples(data.blur, data.noise, {name: -abs(g) for name, g in data.gains.items()})
    assert fit(harmed) == NEVER


def test_one_recogniser_that_loses_forbids_what_another_gains_by() -> None:
    data = samples(0.3, 0.3)
    loser = {"loser": -abs(data.gains["reader 0"])}
    assert fit(Samples(data.blur, data.noise, {**data.gains, **loser})) == NEVER


def test_a_rule_of_ones_own_is_not_forbidden_by_another_who_loses() -> None:
    data = samples(0.3, 0.3)
    with_loser = Samples(data.blur, data.noise, {**data.gains, "loser": -abs(data.gains["reader 0"])})
    assert fit(with_loser.of_reader("reader 0")).min_blur == pytest.approx(2, abs=0.12)
    assert fit(with_loser.of_reader("loser")) == NEVER


def test_chance_alone_is_seldom_taken_for_help() -> None:
    draw = np.random.default_rng(5)
    taken = 0
    for seed in range(20):
        gains = {f"reader {i}": draw.choice([-1.0, 0, 1], (SUBSETS, WORDS), p=[0.1, 0.8, 0.1]) for i in range(3)}
        taken += fit(Samples(samples(0, 0, seed=seed).blur, samples(0, 0, seed=seed).noise, gains)) != NEVER
    assert taken <= 2


def test_noise_that_makes_the_model_harm_is_left_out() -> None:
    draw = np.random.default_rng(3)
    blur, noise = draw.uniform(1, 3, (SUBSETS, WORDS)), draw.uniform(0, 0.1, (SUBSETS, WORDS))
    changed = draw.random(blur.shape) < 0.3
    data = Samples(blur, noise, {"reader": np.where(noise < 0.05, 1.0, -1.0) * changed})
    assert fit(data).max_noise == pytest.approx(0.05, abs=0.003)


def test_a_rule_chooses_as_the_service_decides() -> None:
    data = Samples(np.array([[1.0, 2, 2, math.inf]]), np.array([[0, 0.1, 0.2, math.inf]]), {})
    assert data.chosen(Rule(min_blur=2, max_noise=0.1)).tolist() == [[False, True, False, False]]
    assert not data.chosen(NEVER)[0, :3].any()


def test_the_curve_has_every_crop_once_from_sharp_to_blurred() -> None:
    parts = curve(samples(0.3, 0.3))
    medians = [part["blur"][1] for part in parts]
    assert medians == sorted(medians)
    assert parts[0]["gains"]["reader 0"]["points"] < 0 < parts[-1]["gains"]["reader 0"]["points"]
