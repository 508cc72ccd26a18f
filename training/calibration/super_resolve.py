"""Super-resolves crops as the service does, by each treatment that a rule can choose.

    crop, its blur -> views, each: tiles -> network -> picture -> their mean -> mixed with the enlarged crop

The service uses the same steps of `model_store.views` and `model_store.calibration`; a test compares the
pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

import numpy as np

from model_store import tiling
from model_store.blur import Estimate
from model_store.calibration import Rule
from model_store.pixels import Chw, Rgb
from model_store.views import Look, plan
from training.calibration.fit import TREATMENTS, Treatment
from training.calibration.network import Network

BATCH = 8  # tiles that the network computes at once


def treated(network: Network, crops: Sequence[Rgb], estimates: Sequence[Estimate]) -> dict[Treatment, list[Rgb]]:
    """Every crop, uint8 (H, W, 3), after every treatment; a crop without text stays as it is."""
    scale = network.spec.scale
    enlarged = [tiling.enlarge(rgb, (scale * rgb.shape[0], scale * rgb.shape[1])) for rgb in crops]
    pictures: dict[Treatment, list[Rgb]] = {}
    made: dict[tuple[int, tuple[Look, ...]], Rgb] = {}  # shared by treatments that differ in strength
    for treatment in TREATMENTS:
        rule = Rule(min_blur=0, max_noise=math.inf, **treatment._asdict())
        own = {
            place: rule.for_crop(rgb.shape[0], rgb.shape[1])
            for place, rgb in enumerate(crops)
            if rule.finding(estimates[place]) == "blurred"
        }
        keys = {place: (place, rule.looks(estimates[place].blur)) for place, rule in own.items()}
        new = [key for key in keys.values() if key not in made]
        sr = super_resolve(network, [crops[place] for place, _ in new], [looks for _, looks in new])
        made.update(zip(new, sr, strict=True))
        pictures[treatment] = [
            tiling.mixed(made[keys[place]], enlarged[place], own[place].strength) if place in own else rgb
            for place, rgb in enumerate(crops)
        ]
    return pictures


def super_resolve(network: Network, crops: Sequence[Rgb], looks: Sequence[tuple[Look, ...]]) -> list[Rgb]:
    """Each crop, seen by the network in these ways, as uint8 (scale * H, scale * W, 3)."""
    spec, sizes = network.spec, tuple(network.runs)
    planned = [
        plan(rgb.shape[0], rgb.shape[1], own, spec=spec, sizes=sizes).distinct()
        for rgb, own in zip(crops, looks, strict=True)
    ]
    tiles = [tile for rgb, own in zip(crops, planned, strict=True) for tile in own.split(rgb, spec)]
    sr_tiles: dict[int, Chw] = {}
    for size, run in network.runs.items():
        places = [place for place, tile in enumerate(tiles) if tile.shape[1:] == size]
        for first in range(0, len(places), BATCH):
            some = places[first : first + BATCH]
            sr_tiles |= zip(some, run(np.stack([tiles[place] for place in some])), strict=True)
    ordered = (sr_tiles[place] for place in range(len(tiles)))
    return [own.merge(list(islice(ordered, own.tiles)), spec) for own in planned]
