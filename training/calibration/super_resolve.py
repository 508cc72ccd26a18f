"""Super-resolves crops as the service does, by each treatment that a rule can choose.

    crop, its blur -> working scale -> tiles -> network -> one picture -> mixed with the enlarged crop

The service uses the same steps of `model_store.tiling` and `model_store.calibration`; a test compares the
pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from model_store import tiling
from model_store.blur import Estimate
from model_store.calibration import Rule
from model_store.pixels import Chw, Nchw, Rgb
from training.calibration.fit import STRENGTHS, TARGETS, Treatment
from training.calibration.network import Network

BATCH = 8  # tiles that the network computes at once


def treated(network: Network, crops: Sequence[Rgb], estimates: Sequence[Estimate]) -> dict[Treatment, list[Rgb]]:
    """Every crop, uint8 (H, W, 3), after every treatment; a crop without text stays as it is."""
    scale = network.spec.scale
    enlarged = [tiling.enlarge(rgb, (scale * rgb.shape[0], scale * rgb.shape[1])) for rgb in crops]
    pictures: dict[Treatment, list[Rgb]] = {}
    for target in TARGETS:
        rule = Rule(min_blur=0, max_noise=math.inf, target_blur=target, strength=1)
        chosen = [place for place, found in enumerate(estimates) if rule.finding(found) == "blurred"]
        scales = [rule.scale(estimates[place].blur) for place in chosen]
        sr = dict(zip(chosen, super_resolve(network, [crops[place] for place in chosen], scales), strict=True))
        for strength in STRENGTHS:
            pictures[target, strength] = [
                tiling.mixed(sr[place], enlarged[place], strength) if place in sr else rgb
                for place, rgb in enumerate(crops)
            ]
    return pictures


def super_resolve(network: Network, crops: Sequence[Rgb], scales: Sequence[float]) -> list[Rgb]:
    """Each crop, seen by the network at its working scale in (0, 1], as uint8 (scale * H, scale * W, 3)."""
    spec, sizes = network.spec, tuple(network.runs)
    layouts = [
        tiling.plan(rgb.shape[0], rgb.shape[1], scale=scale, spec=spec, sizes=sizes)
        for rgb, scale in zip(crops, scales, strict=True)
    ]
    tiles = [tiling.split(rgb, layout, spec) for rgb, layout in zip(crops, layouts, strict=True)]
    sr_tiles = {
        size: _run(run, [own for own, layout in zip(tiles, layouts, strict=True) if layout.tile == size])
        for size, run in network.runs.items()
    }
    return [tiling.merge(list(islice(sr_tiles[layout.tile], layout.tiles)), layout, spec) for layout in layouts]


def _run(run: Callable[[Nchw], Nchw], tiles: Sequence[Nchw]) -> Iterator[Chw]:
    """The SR tiles of LR tiles of one size, in order."""
    if not tiles:
        return
    lr = np.concatenate(tiles)
    for first in range(0, len(lr), BATCH):
        yield from run(lr[first : first + BATCH])
