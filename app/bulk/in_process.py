"""Crops through a predictor without a queue or an event loop: what the command line and the benchmarks need.

    crop -> prepare: decide, tiles -> infer: predictor, in its largest batches -> finish: merge, enlarge or keep

The same steps by the same `Planner` as in `app/crops.py`, so what is measured here is what the service answers.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app.imaging.quality_gate import Decision, RoutingPolicy
from app.inference.predictor import Predictor
from app.serving.pipeline import CropOptions, Planner, Prepared
from model_store.pixels import Rgb
from model_store.tiling import Chw, Geometry, Size


@dataclass(frozen=True)
class Answered:
    rgb: Rgb
    decision: Decision


class InProcess:
    def __init__(
        self, predictor: Predictor, planner: Planner, *, geometry: Geometry = "native", policy: RoutingPolicy
    ) -> None:
        """Raises InvalidParameter for a recogniser that the model was not calibrated for."""
        planner.gate.check(policy.recogniser)
        self._predictor = predictor
        self._planner = planner
        self._wish = CropOptions(geometry, policy)

    def __call__(self, crops: Sequence[Rgb]) -> list[Answered]:
        """The answer to each crop, uint8 (H, W, 3) of any size, in order. Raises InferenceFailed."""
        prepared = [self.prepare(crop) for crop in crops]
        return [self.finish(one, sr) for one, sr in zip(prepared, self.infer(prepared), strict=True)]

    @property
    def largest_batch(self) -> int:
        return self._predictor.batch_sizes[-1]

    def output(self, height: int, width: int) -> Size:
        """Height and width of the answer to a crop of this size."""
        return self._planner.output(height, width, self._wish)

    def prepare(self, crop: Rgb) -> Prepared:
        return self._planner.prepare(crop, self._wish)

    def infer(self, prepared: Sequence[Prepared]) -> list[list[Chw]]:
        """The SR tiles of each crop, in order. Raises InferenceFailed."""
        tiles = [tile for one in prepared for tile in one.tiles]
        by_size: dict[Size, list[int]] = defaultdict(list)
        for place, tile in enumerate(tiles):
            by_size[tile.shape[1], tile.shape[2]].append(place)
        answers: dict[int, Chw] = {}
        for size, places in by_size.items():
            answers |= zip(places, self._infer([tiles[place] for place in places], size), strict=True)
        ordered = (answers[place] for place in range(len(tiles)))
        return [list(islice(ordered, len(one.tiles))) for one in prepared]

    def finish(self, prepared: Prepared, sr_tiles: Sequence[Chw]) -> Answered:
        return Answered(self._planner.finish(prepared, sr_tiles), prepared.decision)

    def _infer(self, tiles: Sequence[Chw], image: Size) -> list[Chw]:
        sizes = self._predictor.sizes(image)
        answers: list[Chw] = []
        for first in range(0, len(tiles), sizes[-1]):
            batch = np.stack(tiles[first : first + sizes[-1]])
            size = next(size for size in sizes if size >= len(batch))
            padded = np.pad(batch, [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)])
            answers += list(self._predictor.run_blocking(padded)[: len(batch)])
        return answers
