import pytest

from app.ocr.layout import is_one_line


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(20, 100, True), (64, 65, True), (64, 64, False), (65, 600, False), (90, 20, False)],
)
def test_low_pictures_that_are_wider_than_high_are_one_line(height: int, width: int, expected: bool) -> None:
    assert is_one_line(height, width) == expected
