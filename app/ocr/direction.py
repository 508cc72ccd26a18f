"""Outlines of lines -> the same, each beginning at the top left of its text, however the page is turned.

    tall outlines -> lines that run downwards -> beginnings of the longest lines, level and tall, -> classifier
    -> recogniser, where the classifier finds them upside down -> turned if they are read more surely so, level and
    tall lines each as a whole

A short or blurred line alone is too easily taken for one upside down. Each beginning is classified twice, as it is
and turned: a classifier that has no idea says the same of both, so it does not count. Whole lines would be
squeezed into the classifier's width of four heights: of 52 sharp, upright lines, 27 % count as upside down, of
their beginnings 6 %. Strong blur deceives the classifier (of a photo of five lines, blurred by an eighth of their
height, it takes all for upside down), but not the recogniser, which reads them at 0.99 upright and at 0.56 turned.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from app.imaging.outlines import Points
from app.imaging.warp import Region, rectify
from model_store.pixels import Rgb

TALL = 1.5  # height by width from which a line is taken as turned by a quarter, as PaddleOCR does
LETTER = 1.6  # of the usual height of level lines; tall outlines up to it are single letters, and upright
VOTERS = 24  # longest lines of each kind that are classified, 0.1 s
BEGINNING = 4  # times its height: the part of a line that the classifier sees
SURE = 0.12  # mean difference of the probabilities; sharp upright pages have at most this, sharp turned ones 1
LEAST = 4  # voters; of 600 upright words 4.5 % alone count as upside down, but of samples of four 0.04 %
READERS = 4  # longest lines that are read both ways, each to READ times its height
READ = 12

Classifier = Callable[[Sequence[Rgb]], npt.NDArray[np.float64]]  # crops -> probabilities that they are upside down
Sureness = Callable[[Sequence[Rgb]], npt.NDArray[np.float64]]  # crops -> the recogniser's confidences


def upright(outlines: Sequence[Points], rgb: Rgb, classifier: Classifier, sureness: Sureness) -> list[Points]:
    """The outlines (4, 2) in the same order; given clockwise from the corner at the page's top left."""
    turned = list(outlines)
    sizes = np.array([_size(outline) for outline in outlines]).reshape(-1, 2)  # widths, heights
    is_tall = sizes[:, 1] >= TALL * sizes[:, 0]
    if not is_tall.all():
        is_tall &= sizes[:, 1] > LETTER * np.median(sizes[~is_tall, 1])
    for index in np.flatnonzero(is_tall):
        turned[index] = np.roll(turned[index], -1, axis=0)
    for kind in (is_tall, ~is_tall):
        chosen = np.flatnonzero(kind)
        if _are_upside_down([turned[index] for index in chosen], rgb, classifier, sureness):
            for index in chosen:
                turned[index] = np.roll(turned[index], -2, axis=0)
    return turned


def _are_upside_down(lines: list[Points], rgb: Rgb, classifier: Classifier, sureness: Sureness) -> bool:
    longest = sorted(lines, key=lambda outline: -_size(outline)[0])[:VOTERS]
    if len(longest) < LEAST or _gain_if_turned(longest, rgb, BEGINNING, lambda crops: -classifier(crops)) <= SURE:
        return False
    return _gain_if_turned(longest[:READERS], rgb, READ, sureness) > 0


def _gain_if_turned(lines: list[Points], rgb: Rgb, heights: int, score: Sureness) -> float:
    """By how much the beginnings of lines score more if they are turned upside down, on average."""
    crops = [_beginning(outline, rgb, heights) for outline in lines]
    turned = [np.ascontiguousarray(crop[::-1, ::-1]) for crop in crops]
    return float((score(turned) - score(crops)).mean())


def _beginning(outline: Points, rgb: Rgb, heights: int) -> Rgb:
    width, height = _size(outline)
    share = min(1, heights * height / width)
    top, bottom = outline[:2], outline[:1:-1]
    top, bottom = (np.stack([side[0], side[0] + share * (side[1] - side[0])]) for side in (top, bottom))
    return rectify(rgb, Region(top, bottom, height=max(1, round(height)), width=max(1, round(share * width))))


def _size(outline: Points) -> tuple[float, float]:
    """Width and height, at least a pixel."""
    across, down = outline[1] - outline[0], outline[3] - outline[0]
    return max(1.0, float(np.hypot(*across))), max(1.0, float(np.hypot(*down)))
