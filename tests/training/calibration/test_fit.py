"""A recogniser's rule: it finds where a model helps, and keeps away where nothing is gained."""

from dataclasses import replace

import numpy as np
import pytest

from training.calibration import fit as module
from training.calibration.fit import NEVER, TREATMENTS, Samples, Treatment, curve, fit, gain, treatment

CROPS = 2400
HELPFUL = TREATMENTS[1]
SIX_VIEWS = TREATMENTS[3]
BLUR_SHARES = module._BLUR_SHARES


@pytest.fixture(autouse=True)
def _few_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the limits, tried in a quarter of the time."""
    monkeypatch.setattr(module, "_BLUR_SHARES", BLUR_SHARES[::2])
    monkeypatch.setattr(module, "_NOISE_SHARES", (0.75,))


def samples(share_gained: float, share_lost: float, *, seed: int = 0, readers: int = 2) -> Samples:
    """Crops blurred by 1 to 3 px: above 2 px words are gained, below it lost, with the given probabilities.

    Only the treatment HELPFUL gains and loses; other treatments change nothing.
    """
    draw = np.random.default_rng(seed)
    blur = draw.uniform(1, 3, CROPS)
    sign = np.where(blur > 2, 1, -1)
    chance = np.where(blur > 2, share_gained, share_lost)

    def gains() -> dict[Treatment, np.ndarray]:
        helped = sign * (draw.random(CROPS) < chance).astype(float)
        return {own: helped if own == HELPFUL else np.zeros(CROPS) for own in TREATMENTS}

    return Samples(
        word=np.arange(CROPS) // 4,
        script=np.where(draw.random(CROPS) < 0.3, "chinese", "latin"),
        height=draw.choice([16.0, 32.0, 64.0], CROPS),
        blur=blur,
        noise=draw.uniform(0, 0.1, CROPS),
        gains={f"reader {i}": gains() for i in range(readers)},
    )


def changed(data: Samples, change: object) -> Samples:
    gains = {name: {t: change(g) for t, g in found.items()} for name, found in data.gains.items()}  # type: ignore[operator]
    return replace(data, gains=gains)


def with_loser(data: Samples) -> Samples:
    loser = {own: -np.abs(gains) for own, gains in data.gains["reader 0"].items()}
    return replace(data, gains={**data.gains, "loser": loser})


def test_a_model_that_helps_what_is_blurred_is_used_there_alone_and_by_the_treatment_that_helps() -> None:
    data = samples(0.3, 0.3)
    rule = fit(data)
    assert rule.min_blur == pytest.approx(2, abs=0.15)
    assert treatment(rule) == HELPFUL
    assert rule.points == pytest.approx(30, abs=6)
    gained = gain({name: data.gained(name, rule) for name in data.gains}, data.word)
    assert all(found["points"] > 12 for found in gained.values())


def test_a_model_that_helps_everywhere_is_used_nearly_everywhere() -> None:
    everywhere = changed(samples(0.3, 0.3), np.abs)
    assert everywhere.chosen(fit(everywhere)).mean() > 0.85


def test_a_model_that_harms_is_never_used() -> None:
    assert fit(changed(samples(0.3, 0.3), lambda gains: -np.abs(gains))) == NEVER


def test_of_rules_that_gain_alike_the_one_that_leaves_most_crops_alone_is_taken() -> None:
    """Below 2 px nothing is gained or lost."""
    assert fit(samples(0.3, 0.0)).min_blur >= 1.9


@pytest.mark.parametrize(("kept", "views"), [(1.0, 1), (0.7, 6)])
def test_six_views_are_taken_only_where_they_gain_more_words(kept: float, views: int) -> None:
    """One view gains the share `kept` of the words that six gain."""
    data = samples(0.3, 0.1)
    is_kept = np.random.default_rng(1).random(CROPS) < kept
    gains = {
        name: {**found, SIX_VIEWS: found[HELPFUL], HELPFUL: np.where(is_kept, found[HELPFUL], 0)}
        for name, found in data.gains.items()
    }
    assert fit(replace(data, gains=gains)).views == views


def test_one_recogniser_that_loses_forbids_what_another_gains_by() -> None:
    assert fit(with_loser(samples(0.3, 0.3))) == NEVER


def test_a_rule_of_ones_own_is_not_forbidden_by_another_that_loses() -> None:
    data = with_loser(samples(0.3, 0.3))
    assert fit(data.of_readers("reader 0")).min_blur == pytest.approx(2, abs=0.15)
    assert fit(data.of_readers("loser")) == NEVER


def test_one_script_that_loses_forbids_what_another_gains_by() -> None:
    data = samples(0.3, 0.3)
    assert fit(changed(data, lambda gains: np.where(data.script == "chinese", -np.abs(gains), gains))) == NEVER


@pytest.mark.slow
def test_chance_alone_is_seldom_taken_for_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLUR_SHARES", BLUR_SHARES)  # the more limits, the more chances
    taken = 0
    for seed in range(8):
        draw = np.random.default_rng([seed, 1])
        chance = lambda gains: draw.choice([-1.0, 0, 1], len(gains), p=[0.1, 0.8, 0.1])  # noqa: B023, E731
        taken += not fit(changed(samples(0, 0, seed=seed), chance)).never
    assert taken <= 2


def test_the_curve_is_in_parts_of_equal_size_by_blur() -> None:
    data = samples(0.3, 0.3)
    rules = {name: fit(data.of_readers(name)) for name in data.gains}
    parts = curve(data, rules)
    assert [part["blur"][1] for part in parts] == sorted(part["blur"][1] for part in parts)
    assert parts[-1]["gains"]["reader 0"]["points"] > 20 > 0 > parts[0]["gains"]["reader 0"]["points"]
