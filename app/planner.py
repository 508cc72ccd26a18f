"""One crop from its pixels to the network and back; the same for the service and for programs without a queue.

largest (before decoding: how much the network may have to compute)
crop -> prepare: decide, cut into tiles -> [network] -> finish: put together, or enlarge, or keep
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app import tiling
from app.judge import REFERENCE, Aim, Decision, Judge
from app.tiling import Chw, Geometry, Layout, Size
from model_store.manifest import PixelSpec
from model_store.pixels import Nchw, Rgb


@dataclass(frozen=True)
class Wish:
    """What a client asked for of one crop."""

    geometry: Geometry
    aim: Aim


@dataclass(frozen=True)
class Prepared:
    """A decoded crop, what is done with it, and its tiles, float32 (n, 3, h, w): none without the network."""

    rgb: Rgb
    decision: Decision
    layout: Layout
    tiles: Sequence[Chw] | Nchw


class Planner:
    def __init__(self, spec: PixelSpec, judge: Judge, *, sizes: Sequence[Size] = ()) -> None:
        """sizes: that the network may be run at beside the trained one."""
        self.spec = spec
        self.judge = judge
        self._sizes = tuple(dict.fromkeys([(spec.height, spec.width), *sizes]))

    def output(self, height: int, width: int, wish: Wish) -> Size:
        """Height and width of the answer to a crop of this size; what is kept has the crop's own."""
        if wish.geometry == "telescope":
            return tiling.stretched(self.spec).output
        return self.spec.scale * height, self.spec.scale * width

    def largest(self, height: int, width: int, wish: Wish) -> Layout | None:
        """The layout that takes most of those `prepare` may choose; None: the network is not used in any case."""
        if wish.geometry == "telescope":
            return tiling.stretched(self.spec)
        scale = self.judge.largest_scale(wish.aim)
        return None if scale is None else self._layout(height, width, scale)

    def prepare(self, rgb: Rgb, wish: Wish) -> Prepared:
        """rgb: uint8 (H, W, 3)."""
        if wish.geometry == "telescope":
            decision, layout = REFERENCE, tiling.stretched(self.spec)
        else:
            decision = self.judge.decide(rgb, wish.aim)
            layout = self._layout(rgb.shape[0], rgb.shape[1], decision.scale)
        return Prepared(rgb, decision, layout, tiling.split(rgb, layout, self.spec) if decision.infers else ())

    def finish(self, prepared: Prepared, sr_tiles: Sequence[Chw]) -> Rgb:
        """What was decided, carried out. sr_tiles: the network's answers to the tiles, in their order."""
        decision = prepared.decision
        if decision.method == "kept":
            return prepared.rgb
        if not decision.infers:
            return tiling.enlarge(prepared.rgb, prepared.layout.output)
        sr = tiling.merge(sr_tiles, prepared.layout, self.spec)
        if decision.strength == 1:
            return sr
        enlarged = tiling.enlarge(prepared.rgb, prepared.layout.output)
        return mixed(sr, enlarged, decision.strength)

    def _layout(self, height: int, width: int, scale: float) -> Layout:
        return tiling.plan(height, width, scale=scale, spec=self.spec, sizes=self._sizes)


def mixed(sr: Rgb, enlarged: Rgb, strength: float) -> Rgb:
    """`strength` of one picture and the rest of another of its size."""
    share = np.float32(strength)
    mixed: Rgb = np.rint(share * sr + (1 - share) * enlarged).astype(np.uint8)
    return mixed
