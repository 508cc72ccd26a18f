"""One page: its regions become crops, and with `recompose` their results go back onto it.

    header -> regions -> crops; decode -> ... each crop through the runner ... -> recompose

Every method blocks; call them in a worker thread, in this order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from app.errors import BadRegion, ServiceError
from app.imaging import decode, encode, regions, warp
from app.imaging.encode import Format
from app.imaging.outlines import Points
from app.imaging.quality_gate import DEFAULT_POLICY, RoutingPolicy
from app.imaging.regions import Units
from app.imaging.warp import Region
from app.serving.pipeline import CropOptions, CropPipeline
from app.serving.runner import Crop, CropResult, EncodedPicture
from app.settings import Settings
from model_store.pixels import Rgb, resize


@dataclass(frozen=True)
class PageOptions:
    """The treatment that a request asks for, the same for every region of its page."""

    units: Units = "pixels"
    recompose: bool = False
    policy: RoutingPolicy = DEFAULT_POLICY


@dataclass(frozen=True)
class RegionSource:
    """The pixels of one region, once its page has been decoded."""

    page: "Page"
    region: Region

    @property
    def height(self) -> int:
        return self.region.height

    @property
    def width(self) -> int:
        return self.region.width

    def decode(self) -> Rgb:
        return warp.rectify(self.page.rgb, self.region)


class Page:
    rgb: Rgb  # set by `decode`

    def __init__(
        self,
        data: bytes,
        options: PageOptions,
        image_format: Format,
        *,
        pipeline: CropPipeline,
        settings: Settings,
    ) -> None:
        """Reads the header only. Raises ServiceError for a page that cannot be used."""
        self._picture = decode.probe(data, max_pixels=settings.max_page_pixels, min_side_px=settings.min_side_px)
        self._options = options
        self._format = image_format
        self._pipeline = pipeline
        self._min_side_px = settings.min_side_px
        self.size = (self._picture.height, self._picture.width)
        self.output = pipeline.output_size(*self.size, CropOptions())  # of the recomposed page
        self.nbytes = 3 * prod(self.size)
        if options.recompose:
            encode.check_result(image_format, *self.output)
            self.nbytes += 2 * 3 * prod(self.output)

    def crops(self, outlines: Sequence[Points | BadRegion]) -> list[Crop | ServiceError]:
        """One entry per region, in order: its crop, or its own error."""
        image_format = None if self._options.recompose else self._format
        return [one if isinstance(one, BadRegion) else self._crop(one, image_format) for one in outlines]

    def _crop(self, outline: Points, image_format: Format | None) -> Crop | ServiceError:
        try:
            source = self.source(outline)
            return self.crop(source, self._options.policy, image_format)
        except ServiceError as exc:
            return exc

    def source(self, outline: Points) -> RegionSource:
        """Raises BadRegion."""
        units, page = self._options.units, self.size
        return RegionSource(self, regions.locate(outline, page=page, units=units, min_side_px=self._min_side_px))

    def crop(
        self, source: RegionSource, policy: RoutingPolicy, image_format: Format | None, *, encoded: bool = True
    ) -> Crop:
        """image_format: None keeps the result's pixels. encoded: later on, in any case. Raises ResultTooLarge."""
        options = CropOptions("native", policy, one_view=True)
        output = self._pipeline.output_size(source.height, source.width, options)
        if encoded:
            encode.check_result(self._format, *output)
        largest = self._pipeline.largest_views(source.height, source.width, options)
        return Crop(source, options, output, largest, image_format)

    def decode(self) -> None:
        self.rgb = self._picture.decode()

    def recompose(
        self, crops: Sequence[Crop | ServiceError], results: Sequence[CropResult | ServiceError]
    ) -> EncodedPicture:
        """The page of twice the size, enlarged bicubically, with the results in their places."""
        height, width = self.output
        page = resize(self.rgb, height=height, width=width).copy()
        placed: list[tuple[Region, Rgb]] = []
        for crop, result in zip(crops, results, strict=True):
            if isinstance(crop, ServiceError) or isinstance(result, ServiceError) or result.rgb is None:
                continue
            assert isinstance(crop.source, RegionSource)
            if result.rgb.shape[:2] == crop.output:  # a crop that was kept has been enlarged with the page
                placed.append((crop.source.region, result.rgb))
        warp.paste(page, placed, scale=self._pipeline.spec.scale)
        return EncodedPicture(encode.encode(page, self._format), self.size, self.output)
