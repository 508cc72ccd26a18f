"""Crops through a predictor without a queue or an event loop: what the command line and the benchmarks need.

    crop -> prepare: judge, windows -> infer: predictor, in its largest batches -> finish: merge, enlarge or keep

The same steps in the same order as in `app/crops.py`, so what is measured here is what the service answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app import geometry
from app.geometry import Chw, Geometry, Layout
from app.judge import Aim, Decision, Judge, answer
from app.predictor import Predictor
from model_store.pixels import Nchw, Rgb, crops_to_lr


@dataclass(frozen=True)
class Prepared:
    """A crop and what the network is to see of it; windows: LR (n, 3, h, w), n = 0 where it is left out."""

    crop: Rgb
    layout: Layout
    decision: Decision
    windows: Nchw


@dataclass(frozen=True)
class Answered:
    rgb: Rgb
    decision: Decision


class InProcess:
    def __init__(self, predictor: Predictor, judge: Judge, *, geometry: Geometry = "native", aim: Aim) -> None:
        """Raises InvalidParameter for a recogniser that the model was not calibrated for."""
        judge.check(aim.recogniser)
        self._predictor = predictor
        self._judge = judge
        self._geometry: Geometry = geometry
        self._aim = aim

    def __call__(self, crops: Sequence[Rgb]) -> list[Answered]:
        """The answer to each crop, uint8 (H, W, 3) of any size, in order. Raises InferenceFailed."""
        prepared = [self.prepare(crop, self.plan(*crop.shape[:2])) for crop in crops]
        return [self.finish(one, sr) for one, sr in zip(prepared, self.infer(prepared), strict=True)]

    @property
    def largest_batch(self) -> int:
        return self._predictor.batch_sizes[-1]

    def plan(self, height: int, width: int) -> Layout:
        return geometry.plan(height, width, geometry=self._geometry, spec=self._predictor.spec)

    def prepare(self, crop: Rgb, layout: Layout) -> Prepared:
        spec = self._predictor.spec
        decision = self._judge.decide(crop, layout, self._aim)
        windows = geometry.split(crop, layout, spec) if decision.infers else crops_to_lr([], spec)
        return Prepared(crop, layout, decision, windows)

    def infer(self, prepared: Sequence[Prepared]) -> list[list[Chw]]:
        """The SR windows of each crop, in order. Raises InferenceFailed."""
        answers = self._infer([window for one in prepared for window in one.windows])
        return [list(islice(answers, len(one.windows))) for one in prepared]

    def finish(self, prepared: Prepared, sr_windows: Sequence[Chw]) -> Answered:
        one, spec = prepared, self._predictor.spec
        return Answered(answer(one.decision, one.crop, sr_windows, one.layout, spec), one.decision)

    def _infer(self, windows: Sequence[Chw]) -> Iterator[Chw]:
        sizes = self._predictor.batch_sizes
        for first in range(0, len(windows), sizes[-1]):
            batch = np.stack(windows[first : first + sizes[-1]])
            size = next(size for size in sizes if size >= len(batch))
            padded = np.pad(batch, [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)])
            yield from self._predictor.run_blocking(padded)[: len(batch)]
