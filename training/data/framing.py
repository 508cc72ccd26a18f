"""How a word fills the network's one input size: stretched as TextZoom has it, or in its own proportion.

    lr, hr of any size -> stretch -> the whole word, whatever its proportion
                       -> window  -> a short word beside its continued edge, or a piece of a long one

A service that brings crops in at their own proportion cuts long ones into such windows, and letters there are
as narrow or wide as they are. One network serves both if it has seen both.
"""

from __future__ import annotations

import numpy as np

from model_store.manifest import PixelSpec
from model_store.pixels import Rgb, resize


def stretch(lr: Rgb, hr: Rgb, spec: PixelSpec) -> tuple[Rgb, Rgb]:
    """LR of the spec's height and width and HR of `scale` times that, proportion not kept."""
    height, width = spec.height, spec.width
    return resize(lr, height=height, width=width), resize(hr, height=height * spec.scale, width=width * spec.scale)


def window(lr: Rgb, hr: Rgb, spec: PixelSpec, *, seed: int) -> tuple[Rgb, Rgb, bool]:
    """LR and HR of the spec's sizes in LR's own proportion, and whether the whole word is in them.

    A word that is narrower lies anywhere, its outermost columns repeated; of a wider one a piece is cut out
    anywhere. LR's pixels and HR's stay over each other.
    """
    natural = max(1, round(lr.shape[1] * spec.height / lr.shape[0]))
    lr, hr = stretch(lr, hr, PixelSpec(spec.height, natural, spec.scale))
    rng, spare = np.random.default_rng(seed), spec.width - natural
    place = int(rng.integers(abs(spare), endpoint=True))
    if spare < 0:
        cut = [picture[:, k * place : k * (place + spec.width)] for picture, k in ((lr, 1), (hr, spec.scale))]
        return cut[0], cut[1], False
    padded = [
        np.pad(picture, ((0, 0), (k * place, k * (spare - place)), (0, 0)), mode="edge")
        for picture, k in ((lr, 1), (hr, spec.scale))
    ]
    return padded[0], padded[1], True
