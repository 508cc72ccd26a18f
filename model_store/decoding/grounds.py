"""The ground under a transparent picture: white if that keeps its text visible, else black or grey.

The picture's pieces are its connected opaque parts: letters, labels, logos. The steps of grey between neighbouring
pixels of a piece tell on which grounds it can be seen.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from model_store.errors import UnsupportedPicture

Levels = npt.NDArray[np.int32]

GROUNDS = (255, 0, 128)  # white, black and grey, in the order of preference
CLEAR_LEVELS = 64  # a step of grey levels between text and ground; more makes it no clearer
SHOWN = 0.55  # of a piece's steps, with which it is visible; yellow on white keeps less
KEPT = 0.75  # of all steps, with which a ground is good
LEAST_KEPT = 0.5  # of all steps; a picture that loses more on every ground is refused
OWN_GROUND = 0.15  # of a piece's steps are between opaque pixels: text on a ground of its own, as on a label
OPAQUE = 250  # lossy formats move 255 a little
LEAST_OPACITY = 16  # of a piece; less is the edge of a shadow, or noise
LEAST_STEPS = 8 * CLEAR_LEVELS  # of a piece that counts by itself; a speck of 2 x 2 pixels does not


def on_ground(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """The picture over the first ground that shows every piece, or else the first that shows most of them.

    Raises UnsupportedPicture if each ground would hide most of the picture.
    """
    grey, opacity = np.asarray(rgb.convert("L")).astype(np.int32), np.asarray(alpha).astype(np.int32)
    shown = [_steps((grey * opacity + ground * (255 - opacity)) // 255) for ground in GROUNDS]
    steps = np.minimum(shown, CLEAR_LEVELS)  # (3, n)
    if not steps.any() and _steps(opacity).any() | _steps(grey).any() | (opacity != opacity[0, 0]).any():
        raise UnsupportedPicture("The picture's content is nearly transparent; send it without transparency.")
    ground = GROUNDS[_chosen(steps, opacity)]
    return Image.composite(rgb, Image.new("RGB", rgb.size, (ground,) * 3), alpha)


def _chosen(steps: Levels, opacity: Levels) -> int:
    """Which of GROUNDS. steps: (3, n), between all neighbouring pixels, over each of the grounds."""
    most = steps.max(axis=0)
    if (steps[0] == most).all():  # white shows everything, which is quick to tell
        return 0
    numbers = np.asarray(cv2.connectedComponents((opacity >= LEAST_OPACITY).astype(np.uint8))[1], np.int32)
    piece = np.concatenate([np.maximum(one, other).ravel() for one, other in _neighbours(numbers)])
    opaque = np.concatenate([(np.minimum(one, other) >= OPAQUE).ravel() for one, other in _neighbours(opacity)])
    visible = np.bincount(piece, most)
    bare = np.bincount(piece, steps[0] * opaque) < OWN_GROUND * visible
    bare[0] &= bare.size == 1  # haze around the pieces
    if not bare.any():
        return 0
    over = np.stack([np.bincount(piece, over_ground) for over_ground in steps])[:, bare]  # (3, pieces)
    kept = over.sum(axis=1) / visible[bare].sum()
    if kept.max() < LEAST_KEPT:
        raise UnsupportedPicture(
            "The picture's content vanishes over white, black and grey alike; send it without transparency, laid "
            "over a ground on which it can be read."
        )
    shows_all = (over >= np.where(visible[bare] > LEAST_STEPS, SHOWN * visible[bare], 0)).all(axis=1)
    takes = kept >= min(KEPT, kept.max())
    return int(np.argmax(2 * shows_all + takes))  # the first of the best


def _neighbours(levels: Levels) -> Iterator[tuple[Levels, Levels]]:
    """Neighbouring pixels along rows and along columns; of a large picture, of some rows and columns."""
    every = 1 + levels.size // 1_000_000
    rows, columns = levels[::every], levels[:, ::every]
    yield rows[:, 1:], rows[:, :-1]
    yield columns[1:], columns[:-1]


def _steps(levels: Levels) -> Levels:
    """The differences between neighbouring pixels, in one row."""
    steps = np.concatenate([np.abs(one - other).ravel() for one, other in _neighbours(levels)])
    return np.where(steps > 1, steps, 0)  # 1 is rounding
