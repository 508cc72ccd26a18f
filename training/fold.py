"""TBSRN rewritten for inference: the same function of the weights, with less to compute.

    TBSRN (trained) -> FoldedTBSRN -> Paddle, ONNX

Each rewrite is an identity in exact arithmetic, so outputs differ by rounding alone:

- BN(conv(x)) = conv'(x): evaluation BN is a per-channel gain and offset.
- Query, key, value and the joined tokens of the residual (their weight is the identity) come from
  one product, and 1/sqrt(d) is in the query's weights.
- concat(f, position) W + b = f W_f + (position W_p + b): the second term does not depend on the
  image. As the encoding is one part for x and one for y, so is the term: a row plus a column.
- LayerNorm with the unbiased std is the standard one with its weight times sqrt((n-1)/n). Only the
  epsilon (1e-6 on the std) has no equal there; it is worth about 1e-6 of a unit standard deviation.
- The STN and dropout do nothing in evaluation and are left out.

Products of weights are taken in float64 and rounded once.
"""

from __future__ import annotations

import math

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from training.architecture import HEADS, LAYER_NORM_EPSILON
from training.layers import FeedForward, LayerNorm
from training.tbsrn import TBSRN, FeatureEnhancer, ResidualBlock


class FoldedTBSRN(nn.Layer):
    """float32 (N, 3, height, width) -> (N, 3, scale*height, scale*width), as `network` in evaluation.

    Holds copies: training `network` further does not change it.
    """

    def __init__(self, network: TBSRN) -> None:
        super().__init__()
        blocks = network.architecture["blocks"]
        scale, dropout_mode = network.architecture["scale"], network.architecture["dropout_mode"]
        # PaddleOCR's convention multiplies by this in evaluation
        keep = 1 - network.architecture["dropout"] if dropout_mode == "downscale_in_infer" else 1.0
        first, prelu = network.block1
        self.first = _conv(_array(first.weight), _array(first.bias))
        self.prelu = nn.PReLU()
        self.prelu.set_state_dict(prelu.state_dict())
        residual = [getattr(network, f"block{index}") for index in range(2, blocks + 2)]
        self.blocks = nn.LayerList([FoldedBlock(block, keep) for block in residual])
        self.closing = _fold_norm(*getattr(network, f"block{blocks + 2}"))
        *doublings, last = getattr(network, f"block{blocks + 3}")
        self.doublings = nn.LayerList([_conv(_array(d.conv.weight), _array(d.conv.bias)) for d in doublings])
        assert 2 ** len(doublings) == scale
        self.last = _conv(_array(last.weight), _array(last.bias))
        self.eval()

    def forward(self, lr: Tensor) -> Tensor:
        shallow = features = self.prelu(self.first(lr))
        for block in self.blocks:
            features = block(features)
        features = shallow + self.closing(features)
        for doubling in self.doublings:
            features = F.mish(F.pixel_shuffle(doubling(features), 2))
        return paddle.tanh(self.last(features))


