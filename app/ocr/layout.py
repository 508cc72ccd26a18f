"""Pictures that hold a single line of text, which needs no detection."""

MAX_LINE_PX = 64


def is_one_line(height: int, width: int) -> bool:
    """Whether a picture of this size is taken as one line of text as it is."""
    return height <= MAX_LINE_PX and width > height
