"""Training pairs on the device."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from training.data.pool import SLAB, Columns, Kind, Layout


class Pool:
    """Holds the newest pairs of each kind on the device, and draws random ones there."""

    def __init__(self, layouts: Mapping[Kind, Layout], *, size: int, device: torch.device) -> None:
        size = SLAB * math.ceil(size / SLAB)  # pairs come in whole slabs
        self.device, self._size = device, size
        self._pinned = device.type == "cuda"
        self._made = dict.fromkeys(layouts, 0)
        self._filled = {kind: torch.zeros((), device=device) for kind in layouts}
        self._columns = {
            kind: {
                name: torch.empty(size, *shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, device=device)
                for name, (shape, dtype) in layout.columns.items()
            }
            for kind, layout in layouts.items()
        }

    def __contains__(self, kind: Kind) -> bool:
        return kind in self._made

    def __len__(self) -> int:
        return sum(self.held(kind) for kind in self._made)

    def held(self, kind: Kind) -> int:
        return min(self._made[kind], self._size)

    def add(self, kind: Kind, columns: Columns) -> None:
        """Replace the oldest pairs by new ones."""
        count = len(columns["codes"])
        at = self._made[kind] % self._size
        for name, array in columns.items():
            rows = torch.from_numpy(array)
            rows = rows.pin_memory() if self._pinned else rows
            self._columns[kind][name][at : at + count].copy_(rows, non_blocking=True)
        self._made[kind] += count
        self._filled[kind].fill_(self.held(kind))

    def draw(self, kind: Kind, count: int) -> dict[str, Tensor]:
        rows = (torch.rand(count, device=self.device) * self._filled[kind]).long()
        return {name: column[rows] for name, column in self._columns[kind].items()}
