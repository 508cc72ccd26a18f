"""LR/HR pairs to evaluate on: stored ones, or crops degraded by presets as they are read.

LMDB folders                       -> a set for each subset (easy, medium, hard)
folder or tar with labels.tsv      -> a set for each preset
both stretched to the network's LR and HR sizes by Pillow's bicubic filter, as TextZoom is read
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from model_store.manifest import PixelSpec
from model_store.pixels import Rgb, resize
from training.data.crops import LABELS, CropSource, decode_crop, make_pair, named_config, sample_seed
from training.data.lmdb import DATA_FILE, PARTIAL_SUFFIX, Subset, find_subsets
from training.errors import DataError

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class PairSet:
    """Pairs under one name. lr: uint8 (h, w, 3), hr: (scale*h, scale*w, 3); names: of the crops.

    unreadable, too_low: samples left out.
    """

    name: str
    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    lr: list[Rgb] = field(default_factory=list)
    hr: list[Rgb] = field(default_factory=list)
    unreadable: int = 0
    too_low: int = 0

    def add(self, name: str, label: str, *, lr: Rgb, hr: Rgb, spec: PixelSpec) -> None:
        """Append a pair of any size."""
        self.names.append(name)
        self.labels.append(label)
        self.lr.append(resize(lr, height=spec.height, width=spec.width))
        self.hr.append(resize(hr, height=spec.scale * spec.height, width=spec.scale * spec.width))

    def __len__(self) -> int:
        return len(self.names)


def read_pairs(
    data: Path,
    spec: PixelSpec,
    *,
    presets: Sequence[str],
    seed: int,
    min_height: int,
    limit: int | None = None,
) -> tuple[list[PairSet], bool]:
    """Every set of pairs below `data`, and whether they were degraded here; else they were stored.

    presets, seed, min_height: of the degradation, for crops only. limit: most pairs of each set.
    DataError if `data` holds no usable pair.
    """
    begun = not data.exists() and data.with_name(data.name + PARTIAL_SUFFIX).exists()
    if begun or (data.is_dir() and next(data.rglob(DATA_FILE), None) is not None):
        return [_stored(subset, spec, limit) for subset in find_subsets([data])], False
    if data.is_dir() and not (data / LABELS).is_file():
        raise DataError(f"{data} holds neither an LMDB ({DATA_FILE}) nor {LABELS}")
    if spec.scale != 2:
        raise DataError(f"degradation halves crops, but the network's scale is {spec.scale}: give stored pairs")
    source = CropSource(data)
    sets = [_degraded(source, name, spec, seed, min_height, limit) for name in presets]
    return sets, True


def _stored(subset: Subset, spec: PixelSpec, limit: int | None) -> PairSet:
    pairs = PairSet(subset.name)
    numbers = range(min(len(subset), limit or len(subset)))
    for number in tqdm(numbers, desc=f"read {pairs.name}", unit="pair", disable=None, leave=False):
        sample = subset.read(number)
        if sample is None:
            continue
        if sample.lr is None:
            raise DataError(f"{subset.folder} holds crops alone, no LR; evaluate on the crops it was made from")
        pairs.add(f"{number + 1:09d}", sample.label, lr=sample.lr, hr=sample.hr, spec=spec)
    pairs.unreadable = subset.unreadable
    return _checked(pairs, subset.folder)


def _degraded(
    source: CropSource, preset: str, spec: PixelSpec, seed: int, min_height: int, limit: int | None
) -> PairSet:
    config, pairs = named_config(preset), PairSet(preset)
    for name, label, rgb in islice(_sharp(source, min_height, pairs), limit):
        hr, lr = make_pair(rgb, config=config, seed=sample_seed(seed, name))
        pairs.add(name, label, lr=lr, hr=hr, spec=spec)
    return _checked(pairs, source.path)


def _sharp(source: CropSource, min_height: int, pairs: PairSet) -> Iterator[tuple[str, str, Rgb]]:
    for crop in tqdm(source, desc=f"degrade {pairs.name}", unit="crop", disable=None, leave=False):
        try:
            rgb = decode_crop(crop)
        except DataError as error:
            pairs.unreadable += 1
            _log.warning("skipped: %s", error)
            continue
        if len(rgb) < min_height:
            pairs.too_low += 1
            continue
        yield crop.name, crop.label, rgb


def _checked(pairs: PairSet, path: Path) -> PairSet:
    if not len(pairs):
        left_out = f"{pairs.unreadable} unreadable, {pairs.too_low} lower than the least height"
        raise DataError(f"{path} has no crop to evaluate on ({left_out})")
    return pairs
