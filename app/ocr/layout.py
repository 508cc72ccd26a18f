"""Pictures that hold a single line of text, which needs no detection.

Of 70 words of IIIT5K, 97 to 99 % were read right as whole pictures of 24 to 160 px height, and 91 to 96 % as the
detector's crops; at 16 px 91 % and 84 %. Detection is never better for single words, so the limit is the height
below which a picture hardly holds two lines.
"""

MAX_LINE_PX = 64  # as high as the highest twentieth of these words
MAX_WORD_PX = 160  # up to here a picture is read whole, if the detector finds nothing: 1 to 7 % of these words


def is_one_line(height: int, width: int) -> bool:
    """Whether a picture of this size is taken as one line of text as it is."""
    return height <= MAX_LINE_PX and width > height


def may_be_one_line(height: int, width: int) -> bool:
    """Whether a picture of this size is taken as one line of text if the detector finds none on it."""
    return height <= MAX_WORD_PX and width > height
