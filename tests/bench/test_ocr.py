"""`python -m bench ocr`: its tables from known readings."""

import numpy as np
import pytest

from bench.ocr import GROUPS, Results, _harmed
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
    table, share = _harmed(results, "second")
    assert share == "1 of 45"  # all, blurred, sharp, small and sharp, six heights, five blurs, thirty cells
    assert table.rows == [["Tesseract, Latin words", "64 px, blur 0.11", "-1.0"]]
    assert _harmed(results, "named")[1] == "0 of 45"


def test_the_share_of_the_gap_to_sharp_crops_is_reported(results: Results) -> None:
    """Half of the blurred crops are read, nine tenths of the sharp ones; the gains are a tenth and a fifth."""
    blurred, sharp = ([CELLS.index(cell) for cell in GROUPS[name]] for name in ("blurred", "sharp"))
    for way, share in (("plain", 0.5), ("named", 0.6), ("second", 0.7)):
        found = results.found["latin", "tesseract", way]
        found[blurred, 0] = np.arange(WORDS) < share * WORDS
        found[sharp, 0] = np.arange(WORDS) < 0.9 * WORDS
    part = ("tesseract", ["latin"], "blurred")
    ((name, plain, *_, sharp_share, named, second),) = results.gaps([part]).rows
    assert (name, plain, sharp_share, named, second) == ("Tesseract, Latin words", "50.0", "90.0", "25 %", "50 %")
    (axes,) = results.gained([part]).axes
    assert [text.get_text() for text in axes.texts] == ["50 → 60  (sharp: 90)"]
