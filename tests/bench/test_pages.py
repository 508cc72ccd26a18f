"""`python -m bench pages`: tables and facts of known errors."""

from collections import Counter

import numpy as np

from bench.pages import Measured, _facts, _table
from training.pages.make import Page

READER = "rapidocr-v6"
PAGE = Page("notice-latin-0", "notice", "latin", np.zeros((4, 4, 3), np.uint8), [], [])


def measured(*, plain: int, second: int, alone: int) -> Measured:
    count = Counter(
        {"lines": 4, "boxes": 4, "characters": 100, f"{READER}, plain": plain, f"{READER}, named": plain}
    )
    count |= Counter({f"{READER}, second": second, f"{READER}, second, sent": 1, f"alone, {READER}, plain": alone})
    return Measured(PAGE, count)


PAGES = [measured(plain=10, second=8, alone=20), measured(plain=10, second=8, alone=12)]


def test_a_row_has_the_plain_errors_and_their_change() -> None:
    (row,) = _table("a title", {"notice": PAGES}, [READER], "named", "second").rows
    assert row == ["notice", "8", "10.00", "0", "**-2.00 (-2.00 to -2.00)**"]


def test_the_service_is_compared_with_rapidocr_alone() -> None:
    facts = _facts({"blurred notice": PAGES})
    assert (facts["service_blurred_notice"], facts["rapidocr_blurred_notice"]) == ("8.00", "16.00")
    assert facts["service_over_rapidocr_blurred_notice"] == "-8.00 (-12.00 to -4.00)"
