"""Limits of second opinions: they send the crops that gain, ask for enough confidence, and harm no group."""

from dataclasses import replace

import numpy as np
import pytest

from training.calibration.fit import TREATMENTS
from training.calibration.second_opinions import Opinions, cross_validated, fit, report

CROPS = 3000


def opinions(*, bias: float = 0.0, seed: int = 0) -> Opinions:
    """A recogniser that is right as often as it is sure. bias: too much confidence in super-resolved crops.

    The second reading of a crop is surer or less sure by chance, and right as often as its confidence less `bias`.
    """
    draw = np.random.default_rng(seed)
    sure = draw.uniform(0, 1, CROPS)
    honest = np.clip(sure + draw.normal(0, 0.2, CROPS), 0, 1)
    luck = draw.random(CROPS)  # a word that is read from a poor picture is read from a better one
    return Opinions(
        word=np.arange(CROPS) // 4,
        script=np.where(draw.random(CROPS) < 0.3, "chinese", "latin"),
        height=draw.choice([16.0, 32.0, 64.0], CROPS),
        blur=draw.uniform(1, 3, CROPS),
        right=luck < sure,
        sure=sure,
        second_right=np.tile(luck < honest, (len(TREATMENTS), 1)),
        second_sure=np.tile(np.minimum(1, honest + bias), (len(TREATMENTS), 1)),
    )


def test_an_honest_recogniser_needs_no_margin_and_an_overconfident_one_does() -> None:
    honest, overconfident = fit(opinions()), fit(opinions(bias=0.3))
    assert honest is not None
    assert overconfident is not None
    assert honest.margin <= 0.1
    assert overconfident.margin >= 0.2
    assert cross_validated(opinions(bias=0.3)).mean() > 0.01


def test_crops_that_gain_nothing_are_not_sent() -> None:
    found = opinions()
    only_unsure = replace(found, second_right=np.where(found.sure < 0.4, found.second_right, found.right))
    limits = fit(only_unsure)
    assert limits is not None
    assert limits.below <= 0.5


def test_a_recogniser_that_never_gains_gets_no_limits() -> None:
    found = opinions()
    worse = replace(found, second_right=np.zeros((len(TREATMENTS), CROPS), bool))
    assert fit(worse) is None
    told = report({"tesseract": worse})
    assert told["limits"] == {}
    assert told["sent"] == {"tesseract": 0, "tesseract as any": 0}


@pytest.mark.slow
def test_the_limits_for_any_recogniser_suit_all_that_were_measured() -> None:
    honest, overconfident = opinions(), opinions(bias=0.3)
    alone, both = fit(honest), fit(honest, overconfident)
    assert alone is not None
    assert both is not None
    assert both.margin > alone.margin
    assert report({"a": honest, "b": overconfident})["limits"].keys() == {"a", "b", "any"}
    worse = replace(honest, second_right=np.zeros((len(TREATMENTS), CROPS), bool))
    assert fit(honest, worse) is None


def test_a_group_that_loses_makes_the_limits_stricter() -> None:
    found = opinions()
    group = (found.script == "chinese") & (found.height == 16)
    spoilt = replace(found, second_right=found.second_right & ~group)
    loose, strict = fit(found), fit(spoilt)
    assert loose is not None
    assert strict is not None
    assert spoilt.gained(loose)[group].mean() < -0.03
    assert spoilt.gained(strict)[group].mean() > -0.01


def test_a_less_sure_second_reading_is_not_kept() -> None:
    found = opinions()
    alone = replace(found, second_sure=np.zeros((len(TREATMENTS), CROPS)))
    limits = fit(found)
    assert limits is not None
    assert not alone.gained(limits).any()
    assert found.gained(limits).any()


def test_the_treatment_that_gains_most_belongs_to_the_limits() -> None:
    found = opinions()
    best = TREATMENTS[2]
    one_gains = np.array([found.second_right[0] if own == best else found.right for own in TREATMENTS])
    limits = fit(replace(found, second_right=one_gains))
    assert limits is not None
    treatment = limits.as_json()
    assert {name: treatment.get(name) for name in best._fields} == best._asdict()
    assert report({"a": found})["limits"]["a"].keys() >= {"below", "margin", "target_blur", "strength", "views"}


def test_of_treatments_that_gain_alike_the_gentlest_is_taken() -> None:
    found = opinions()
    gentlest, *stronger = (place for place, own in enumerate(TREATMENTS) if own.views == 1)
    second_right = found.second_right.copy()
    second_right[gentlest, np.flatnonzero(second_right[gentlest] & (found.sure < 0.3))[:5]] = False
    limits = fit(replace(found, second_right=second_right))
    assert limits is not None
    assert all(TREATMENTS[gentlest].strength < TREATMENTS[place].strength for place in stronger)
    assert (limits.views, limits.strength) == (1, TREATMENTS[gentlest].strength)
