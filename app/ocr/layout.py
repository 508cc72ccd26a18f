"""Pictures that hold a single line of text, which needs no detection.

Of 70 words of IIIT5K, 97 to 99 % were read right as whole pictures of 24 to 160 px height, against 91 to 96 % of the
detector's crops; at 16 px 91 % against 84 %. So the limit is not where detection becomes better, which is nowhere
for single words, but the height below which a picture hardly holds two lines.
"""

MAX_LINE_PX = 64  # as high as the highest twentieth of these words


def is_one_line(height: int, width: int) -> bool:
    """Whether a picture of this size is taken as one line of text as it is."""
    return height <= MAX_LINE_PX and width > height
