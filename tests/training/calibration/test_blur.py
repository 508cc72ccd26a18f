"""The fit of the blur estimate's coefficients, and its samples."""

import numpy as np
import pytest

from model_store.blur import COEFFICIENTS, quantities, terms
from tests.training.calibration.words import installed_fonts
from training.calibration.blur import HEIGHTS, KINDS, _contrast, fit, samples


def test_samples_cover_scripts_heights_and_kinds() -> None:
    scripts = {script for script, found in installed_fonts().items() if found}
    found = list(samples(each=3, seed=1))
    assert {(s.script, s.height, s.kind) for s in found} == {
        (script, height, kind) for script in scripts for height in HEIGHTS for kind in KINDS
    }
    assert all(len(sample.rgb) == sample.height for sample in found)


@pytest.mark.slow
def test_the_fit_has_smaller_errors_on_its_samples_than_the_published_coefficients() -> None:
    installed_fonts()
    found = list(samples(each=4, seed=5))
    table = np.array([terms(*quantities(*_contrast(sample.rgb))) for sample in found])
    truth = np.log([sample.blur for sample in found])
    solved = fit(found)
    assert solved.shape == np.shape(COEFFICIENTS)
    ours, published = (np.abs(table @ np.asarray(c) - truth).mean() for c in (solved, COEFFICIENTS))
    assert ours < published < 0.3
