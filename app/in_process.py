"""Crops through a predictor without a queue or an event loop: what the command line and the benchmarks need.

    crops -> judge -> windows -> predictor, in its largest batches -> merge, or enlarge

The same steps in the same order as in `app/crops.py`, so what is measured here is what the service answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app import geometry
from app.geometry import Chw, Geometry
from app.judge import Decision, Judge, Mode
from app.predictor import Predictor
from model_store.pixels import Rgb


@dataclass(frozen=True)
class Answered:
    rgb: Rgb
    decision: Decision


class InProcess:
    def __init__(self, predictor: Predictor, judge: Judge, *, geometry: Geometry = "native", mode: Mode) -> None:
        self._predictor = predictor
        self._judge = judge
        self._geometry: Geometry = geometry
        self._mode: Mode = mode

    def __call__(self, crops: Sequence[Rgb]) -> list[Answered]:
        """The answer to each crop, uint8 (H, W, 3) of any size, in order. Raises InferenceFailed."""
        spec = self._predictor.spec
        layouts = [geometry.plan(*crop.shape[:2], geometry=self._geometry, spec=spec) for crop in crops]
        decisions = [
            self._judge.decide(crop, layout, self._mode) for crop, layout in zip(crops, layouts, strict=True)
        ]
        todo = list(zip(crops, layouts, decisions, strict=True))
        windows = [
            w for crop, layout, decision in todo if decision.infers for w in geometry.split(crop, layout, spec)
        ]
        answers = self._infer(windows)
        return [
            Answered(
                geometry.merge(list(islice(answers, len(layout.starts))), layout, spec)
                if decision.infers
                else geometry.enlarge(crop, layout),
                decision,
            )
            for crop, layout, decision in todo
        ]

    def _infer(self, windows: Sequence[Chw]) -> Iterator[Chw]:
        sizes = self._predictor.batch_sizes
        for first in range(0, len(windows), sizes[-1]):
            batch = np.stack(windows[first : first + sizes[-1]])
            size = next(size for size in sizes if size >= len(batch))
            padded = np.pad(batch, [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)])
            yield from self._predictor.run_blocking(padded)[: len(batch)]
