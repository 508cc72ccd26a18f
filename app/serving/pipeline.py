"""One crop from its pixels to the network and back; the same for the service and for programs without a queue.

largest (before decoding: how much the network may have to compute)
crop -> prepare: decide, cut into tiles -> [network] -> finish: put together, or enlarge, or keep
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.imaging.quality_gate import REFERENCE, Decision, QualityGate, RoutingPolicy
from model_store import tiling
from model_store.manifest import PixelSpec
from model_store.pixels import Nchw, Rgb
from model_store.tiling import Chw, Geometry, Layout, Size


@dataclass(frozen=True)
class CropOptions:
    """What a client asked for of one crop."""

    geometry: Geometry
    policy: RoutingPolicy


@dataclass(frozen=True)
class Prepared:
    """A decoded crop, what is done with it, and its tiles, float32 (n, 3, h, w): none without the network."""

    rgb: Rgb
    decision: Decision
    layout: Layout
    tiles: Sequence[Chw] | Nchw


class Planner:
    def __init__(self, spec: PixelSpec, gate: QualityGate, *, sizes: Sequence[Size] = ()) -> None:
        """sizes: that the network may be run at beside the trained one."""
        self.spec = spec
        self.gate = gate
        self._sizes = tuple(dict.fromkeys([(spec.height, spec.width), *sizes]))

    def output(self, height: int, width: int, wish: CropOptions) -> Size:
        """Height and width of the answer to a crop of this size; what is kept has the crop's own."""
        if wish.geometry == "telescope":
            return tiling.stretched(self.spec).output
        return self.spec.scale * height, self.spec.scale * width

    def largest(self, height: int, width: int, wish: CropOptions) -> Layout | None:
        """The layout that takes most of those `prepare` may choose; None: the network is not used in any case."""
        if wish.geometry == "telescope":
            return tiling.stretched(self.spec)
        scale = self.gate.largest_scale(wish.policy)
        return None if scale is None else self._layout(height, width, scale)

    def prepare(self, rgb: Rgb, wish: CropOptions) -> Prepared:
        """rgb: uint8 (H, W, 3)."""
        if wish.geometry == "telescope":
            decision, layout = REFERENCE, tiling.stretched(self.spec)
        else:
            decision = self.gate.decide(rgb, wish.policy)
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
