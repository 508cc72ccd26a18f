"""Layers that the PyTorch TBSRN and recogniser share; formulas and names as in `training.layers`."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_store.folding import LAYER_NORM_EPSILON
from training.architecture import DropoutMode


class Dropout(nn.Module):
    """Dropout in either convention: `downscale_in_infer` is the usual one times 1 - p, in both modes."""

    def __init__(self, p: float, mode: DropoutMode) -> None:
        super().__init__()
        self.p = p
        self.factor = 1.0 - p if mode == "downscale_in_infer" else 1.0

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training) * self.factor if self.p else x


class LayerNorm(nn.Module):
    """a_2 * (x - mean) / (unbiased std + 1e-6) + b_2 over the last axis: (..., features) -> the same.

    Computed by PyTorch's layer norm, in one pass: its std is sqrt((n - 1) / n) of the unbiased one. Its epsilon
    is under the root, which changes results by 1e-6 of a standard deviation.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.a_2 = nn.Parameter(torch.ones(features))
        self.b_2 = nn.Parameter(torch.zeros(features))
        self.gain = math.sqrt((features - 1) / features)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.a_2.shape, self.a_2 * self.gain, self.b_2, LAYER_NORM_EPSILON**2)


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads. dropout: probability, applied to the maps."""

    def __init__(self, heads: int, width: int, dropout: float, mode: DropoutMode) -> None:
        super().__init__()
        self.heads = heads
        self.linears: Any = nn.ModuleList([nn.Linear(width, width) for _ in range(4)])  # query, key, value, output
        self.dropout = Dropout(dropout, mode)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """Self-attention over x, float (N, L, width), fused: the maps are never in memory.

        causal: each position attends only to itself and earlier ones.
        """
        weight = torch.cat([linear.weight for linear in self.linears[:3]])  # one product instead of three
        bias = torch.cat([linear.bias for linear in self.linears[:3]])
        q, k, v = (self._split_heads(part) for part in F.linear(x, weight, bias).chunk(3, dim=-1))
        p = self.dropout.p if self.training else 0.0
        joined = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=causal) * self.dropout.factor
        return self.linears[3](joined.transpose(1, 2).flatten(2))

    def with_maps(self, query: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from query (N, Q, width) to places (N, K, width), and the maps (N, heads, Q, K) after dropout."""
        q, k, v = (self._split_heads(self.linears[i](x)) for i, x in enumerate((query, places, places)))
        scores = (q @ k.transpose(-2, -1)).float() / math.sqrt(q.shape[-1])
        maps = self.dropout(scores.softmax(-1))  # float32: the loss depends on small differences
        joined = (maps.to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return self.linears[3](joined), maps

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, width / heads)


class FeedForward(nn.Module):
    """w_2(dropout(relu(w_1(x)))) at every position: float (N, L, width) -> (N, L, width)."""

    def __init__(self, width: int, inner: int, dropout: float, mode: DropoutMode) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, inner)
        self.w_2 = nn.Linear(inner, width)
        self.dropout = Dropout(dropout, mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(self.dropout(F.relu(self.w_1(x))))
