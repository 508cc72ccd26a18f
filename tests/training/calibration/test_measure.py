"""Readings become samples for the rules, and opinions for second opinions."""

import numpy as np

from training.calibration.fit import TREATMENTS
from training.calibration.measure import PLAIN, Reads, _by_treatment, _over_plain


def test_each_treatment_keeps_its_readings_and_confidences() -> None:
    """Three crops; after the treatment of place p the crop p is read, with a confidence of p tenths."""
    reads: Reads = {PLAIN: [(True, 0.9), (False, 0.2), (False, 0.3)]}
    for place, treatment in enumerate(TREATMENTS):
        reads[treatment] = [(crop == place, place / 10) for crop in range(3)]
    right, sure, second_right, second_sure = _by_treatment(reads)
    assert right.tolist() == [True, False, False]
    assert sure.tolist() == [0.9, 0.2, 0.3]
    assert second_right.dtype == bool
    assert second_right.tolist() == [[crop == place for crop in range(3)] for place in range(len(TREATMENTS))]
    np.testing.assert_allclose(second_sure, [[place / 10] * 3 for place in range(len(TREATMENTS))])
    gains = _over_plain(reads)
    assert gains[TREATMENTS[0]].tolist() == [0, 0, 0]
    assert gains[TREATMENTS[1]].tolist() == [-1, 1, 0]
