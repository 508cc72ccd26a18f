"""A trained network at sizes it was not trained at.

TBSRN without attention is a convolution but for its position encoding, which is fixed to the trained size. Given
the encoding of that size's middle everywhere, it runs at any size, and answers a tile alike wherever it lies. On
150 words at five heights and blurs, PP-OCRv6, PP-OCRv4 and Tesseract read as many words in its output as with the
encoding continued beyond the trained size, stretched to it or repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from training.tbsrn import TBSRN

# The sizes (height, width) that exports are checked at and the service runs. Area costs the same at each of them,
# so they follow from how crops fill them: 390 words at six heights and four blurs fill these to 74 %, 16x64 tiles
# alone to 61 %, and a line of 32 rows to 92 % instead of 41 %.
SIZES = ((16, 64), (24, 96), (32, 128), (48, 192))


def middle(encoding: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (C,): the encoding halfway down and across."""
    _, height, width = encoding.shape
    middle: np.ndarray = encoding[:, (height - 1) // 2, (width - 1) // 2]
    return middle


def at_size(network: TBSRN, height: int, width: int) -> TBSRN:
    """A copy of a network without attention for `height` x `width`: what the any-size form must compute."""
    from training.tbsrn import TBSRN  # Paddle

    architecture: dict[str, Any] = network.architecture | {"height": height, "width": width, "stn": False}
    assert not architecture["attention"], "attention depends on the size"
    resized = TBSRN(**architecture)
    kept = resized.state_dict().keys()
    resized.set_state_dict({name: value for name, value in network.state_dict().items() if name in kept})
    for index in range(2, architecture["blocks"] + 2):
        trained, other = (getattr(net, f"block{index}").feature_enhancer for net in (network, resized))
        encoding = trained.position.numpy()[0]
        other.position.set_value(np.broadcast_to(middle(encoding)[None, :, None, None], other.position.shape))
    resized.eval()
    return resized
