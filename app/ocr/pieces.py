"""A very long line -> pieces that the recogniser takes, cut at gaps between words.

Its memory and time grow with a line's width by its height: a strip of 16,000 x 4 pixels as a whole took 7 GB.
"""

from itertools import pairwise

import cv2
import numpy as np

from model_store.pixels import Rgb

LONGEST = 64  # times its height is the width of a piece; about 130 letters
MOST = 32  # pieces; a longer strip, of more than 4000 letters, is no line
TALLEST = 16  # times its width is the height of a line; the recogniser would see 3 columns of pixels


def pieces(line: Rgb) -> list[Rgb]:
    """From left to right, the line itself if it is short; none for a strip that cannot be a line."""
    height, width = line.shape[:2]
    count = -(-width // (LONGEST * height))
    if count > MOST or height > TALLEST * width:
        return []
    if count == 1:
        return [line]
    contrast = cv2.blur(line.std(axis=(0, 2))[None], (max(1, height // 3), 1))[0]  # least in a wide gap
    cuts = [_least(contrast, width * part // count, 2 * height) for part in range(1, count)]
    return [np.ascontiguousarray(line[:, start:stop]) for start, stop in pairwise([0, *cuts, width])]


def _least(contrast: np.ndarray, middle: int, around: int) -> int:
    start = max(1, middle - around)
    return start + int(contrast[start : middle + around].argmin())
