"""The fit of the blur estimate's coefficients, and its samples."""

import numpy as np
import pytest

from model_store.blur import COEFFICIENTS, quantities, terms
from tests.training.calibration.words import installed_fonts
from training.calibration.blur import HEIGHTS, KINDS, Sample, _contrast, fit, samples


@pytest.fixture(scope="module")
def found() -> list[Sample]:
    installed_fonts()
    return list(samples(each=4, seed=5))


@pytest.mark.slow
def test_samples_cover_scripts_heights_and_kinds(found: list[Sample]) -> None:
    scripts = {script for script, fonts in installed_fonts().items() if fonts}
    assert {(s.script, s.height, s.kind) for s in found} == {
        (script, height, kind) for script in scripts for height in HEIGHTS for kind in KINDS
    }
    assert all(len(sample.rgb) == sample.height for sample in found)


@pytest.mark.slow
def test_the_fit_has_smaller_errors_on_its_samples_than_the_published_coefficients(found: list[Sample]) -> None:
    table = np.array([terms(*quantities(*_contrast(sample.rgb))) for sample in found])
    truth = np.log([sample.blur for sample in found])
    solved = fit(found)
    assert solved.shape == np.shape(COEFFICIENTS)
    ours, published = (np.abs(table @ np.asarray(c) - truth).mean() for c in (solved, COEFFICIENTS))
    assert ours < published < 0.3
