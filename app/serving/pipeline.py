"""One crop's way through the network, without queue or event loop; the same for the service and for bulk jobs.

header   -> output_size, largest_views     before decoding: how much a crop may take
pixels   -> prepare: decide, cut into tiles -> [network] -> finish: merge, enlarge or keep
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.imaging.quality_gate import DEFAULT_POLICY, REFERENCE, Decision, QualityGate, RoutingPolicy
from model_store import tiling, views
from model_store.manifest import PixelSpec
from model_store.pixels import Chw, Rgb, Size
from model_store.tiling import Geometry
from model_store.views import Look, Views


@dataclass(frozen=True)
class CropOptions:
    """The treatment that a request asks for. one_view: the crop is one of the many of a page."""

    geometry: Geometry = "native"
    policy: RoutingPolicy = DEFAULT_POLICY
    one_view: bool = False


@dataclass(frozen=True)
class Prepared:
    """A decoded crop, the decision on it, and its tiles, float32 (n, 3, h, w): none without the network."""

    rgb: Rgb
    decision: Decision
    views: Views
    tiles: Sequence[Chw]


class CropPipeline:
    def __init__(self, spec: PixelSpec, gate: QualityGate, *, sizes: Sequence[Size] = ()) -> None:
        """sizes: input sizes of the network beside the trained one."""
        self.spec = spec
        self.gate = gate
        self.sizes = tuple(dict.fromkeys([(spec.height, spec.width), *sizes]))

    def output_size(self, height: int, width: int, options: CropOptions) -> Size:
        """Height and width of the result for a crop of this size, unless the crop is kept as it is."""
        if options.geometry == "telescope":
            return tiling.stretched(self.spec).output
        return self.spec.scale * height, self.spec.scale * width

    def largest_views(self, height: int, width: int, options: CropOptions) -> Views | None:
        """The views of most pixels that `prepare` may choose; None: the network is never used."""
        if options.geometry == "telescope":
            return views.stretched(self.spec)
        looks = self.gate.most((height, width), options.policy, one_view=options.one_view)
        return self._views(height, width, looks) if looks else None

    def prepare(self, rgb: Rgb, options: CropOptions) -> Prepared:
        """rgb: uint8 (H, W, 3)."""
        if options.geometry == "telescope":
            decision, chosen = REFERENCE, views.stretched(self.spec)
        else:
            decision = self.gate.decide(rgb, options.policy, one_view=options.one_view)
            chosen = self._views(rgb.shape[0], rgb.shape[1], decision.looks).distinct()
        return Prepared(rgb, decision, chosen, chosen.split(rgb, self.spec) if decision.infers else ())

    def finish(self, prepared: Prepared, sr_tiles: Sequence[Chw]) -> Rgb:
        """The result, uint8 (H, W, 3). sr_tiles: the network's outputs for the tiles, in their order."""
        decision, output = prepared.decision, prepared.views.output
        if decision.method == "kept":
            return prepared.rgb
        if not decision.infers:
            return tiling.enlarge(prepared.rgb, output)
        sr = prepared.views.merge(sr_tiles, self.spec)
        if decision.strength == 1:
            return sr
        return tiling.mixed(sr, tiling.enlarge(prepared.rgb, output), decision.strength)

    def _views(self, height: int, width: int, looks: tuple[Look, ...]) -> Views:
        return views.plan(height, width, looks, spec=self.spec, sizes=self.sizes)
