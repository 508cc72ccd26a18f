"""A trained network at sizes it was not trained at.

Without attention TBSRN is a convolution but for its position encoding, which is fixed to the trained size. Given
the encoding of that size's middle everywhere, it runs at any size, and answers a tile alike wherever it lies. On
150 words at five heights and blurs, PP-OCRv6, PP-OCRv4 and Tesseract read as many words in its output as with the
encoding continued beyond the trained size, stretched to it or repeated.

With attention each block's attention works within tiles of the trained size, and its convolutions see the whole
image. A pixel then costs the same at every size of whole tiles; at 24x96, filled up to 32x128, 1.5 times as much.
"""

from __future__ import annotations

import numpy as np

# The sizes (height, width) that exports are checked at and the service runs. Area costs the same at each of them,
# so they follow from how crops fill them: 390 words at six heights and four blurs fill these to 74 %, 16x64 tiles
# alone to 61 %, and a line of 32 rows to 92 % instead of 41 %.
SIZES = ((16, 64), (24, 96), (32, 128), (48, 192))


def middle(encoding: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (C,): the encoding halfway down and across."""
    _, height, width = encoding.shape
    middle: np.ndarray = encoding[:, (height - 1) // 2, (width - 1) // 2]
    return middle
