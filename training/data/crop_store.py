"""Labelled crops of a tar or folder in memory, for training without `make-data`.

    data.train: [word_crops.tar]     with labels.tsv (path, tab, text), as for `make-data`

`read` decodes a crop each time. Crops of the same text are all trained on or all held out, as a word seen in
training says little about unseen ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from training.data.crops import LABELS, MIN_HEIGHT, Crop, CropSource, decode_crop
from training.data.lmdb import Sample, Subset, find_subsets
from training.errors import DataError

Part = Literal["train", "held out"]

_log = logging.getLogger(__name__)


class CropStore:
    """One part of a tar or folder, in the order of its labels.

    held_out: share of the words left out of "train". low: take the crops that are too low for HR, instead of the
    higher ones. unreadable: crops that could not be decoded so far. Raises DataError as `CropSource` does.
    """

    def __init__(self, path: Path, *, part: Part = "train", held_out: float = 0.0, low: bool = False) -> None:
        self.folder, self.name, self.unreadable = Path(path), Path(path).stem, 0
        wanted = part == "held out"
        crops = (crop for crop in CropSource(self.folder) if _is_held_out(crop.label, held_out) == wanted)
        self._crops = [crop for crop in crops if _is_low(crop) == low]

    def __len__(self) -> int:
        return len(self._crops)

    def __iter__(self) -> Iterator[Sample]:
        """The readable crops in order."""
        return (sample for sample in map(self.read, range(len(self))) if sample is not None)

    def read(self, index: int) -> Sample | None:
        """Crop 0 <= index < len(self); None, a warning and one more `unreadable` if it cannot be decoded."""
        crop = self._crops[index]
        try:
            return Sample(crop.label, decode_crop(crop))
        except DataError as error:
            self.unreadable += 1
            _log.warning("skipped: %s", error)
            return None


def open_roots(roots: Sequence[Path], *, part: Part = "train", held_out: float = 0.0) -> list[Subset | CropStore]:
    """LMDB folders and crops, in the order given. Raises DataError naming a root that is neither."""
    found: list[Subset | CropStore] = []
    for root in roots:
        if is_crops(root):
            found.append(CropStore(root, part=part, held_out=held_out))
        else:
            found += find_subsets([root])
    return found


def is_crops(root: Path) -> bool:
    """Whether a root is a file, which can only be a tar, or a folder with labels.tsv."""
    return root.is_file() or (root / LABELS).is_file()


def _is_held_out(label: str, share: float) -> bool:
    digest = blake2b(label.casefold().encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _is_low(crop: Crop) -> bool:
    try:
        return len(decode_crop(crop)) < MIN_HEIGHT
    except DataError:
        return False  # `read` warns about it
