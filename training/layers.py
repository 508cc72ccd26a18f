"""Layers shared by TBSRN and the text recogniser, with the formulas and names of the published code.

Parameter names (`linears.0..3`, `w_1`, `w_2`, `a_2`, `b_2`) are as in the published checkpoints,
so that `training.convert` maps weights by rule. Formulas: Vaswani et al., Attention Is All You Need,
2017, except LayerNorm, which divides by the *unbiased* standard deviation.
"""

from __future__ import annotations

import math

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from model_store.folding import LAYER_NORM_EPSILON
from training.architecture import DropoutMode


class LayerNorm(nn.Layer):
    """a_2 * (x - mean) / (std + 1e-6) + b_2 over the last axis, with the unbiased std.

    x: float (..., features) -> the same shape. `nn.LayerNorm` divides by the biased std and adds
    its epsilon under the root; see `training.fold` for the exact conversion.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.a_2 = self.create_parameter([features], default_initializer=nn.initializer.Constant(1.0))
        self.b_2 = self.create_parameter([features], default_initializer=nn.initializer.Constant(0.0))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)
        return self.a_2 * centred / (variance.sqrt() + LAYER_NORM_EPSILON) + self.b_2


class MultiHeadAttention(nn.Layer):
    """Scaled dot-product attention with several heads. It also returns its maps.

    heads: must divide width. dropout: probability, applied to the maps.
    """

    def __init__(
        self, heads: int, width: int, dropout: float = 0.1, *, dropout_mode: DropoutMode = "upscale_in_train"
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.linears = nn.LayerList([nn.Linear(width, width) for _ in range(4)])  # query, key, value, output
        self.dropout = nn.Dropout(dropout, mode=dropout_mode)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend from query to key and value.

        query: float (N, Q, width); key, value: float (N, K, width).
        mask: bool, broadcastable to (N, heads, Q, K), True where attending is allowed.
        Returns the output (N, Q, width) and the maps (N, heads, Q, K) after dropout, for the text-focused loss.
        """
        q, k, v = (self._split_heads(self.linears[i](x)) for i, x in enumerate((query, key, value)))
        scores = paddle.matmul(q, k, transpose_y=True) / math.sqrt(q.shape[-1])  # (N, heads, Q, K)
        if mask is not None:
            scores = paddle.where(mask, scores, paddle.full_like(scores, float("-inf")))
        attention = self.dropout(F.softmax(scores, axis=-1))
        joined = paddle.matmul(attention, v).transpose([0, 2, 1, 3]).flatten(2)  # (N, Q, width)
        return self.linears[3](joined), attention

    def _split_heads(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        return x.reshape([n, length, self.heads, width // self.heads]).transpose([0, 2, 1, 3])


class FeedForward(nn.Layer):
    """w_2(dropout(relu(w_1(x)))) at every position: float (N, L, width) -> (N, L, width)."""

    def __init__(
        self, width: int, inner: int, dropout: float = 0.1, *, dropout_mode: DropoutMode = "upscale_in_train"
    ) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, inner)
        self.w_2 = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout, mode=dropout_mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(self.dropout(F.relu(self.w_1(x))))
