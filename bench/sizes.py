"""The cost of a crop by its size and working scale: the pixels that the network computes, and its time alone.

Each round times every size in turn, so that a disturbance affects all of them. The last column divides the time by
that of the crop's area, at its working scale and at the largest tile's rate.
"""

import argparse
from contextlib import closing
from math import prod
from statistics import median
from time import perf_counter

import numpy as np
from tqdm import trange

from app.inference.predictor import Predictor
from app.serving.loading import open_predictor
from app.settings import load_settings
from bench.harness.options import MODEL, Options, Value
from bench.harness.report import Report, Table
from model_store import tiling
from model_store.pixels import Nchw, Size
from model_store.store import ModelStore

OPTIONS: Options = {**MODEL, "rounds": Value(5, quick=1)}
# Words and lines, and the scale at which a rule's target blur is reached.
CROPS: tuple[tuple[Size, float], ...] = (
    ((16, 48), 1.0), ((16, 64), 1.0), ((24, 80), 1.0), ((32, 96), 1.0), ((32, 128), 1.0), ((48, 200), 1.0),
    ((48, 200), 0.625), ((48, 200), 0.4), ((64, 256), 0.5), ((64, 256), 0.3), ((32, 600), 1.0), ((48, 1200), 0.5),
    ((120, 400), 0.3), ((300, 2000), 0.2),
)  # fmt: skip
COLUMNS = ("crop, px", "working scale", "tiles", "pixels computed, of its area", "ms", "time, of that area's")


def measure(args: argparse.Namespace) -> Report:
    artefact = ModelStore(args.model_store).resolve(args.model)
    spec, sizes = artefact.manifest.pixels, artefact.manifest.input_sizes
    layouts = [tiling.plan(*size, scale=scale, spec=spec, sizes=sizes) for size, scale in CROPS]
    tiles = [np.random.default_rng(0).random((each.tiles, 3, *each.tile), np.float32) for each in layouts]
    tiles.append(np.zeros((1, 3, *sizes[-1]), np.float32))  # the largest
    with closing(open_predictor(load_settings(), artefact, batch_sizes=(1,))) as predictor:
        rounds = trange(args.rounds, unit="round", disable=None)
        *seconds, largest = zip(*([timed(predictor, each) for each in tiles] for _ in rounds), strict=True)
    rows = []
    for ((height, width), scale), layout, taken in zip(CROPS, layouts, seconds, strict=True):
        area, tile = height * width * scale**2, layout.tile
        time = median(taken) / (area * median(largest) / prod(sizes[-1]))
        row = (f"{height} x {width}", f"{scale:g}", f"{layout.tiles} of {tile[0]}x{tile[1]}")
        rows.append((*row, f"{layout.pixels / area:.2f}", f"{1000 * median(taken):.1f}", f"{time:.2f}"))
    title = f"Cost of a crop, {artefact.manifest.ref}, {predictor.runtime} in {predictor.precision}"
    return Report({"s": seconds}, {"crops": Table(title, COLUMNS, rows)})


def timed(predictor: Predictor, tiles: Nchw) -> float:
    start = perf_counter()
    for tile in tiles:
        predictor.run_blocking(tile[None])
    return perf_counter() - start
