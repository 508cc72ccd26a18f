"""Crops through a predictor without a queue or an event loop; for the command line and the benchmarks.

    crop -> prepare -> infer: the predictor, in its largest batches -> finish

`prepare` and `finish` are the service's own (`app/serving/pipeline.py`), so the results equal the service's.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app.bulk.inputs import batched
from app.imaging.quality_gate import Decision, RoutingPolicy
from app.inference.predictor import Predictor
from app.serving.pipeline import CropOptions, CropPipeline, Prepared
from model_store.pixels import Nchw, Rgb
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
        self.predictor = predictor
        self.pipeline = pipeline
        self.options = CropOptions(geometry, policy)

    def __call__(self, crops: Sequence[Rgb]) -> list[FinishedCrop]:
        """One result per crop, uint8 (H, W, 3) of any size, in order. Raises InferenceFailed."""
        prepared = [self.pipeline.prepare(crop, self.options) for crop in crops]
        pairs = zip(prepared, self.infer(prepared), strict=True)
        return [FinishedCrop(self.pipeline.finish(one, sr), one.decision) for one, sr in pairs]

    def infer(self, prepared: Sequence[Prepared]) -> list[list[Chw]]:
        """The SR tiles of each crop, in order. Raises InferenceFailed."""
        tiles = [tile for one in prepared for tile in one.tiles]
        by_size: dict[Size, list[int]] = defaultdict(list)
        for index, tile in enumerate(tiles):
            by_size[tile.shape[1], tile.shape[2]].append(index)
        sr_tiles: dict[int, Chw] = {}
        for size, indices in by_size.items():
            for some in batched(indices, self.predictor.sizes(size)[-1]):
                sr_tiles |= zip(some, self._run(np.stack([tiles[index] for index in some]), size), strict=True)
        ordered = (sr_tiles[index] for index in range(len(tiles)))
        return [list(islice(ordered, len(one.tiles))) for one in prepared]

    def _run(self, batch: Nchw, image: Size) -> Nchw:
        """Padded to the next warmed batch size."""
        size = next(size for size in self.predictor.sizes(image) if size >= len(batch))
        padding = [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)]
        return self.predictor.run_blocking(np.pad(batch, padding))[: len(batch)]
