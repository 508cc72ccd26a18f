"""Crops through a predictor without a queue or an event loop; for the command line and the benchmarks.

    crop -> prepare -> infer: the predictor, in its largest batches -> finish

`prepare` and `finish` are the service's own (`app/serving/pipeline.py`), so the results equal the service's.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app.imaging.quality_gate import Decision, RoutingPolicy
from app.inference.predictor import Predictor
from app.serving.pipeline import CropOptions, CropPipeline, Prepared
from model_store.pixels import Rgb
from model_store.tiling import Chw, Geometry, Size


@dataclass(frozen=True)
class FinishedCrop:
    rgb: Rgb
    decision: Decision


class InProcess:
    def __init__(
        self, predictor: Predictor, pipeline: CropPipeline, *, geometry: Geometry = "native", policy: RoutingPolicy
    ) -> None:
        """Raises InvalidParameter for a recogniser that the model was not calibrated for."""
        pipeline.gate.check(policy.recogniser)
        self._predictor = predictor
        self._pipeline = pipeline
        self._options = CropOptions(geometry, policy)

    def __call__(self, crops: Sequence[Rgb]) -> list[FinishedCrop]:
        """One result per crop, uint8 (H, W, 3) of any size, in order. Raises InferenceFailed."""
        prepared = [self.prepare(crop) for crop in crops]
        return [self.finish(one, sr) for one, sr in zip(prepared, self.infer(prepared), strict=True)]

    @property
    def largest_batch(self) -> int:
        return self._predictor.batch_sizes[-1]

    def output_size(self, height: int, width: int) -> Size:
        """Height and width of the result for a crop of this size."""
        return self._pipeline.output_size(height, width, self._options)

    def prepare(self, crop: Rgb) -> Prepared:
        return self._pipeline.prepare(crop, self._options)

    def infer(self, prepared: Sequence[Prepared]) -> list[list[Chw]]:
        """The SR tiles of each crop, in order. Raises InferenceFailed."""
        tiles = [tile for one in prepared for tile in one.tiles]
        by_size: dict[Size, list[int]] = defaultdict(list)
        for index, tile in enumerate(tiles):
            by_size[tile.shape[1], tile.shape[2]].append(index)
        sr_tiles: dict[int, Chw] = {}
        for size, indices in by_size.items():
            sr_tiles |= zip(indices, self._infer([tiles[index] for index in indices], size), strict=True)
        ordered = (sr_tiles[index] for index in range(len(tiles)))
        return [list(islice(ordered, len(one.tiles))) for one in prepared]

    def finish(self, prepared: Prepared, sr_tiles: Sequence[Chw]) -> FinishedCrop:
        return FinishedCrop(self._pipeline.finish(prepared, sr_tiles), prepared.decision)

    def _infer(self, tiles: Sequence[Chw], image: Size) -> list[Chw]:
        sizes = self._predictor.sizes(image)
        outputs: list[Chw] = []
        for first in range(0, len(tiles), sizes[-1]):
            batch = np.stack(tiles[first : first + sizes[-1]])
            size = next(size for size in sizes if size >= len(batch))
            padded = np.pad(batch, [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)])
            outputs += list(self._predictor.run_blocking(padded)[: len(batch)])
        return outputs