class FoldedBlock(nn.Layer):
    """A `ResidualBlock`: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, block: ResidualBlock, keep: float) -> None:
        super().__init__()
        self.conv1 = _fold_norm(block.conv1, block.bn1)
        self.conv2 = _fold_norm(block.conv2, block.bn2)
        self.enhancer = FoldedEnhancer(block.feature_enhancer, keep)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.enhancer(self.conv2(F.mish(self.conv1(x))))


class FoldedEnhancer(nn.Layer):
    """A `FeatureEnhancer`: (N, C, H, W) -> (N, C, H, W). J = 2C is the joined width."""

    row: Tensor
    column: Tensor

    def __init__(self, enhancer: FeatureEnhancer, keep: float) -> None:
        super().__init__()
        encoding = _array(enhancer.position)[0]  # (C, H, W)
        self.channels, self.height, self.width = encoding.shape
        weight, bias = _joined_projection(enhancer)  # (J, P), (P,): P = 4J, or J without attention
        self.projection = nn.Linear(self.channels, weight.shape[1], bias_attr=False)
        _set(self.projection.weight, weight[: self.channels])
        term = np.einsum("chw,cj->hwj", encoding, weight[self.channels :]) + bias  # (H, W, P)
        self._constant("row", term[None, :1])  # (1, 1, W, P)
        self._constant("column", term[None, :, :1] - term[None, :1, :1])  # (1, H, 1, P)
        self.output = None
        if enhancer.multihead is not None:
            output = enhancer.multihead.linears[3]
            self.output = _linear(_array(output.weight) * keep, _array(output.bias))
        self.norm1 = _standard_norm(enhancer.mul_layernorm1)
        self.inner, self.outer = _feed_forward(enhancer.pff, keep)
        self.norm3 = _standard_norm(enhancer.mul_layernorm3)
        self.linear = _linear(_array(enhancer.linear.weight), _array(enhancer.linear.bias))

    def forward(self, x: Tensor) -> Tensor:
        joined, length = 2 * self.channels, self.height * self.width
        # Reshape after the transpose: oneDNN in Paddle Inference 3.3 fuses reshape-transpose-matmul wrongly,
        # which cost 0.29 in the output.
        features = x.transpose([0, 2, 3, 1]).reshape([0, length, self.channels])
        term = (self.row + self.column).reshape([1, length, -1])
        tokens = self.projection(features) + term
        if self.output is not None:
            qkv, tokens = tokens.split([3 * joined, joined], axis=-1)
            tokens = tokens + self.output(self._attended(qkv))
        tokens = self.norm1(tokens)
        tokens = self.norm3(tokens + self.outer(F.relu(self.inner(tokens))))
        return self.linear(tokens).reshape([0, self.height, self.width, self.channels]).transpose([0, 3, 1, 2])

    def _attended(self, qkv: Tensor) -> Tensor:
        """Scaled queries, keys and values (N, H*W, 3J) -> what each position takes from all, (N, H*W, J)."""
        joined, length = 2 * self.channels, self.height * self.width
        qkv = qkv.reshape([0, length, 3, HEADS, joined // HEADS]).transpose([2, 0, 3, 1, 4])
        query, key, value = qkv.unbind(0)  # (N, heads, H*W, J / heads)
        maps = F.softmax(paddle.matmul(query, key, transpose_y=True), axis=-1)
        return paddle.matmul(maps, value).transpose([0, 2, 1, 3]).reshape([0, length, joined])

    def _constant(self, name: str, values: np.ndarray) -> None:
        self.register_buffer(name, paddle.to_tensor(values.astype(np.float32)))


def _joined_projection(enhancer: FeatureEnhancer) -> tuple[np.ndarray, np.ndarray]:
    if enhancer.multihead is None:
        joined = 2 * enhancer.position.shape[1]
        return np.eye(joined), np.zeros(joined)
    linears = enhancer.multihead.linears
    query, key, value = ((_array(linears[i].weight), _array(linears[i].bias)) for i in range(3))
    joined = len(query[1])
    root = math.sqrt(joined // HEADS)
    weight = np.concatenate([query[0] / root, key[0], value[0], np.eye(joined)], axis=1)
    return weight, np.concatenate([query[1] / root, key[1], value[1], np.zeros(joined)])


def _feed_forward(layer: FeedForward, keep: float) -> tuple[nn.Linear, nn.Linear]:
    inner = _linear(_array(layer.w_1.weight), _array(layer.w_1.bias))
    return inner, _linear(_array(layer.w_2.weight) * keep, _array(layer.w_2.bias))


def _fold_norm(conv: nn.Conv2D, norm: nn.BatchNorm2D) -> nn.Conv2D:
    gain = _array(norm.weight) / np.sqrt(_array(norm._variance) + norm._epsilon)
    bias = (_array(conv.bias) - _array(norm._mean)) * gain + _array(norm.bias)
    return _conv(_array(conv.weight) * gain[:, None, None, None], bias)


def _standard_norm(norm: LayerNorm) -> nn.LayerNorm:
    features = norm.a_2.shape[0]
    standard = nn.LayerNorm(features, epsilon=LAYER_NORM_EPSILON**2)
    _set(standard.weight, _array(norm.a_2) * math.sqrt((features - 1) / features))
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
    assert tensor is not None  # Paddle types biases and gains as optional; ours are there
    return tensor.numpy().astype(np.float64)


def _set(parameter: Tensor | None, values: np.ndarray) -> None:
    assert parameter is not None
    parameter.set_value(values.astype(np.float32))
