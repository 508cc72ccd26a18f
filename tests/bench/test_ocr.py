"""`python -m bench ocr`: its tables from known readings."""

import numpy as np
import pytest

from bench.ocr import Results, _harmed
from training.calibration.cells import CELLS

WORDS = 200


@pytest.fixture
def results() -> Results:
    """Half of the words are read. Named gains 20 words in the first cell; second opinions lose 2 in the last."""
    plain = np.zeros((len(CELLS), 2, WORDS), bool)
    plain[:, 0, : WORDS // 2] = True
    named, second = plain.copy(), plain.copy()
    named[0, 0, : WORDS // 2 + 20] = True
    second[-1, 0, :2] = False
    second[:, 1, ::4] = True
    ways = {"plain": plain, "named": named, "auto": plain, "always": plain, "second": second}
    return Results(["tesseract"], ["latin"], {("latin", "tesseract", way): found for way, found in ways.items()})


def test_a_table_has_the_plain_rate_the_changes_and_the_crops_sent(results: Results) -> None:
    table = results.table("a title", results.parts(CELLS[0].name), "named", "second")
    assert table.columns == ["words read, %", "plain crop", "recogniser named", "second opinion", "crops sent"]
    ((name, plain, named, second, sent),) = table.rows
    assert (name, plain, second, sent) == ("Tesseract, Latin words, 12 px, blur 0", "50.0", "0", "25 %")
    assert named.startswith("**+10.0 (+")


def test_every_group_that_loses_words_is_named(results: Results) -> None:
    table, share = _harmed(results)
    assert share == "1 of 43"  # all, blurred, six heights, five blurs, thirty cells
    assert table.rows == [["Tesseract, Latin words", "64 px, blur 0.11", "-1.0"]]
