"""Connectionist temporal classification with fixed shapes, as a CUDA graph needs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IMPOSSIBLE = -1e4  # a log-probability; with -inf, gradients would be NaN


def ctc(log_probabilities: Tensor, ids: Tensor) -> Tensor:
    """-log of the probability of each row's word (Graves et al., ICML 2006); 0 for no word or too long a one.

    log_probabilities: (N, T, C), class 0 the blank. ids: int64 (N, L), 0 after a word's end. Unlike
    PyTorch's own, never waits for the device to get the lengths.
    """
    count, places, _ = log_probabilities.shape
    lengths = (ids > 0).sum(1)
    states = ids.new_zeros(count, 2 * ids.shape[1] + 1)
    states[:, 1::2] = ids
    emitted = log_probabilities.gather(2, states[:, None].expand(-1, places, -1))  # (N, T, 2L + 1)
    skips = torch.zeros_like(states, dtype=torch.bool)
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    first = torch.full_like(emitted[:, 0, 2:], IMPOSSIBLE)
    reached = torch.cat([emitted[:, 0, :2], first], 1)
    for place in range(1, places):
        one = F.pad(reached[:, :-1], (1, 0), value=IMPOSSIBLE)
        two = torch.where(skips, F.pad(reached[:, :-2], (2, 0), value=IMPOSSIBLE), IMPOSSIBLE)
        reached = torch.logsumexp(torch.stack([reached, one, two]), 0) + emitted[:, place]
    end = (2 * lengths)[:, None]
    last = torch.logaddexp(reached.gather(1, end), reached.gather(1, (end - 1).clamp_min(0)))[:, 0]
    return torch.where((lengths > 0) & (last > 0.9 * IMPOSSIBLE), -last, 0.0)


def reads(log_probabilities: Tensor, ids: Tensor) -> Tensor:
    """bool (N,): whether the best classes spell exactly the word. Shapes as for `ctc`."""
    count, places, _ = log_probabilities.shape
    best = log_probabilities.argmax(-1)
    kept = (best != F.pad(best[:, :-1], (1, 0))) & (best > 0)
    order = torch.where(kept, kept.long().cumsum(1) - 1, places)
    size = max(places, ids.shape[1])
    read = best.new_zeros(count, size + 1).scatter_(1, order, best)
    read[:, places:] = 0
    return (read[:, : ids.shape[1]] == ids).all(1) & (kept.sum(1) == (ids > 0).sum(1))
