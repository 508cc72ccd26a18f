"""One page on its way: its regions become crops, and their answers go back onto it where that is asked for.

    crops (from the header alone) -> decode -> ... each crop through the predictor ... -> recompose

Every method blocks; call them in a worker thread, in this order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from app.errors import ServiceError
from app.imaging import codec, regions
from app.imaging.codec import Format
from app.imaging.quality_gate import DEFAULT_POLICY, RoutingPolicy
from app.imaging.regions import Corners, Region, Units
from app.serving.crops import Crop, Picture
from app.serving.pipeline import CropOptions, Planner
from app.settings import Settings
from model_store.pixels import Rgb, resize


@dataclass(frozen=True)
class PageOptions:
    """What the client asked for, the same for every region of a page."""

    format: Format = "png"
    units: Units = "pixels"
    recompose: bool = False
    policy: RoutingPolicy = DEFAULT_POLICY


class PageWork:
    def __init__(
        self,
        data: bytes,
        corners: Sequence[Corners],
        options: PageOptions,
        *,
        planner: Planner,
        settings: Settings,
    ) -> None:
        self._data = data
        self._corners = corners
        self._options = options
        self._planner = planner
        self._wish = CropOptions("native", options.policy)
        self._settings = settings
        self._answers: dict[int, tuple[Region, Rgb]] = {}

    def crops(self) -> list[Crop | ServiceError]:
        """One entry per region: its crop, or why it has none. Raises ServiceError when the page is to blame."""
        limits = self._settings
        picture = codec.probe(self._data, max_pixels=limits.max_page_pixels, min_side_px=limits.min_side_px)
        self._picture, self.size = picture, (picture.height, picture.width)
        self.nbytes = 3 * prod(self.size)
        if self._options.recompose:
            codec.check_result(self._options.format, *self.output)
            self.nbytes += 2 * 3 * prod(self.output)
        return [self._crop(index, corners) for index, corners in enumerate(self._corners)]

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the recomposed page."""
        height, width = self.size
        return self._planner.output(height, width, self._wish)

    def _crop(self, index: int, corners: Corners) -> Crop | ServiceError:
        def finish(rgb: Rgb) -> bytes:
            if not self._options.recompose:
                return codec.encode(rgb, self._options.format)
            if rgb.shape[:2] == output:  # what is kept as it was is enlarged with the page
                self._answers[index] = region, rgb
            return b""

        try:
            region = regions.locate(
                corners, page=self.size, units=self._options.units, min_side_px=self._settings.min_side_px
            )
            output = self._planner.output(region.height, region.width, self._wish)
            codec.check_result(self._options.format, *output)
        except ServiceError as exc:
            return exc
        return Crop(
            size=(region.height, region.width),
            output=output,
            wish=self._wish,
            largest=self._planner.largest(region.height, region.width, self._wish),
            read=lambda: regions.rectify(self._rgb, region),
            finish=finish,
        )

    def decode(self) -> None:
        self._rgb = self._picture.decode()

    def recompose(self) -> Picture:
        """The page of twice the size, enlarged bicubically, with the answers in their places."""
        height, width = self.output
        page = resize(self._rgb, height=height, width=width).copy()
        regions.paste(
            page, [self._answers[index] for index in sorted(self._answers)], scale=self._planner.spec.scale
        )
        data = codec.encode(page, self._options.format)
        return Picture(data, self.size[::-1], self.output[::-1])
