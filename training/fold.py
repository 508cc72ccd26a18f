"""TBSRN rewritten for inference: the same outputs from fewer operations.

    TBSRN (trained) -> FoldedTBSRN -> Paddle, ONNX

Each rewrite is an identity in exact arithmetic, so outputs differ by rounding alone:

- BN(conv(x)) = conv'(x): evaluation BN is a per-channel gain and offset.
- concat(f, position) W + b = f W_f + (position W_p + b): the second term does not depend on the image. The
  encoding has separate x and y parts, so the term is a row plus a column. The rewrite gives query (with
  1/sqrt(d) in its weights), key, value and, with the identity as W, the tokens themselves.
- LayerNorm with the unbiased std is the standard one with its weight times sqrt((n-1)/n). Only the
  epsilon (1e-6 on the std) has no equivalent; it changes about 1e-6 of a unit standard deviation.
- Mish is elementwise, so it can precede the last pixel shuffle; the 9x9 convolution after the shuffle
  becomes a 5x5 convolution before it, from four times the channels to four times the colours.
- The STN and dropout do nothing in evaluation and are left out.

With `any_size` the network takes images of any height and width like `training.tbsrn.FeatureEnhancer`: attention
works within tiles of the trained size; without attention every position has the encoding of that size's middle, so
the network is a convolution. It then differs from the trained network at the trained size, where that has the full
encoding.

Weights are multiplied in float64 and rounded once.
"""

from __future__ import annotations

import math

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from model_store.folding import HEADS, LAYER_NORM_EPSILON, before_shuffle, fold_norm, middle, standard_gain
from training.layers import FeedForward, LayerNorm, MultiHeadAttention
from training.tbsrn import TBSRN, FeatureEnhancer, ResidualBlock, from_tiles, into_tiles


class FoldedTBSRN(nn.Layer):
    """float32 (N, 3, height, width) -> (N, 3, scale*height, scale*width), as `network` in evaluation.

    any_size: accept every height and width from 8 on. The weights are copies, independent of `network`.
    """

    def __init__(self, network: TBSRN, *, any_size: bool = False) -> None:
        super().__init__()
        blocks = network.architecture["blocks"]
        scale, dropout_mode = network.architecture["scale"], network.architecture["dropout_mode"]
        # PaddleOCR's dropout multiplies by this in evaluation
        keep = 1 - network.architecture["dropout"] if dropout_mode == "downscale_in_infer" else 1.0
        first, prelu = network.block1
        self.first = _conv(_array(first.weight), _array(first.bias))
        self.prelu = nn.PReLU()
        self.prelu.set_state_dict(prelu.state_dict())
        residual = [getattr(network, f"block{index}") for index in range(2, blocks + 2)]
        self.blocks = nn.LayerList([FoldedBlock(block, keep, any_size=any_size) for block in residual])
        self.closing = _fold_norm(*getattr(network, f"block{blocks + 2}"))
        *doublings, last = getattr(network, f"block{blocks + 3}")
        self.doublings = nn.LayerList([_conv(_array(d.conv.weight), _array(d.conv.bias)) for d in doublings])
        assert 2 ** len(doublings) == scale
        weight, bias = _array(last.weight), _array(last.bias)
        self.last = _conv(before_shuffle(weight), bias.repeat(4)) if doublings else _conv(weight, bias)
        self.eval()

    def forward(self, lr: Tensor) -> Tensor:
        shallow = features = self.prelu(self.first(lr))
        for block in self.blocks:
            features = block(features)
        features = shallow + self.closing(features)
        for index, doubling in enumerate(self.doublings):
            features = F.mish(doubling(features if index == 0 else F.pixel_shuffle(features, 2)))
        sr = paddle.tanh(self.last(features))
        return F.pixel_shuffle(sr, 2) if self.doublings else sr


class FoldedBlock(nn.Layer):
    """A `ResidualBlock`: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, block: ResidualBlock, keep: float, *, any_size: bool) -> None:
        super().__init__()
        self.conv1 = _fold_norm(block.conv1, block.bn1)
        self.conv2 = _fold_norm(block.conv2, block.bn2)
        enhancer = block.feature_enhancer
        of_any_size = FoldedEnhancerOfAnySize if enhancer.multihead is None else FoldedEnhancerInTiles
        self.enhancer = (of_any_size if any_size else FoldedEnhancer)(enhancer, keep)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.enhancer(self.conv2(F.mish(self.conv1(x))))


class FoldedEnhancer(nn.Layer):
    """A `FeatureEnhancer`: (N, C, H, W) -> (N, C, H, W). J = 2C is the joined width."""

    def __init__(self, enhancer: FeatureEnhancer, keep: float) -> None:
        super().__init__()
        encoding = _array(enhancer.position)[0]  # (C, H, W)
        self.channels, self.height, self.width = encoding.shape
        joined = 2 * self.channels
        self.tokens = Projection(np.eye(joined), np.zeros(joined), encoding)
        self.attention = None
        if enhancer.multihead is not None:
            self.attention = FoldedAttention(enhancer.multihead, encoding, keep)
        self.norm1 = _standard_norm(enhancer.mul_layernorm1)
        self.inner, self.outer = _feed_forward(enhancer.pff, keep)
        self.norm3 = _standard_norm(enhancer.mul_layernorm3)
        self.linear = _linear(_array(enhancer.linear.weight), _array(enhancer.linear.bias))

    def forward(self, x: Tensor) -> Tensor:
        # Reshape after the transpose: oneDNN in Paddle Inference 3.3 fuses reshape-transpose-matmul wrongly,
        # which changed outputs by 0.29.
        features = x.transpose([0, 2, 3, 1]).reshape([0, self.height * self.width, self.channels])
        tokens = self.tokens(features)
        if self.attention is not None:
            tokens = tokens + self.attention(features)
        tokens = self.norm1(tokens)
        tokens = self.norm3(tokens + self.outer(F.relu(self.inner(tokens))))
        return self.linear(tokens).reshape([0, self.height, self.width, self.channels]).transpose([0, 3, 1, 2])


class FoldedEnhancerInTiles(FoldedEnhancer):
    """A `FeatureEnhancer` with attention within tiles of the trained size: (N, C, H, W) -> (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        return from_tiles(super().forward(into_tiles(x, self.height, self.width)), height, width)


class FoldedEnhancerOfAnySize(nn.Layer):
    """A `FeatureEnhancer` without attention, with a uniform encoding: (N, C, H, W) -> (N, C, H, W)."""

    term: Tensor

    def __init__(self, enhancer: FeatureEnhancer, keep: float) -> None:
        super().__init__()
        encoding = middle(_array(enhancer.position)[0])  # (C,)
        channels = len(encoding)
        self.widen = nn.Linear(channels, 2 * channels, bias_attr=False)  # (C, 2C): the features, and zeros
        _set(self.widen.weight, np.eye(channels, 2 * channels))
        term = np.concatenate([np.zeros(channels), encoding]).astype(np.float32)
        self.register_buffer("term", paddle.to_tensor(term))
        self.norm1 = _standard_norm(enhancer.mul_layernorm1)
        self.inner, self.outer = _feed_forward(enhancer.pff, keep)
        self.norm3 = _standard_norm(enhancer.mul_layernorm3)
        self.linear = _linear(_array(enhancer.linear.weight), _array(enhancer.linear.bias))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm1(self.widen(x.transpose([0, 2, 3, 1])) + self.term)  # (N, H, W, 2C)
        tokens = self.norm3(tokens + self.outer(F.relu(self.inner(tokens))))
        return self.linear(tokens).transpose([0, 3, 1, 2])


class FoldedAttention(nn.Layer):
    """A `MultiHeadAttention` of all positions to all: features (N, H*W, C) -> (N, H*W, J).

    Query, key and value are separate products: splitting one joint product costs more.
    """

    def __init__(self, multihead: MultiHeadAttention, encoding: np.ndarray, keep: float) -> None:
        super().__init__()
        query, key, value, output = ((_array(linear.weight), _array(linear.bias)) for linear in multihead.linears)
        root = math.sqrt(len(query[1]) // HEADS)
        self.query = Projection(query[0] / root, query[1] / root, encoding)
        self.key = Projection(*key, encoding)
        self.value = Projection(*value, encoding)
        self.output = _linear(output[0] * keep, output[1])

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = (
            tokens.reshape([0, tokens.shape[1], HEADS, tokens.shape[2] // HEADS]).transpose([0, 2, 1, 3])
            for tokens in (self.query(features), self.key(features), self.value(features))
        )  # (N, heads, H*W, J / heads)
        maps = F.softmax(paddle.matmul(query, key, transpose_y=True), axis=-1)
        return self.output(paddle.matmul(maps, value).transpose([0, 2, 1, 3]).flatten(2))


class Projection(nn.Layer):
    """concat(features, position) W + b: features (N, H*W, C) -> (N, H*W, J)."""

    row: Tensor
    column: Tensor

    def __init__(self, weight: np.ndarray, bias: np.ndarray, encoding: np.ndarray) -> None:
        """weight: (2C, J). bias: (J,). encoding: (C, H, W)."""
        super().__init__()
        channels = len(encoding)
        self.linear = nn.Linear(channels, weight.shape[1], bias_attr=False)
        _set(self.linear.weight, weight[:channels])
        term = np.einsum("chw,cj->hwj", encoding, weight[channels:]) + bias  # (H, W, J)
        self._constant("row", term[None, :1])  # (1, 1, W, J)
        self._constant("column", term[None, :, :1] - term[None, :1, :1])  # (1, H, 1, J)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features) + (self.row + self.column).flatten(1, 2)

    def _constant(self, name: str, values: np.ndarray) -> None:
        self.register_buffer(name, paddle.to_tensor(values.astype(np.float32)))


def _feed_forward(layer: FeedForward, keep: float) -> tuple[nn.Linear, nn.Linear]:
    inner = _linear(_array(layer.w_1.weight), _array(layer.w_1.bias))
    return inner, _linear(_array(layer.w_2.weight) * keep, _array(layer.w_2.bias))


def _fold_norm(conv: nn.Conv2D, norm: nn.BatchNorm2D) -> nn.Conv2D:
    gain, offset, mean, variance = map(_array, (norm.weight, norm.bias, norm._mean, norm._variance))
    folded = fold_norm(
        _array(conv.weight), _array(conv.bias), gain=gain, offset=offset, mean=mean, variance=variance
    )
    return _conv(*folded)


def _standard_norm(norm: LayerNorm) -> nn.LayerNorm:
    standard = nn.LayerNorm(norm.a_2.shape[0], epsilon=LAYER_NORM_EPSILON**2)
    _set(standard.weight, standard_gain(_array(norm.a_2)))
    _set(standard.bias, _array(norm.b_2))
    return standard


def _conv(weight: np.ndarray, bias: np.ndarray) -> nn.Conv2D:
    outputs, inputs, size, _ = weight.shape
    conv = nn.Conv2D(inputs, outputs, size, padding=size // 2)
    _set(conv.weight, weight)
    _set(conv.bias, bias)
    return conv


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    linear = nn.Linear(*weight.shape)
    _set(linear.weight, weight)
    _set(linear.bias, bias)
    return linear


def _array(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None  # Paddle types biases and gains as optional; these exist
    return tensor.numpy().astype(np.float64)


def _set(parameter: Tensor | None, values: np.ndarray) -> None:
    assert parameter is not None
    parameter.set_value(values.astype(np.float32))
