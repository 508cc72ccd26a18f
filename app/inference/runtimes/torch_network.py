"""TBSRN in PyTorch for inference: channels last in memory, any floating type, capturable as a CUDA graph.

    weights/checkpoint.safetensors -> read_weights -> FoldedTBSRN

Fewer operations than in training, with the same outputs (`model_store.folding`): no batch normalisation, and the
last convolution before its pixel shuffle.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from model_store.folding import (
    HEADS,
    LAYER_NORM_EPSILON,
    Array,
    before_shuffle,
    fold_norm,
    middle,
    position_encoding_2d,
    standard_gain,
)

Weights = Mapping[str, Array]  # float64, under the checkpoint's names; linear weights are [in, out]


def read_weights(path: Path) -> tuple[Weights, dict[str, Any]]:
    """The arrays of a published checkpoint, and the arguments of its network."""
    with safe_open(path, framework="numpy") as stream:
        about = json.loads(stream.metadata()["text_telescope"])
        return {name: stream.get_tensor(name).astype(float) for name in stream.keys()}, about["architecture"]  # noqa: SIM118


class FoldedTBSRN(nn.Module):
    """float32 (N, 3, h, w) -> float32 (N, 3, scale*h, scale*w), computed in the type of the weights.

    The trained height and width run the network as it was trained. At others, attention works within tiles of the
    trained size, and a network without attention has the encoding of that size's middle at every position.
    """

    def __init__(self, weights: Weights, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self.scale, blocks = architecture["scale"], architecture["blocks"]
        # PaddleOCR's dropout multiplies by this in evaluation
        keep = 1 - architecture["dropout"] if architecture["dropout_mode"] == "downscale_in_infer" else 1.0
        encoding = position_encoding_2d(
            2 * architecture["hidden"], architecture["height"], architecture["width"]
        ).astype(float)
        self.first = _conv(weights["block1.0.weight"], weights["block1.0.bias"])
        self.slope = _constant(weights["block1.1._weight"])
        self.blocks = nn.ModuleList(
            Block(part(weights, f"block{index}"), encoding, keep) for index in range(2, blocks + 2)
        )
        self.closing = _folded(part(weights, f"block{blocks + 2}"), "0", "1")
        upsampling = part(weights, f"block{blocks + 3}")
        doublings = self.scale.bit_length() - 1
        self.doublings = nn.ModuleList(
            _conv(upsampling[f"{index}.conv.weight"], upsampling[f"{index}.conv.bias"])
            for index in range(doublings)
        )
        weight, bias = upsampling[f"{doublings}.weight"], upsampling[f"{doublings}.bias"]
        self.last = _conv(before_shuffle(weight), bias.repeat(4)) if doublings else _conv(weight, bias)
        self.eval()

    def forward(self, lr: Tensor) -> Tensor:
        x = lr.to(self.slope.dtype).contiguous(memory_format=torch.channels_last)
        shallow = features = F.prelu(self.first(x), self.slope)
        for block in self.blocks:
            features = block(features)
        features = shallow + self.closing(features)
        for index, doubling in enumerate(self.doublings):
            features = F.mish(doubling(features if index == 0 else F.pixel_shuffle(features, 2)))
        sr = torch.tanh(self.last(features))
        return (F.pixel_shuffle(sr, 2) if len(self.doublings) else sr).float().contiguous()


class Block(nn.Module):
    """x + enhance(conv(mish(conv(x)))): (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, weights: Weights, encoding: Array, keep: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = (_folded(weights, f"conv{i}", f"bn{i}") for i in (1, 2))
        enhancer = part(weights, "feature_enhancer")
        self.size = encoding.shape[1:]
        self.position = _constant(encoding.transpose(1, 2, 0).copy())  # (H, W, C)
        self.middle = _constant(middle(encoding))
        self.attention = (
            Attention(part(enhancer, "multihead"), keep) if "multihead.linears.0.bias" in enhancer else None
        )
        self.norm1, self.norm3 = (_norm(part(enhancer, f"mul_layernorm{i}")) for i in (1, 3))
        self.inner = _linear(enhancer["pff.w_1.weight"], enhancer["pff.w_1.bias"])
        self.outer = _linear(enhancer["pff.w_2.weight"] * keep, enhancer["pff.w_2.bias"])
        self.linear = _linear(enhancer["linear.weight"], enhancer["linear.bias"])

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv2(F.mish(self.conv1(x))).permute(0, 2, 3, 1)  # (N, H, W, C), no copy
        height, width = features.shape[1:3]
        if (height, width) == self.size:
            enhanced = self.enhanced(features, self.position)
        elif self.attention is None:
            enhanced = self.enhanced(features, self.middle)
        else:
            tiles = self.enhanced(into_tiles(features, *self.size), self.position)
            enhanced = from_tiles(tiles, height, width)
        return x + enhanced.permute(0, 3, 1, 2)

    def enhanced(self, features: Tensor, position: Tensor) -> Tensor:
        """Tokens are the features (N, H, W, C), each joined with its position's encoding, (H, W, C) or (C,)."""
        tokens = torch.cat([features, position.expand_as(features)], dim=-1)
        if self.attention is not None:
            tokens = tokens + self.attention(tokens.flatten(1, 2)).view_as(tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm3(tokens + self.outer(F.relu(self.inner(tokens))))
        enhanced: Tensor = self.linear(tokens)
        return enhanced


class Attention(nn.Module):
    """Self-attention with several heads, fused: tokens (N, L, J) -> (N, L, J)."""

    def __init__(self, weights: Weights, keep: float) -> None:
        super().__init__()
        *inputs, output = (part(weights, f"linears.{i}") for i in range(4))  # query, key and value in one product
        weight, bias = (np.concatenate([one[name] for one in inputs], axis=-1) for name in ("weight", "bias"))
        self.joint = _linear(weight, bias)
        self.output = _linear(output["weight"] * keep, output["bias"])

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.joint(tokens).chunk(3, dim=-1)
        query, key, value = (one.unflatten(-1, (HEADS, -1)).transpose(1, 2) for one in parts)  # (N, heads, L, d)
        joined = F.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.output(joined.transpose(1, 2).flatten(2))
        return output


def into_tiles(features: Tensor, height: int, width: int) -> Tensor:
    """(N, H, W, C) -> (N * tiles, height, width, C), row by row, the last ones padded with the edge."""
    below, right = -features.shape[1] % height, -features.shape[2] % width
    if below or right:
        padded = F.pad(features.permute(0, 3, 1, 2), (0, right, 0, below), mode="replicate")
        features = padded.permute(0, 2, 3, 1)
    n, rows, columns, channels = features.shape
    grid = features.reshape(n, rows // height, height, columns // width, width, channels)
    return grid.transpose(2, 3).flatten(0, 2)


def from_tiles(tiles: Tensor, height: int, width: int) -> Tensor:
    """Join the tiles of `into_tiles` -> (N, height, width, C)."""
    rows, columns = -(-height // tiles.shape[1]), -(-width // tiles.shape[2])
    grid = tiles.reshape(-1, rows, columns, *tiles.shape[1:]).transpose(2, 3)  # (N, rows, h, columns, w, C)
    return grid.flatten(3, 4).flatten(1, 2)[:, :height, :width]


def part(weights: Weights, name: str) -> Weights:
    """The arrays under `name.`, without it."""
    return {key.removeprefix(f"{name}."): array for key, array in weights.items() if key.startswith(f"{name}.")}


def _folded(weights: Weights, conv: str, norm: str) -> nn.Conv2d:
    """The convolution and the batch normalisation under these names, in one."""
    gain, offset, mean, variance = (weights[f"{norm}.{name}"] for name in ("weight", "bias", "_mean", "_variance"))
    kernel, bias = weights[f"{conv}.weight"], weights[f"{conv}.bias"]
    return _conv(*fold_norm(kernel, bias, gain=gain, offset=offset, mean=mean, variance=variance))


def _conv(weight: Array, bias: Array) -> nn.Conv2d:
    outputs, inputs, size, _ = weight.shape
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    conv.weight, conv.bias = _constant(weight), _constant(bias)
    conv.weight.data = conv.weight.contiguous(memory_format=torch.channels_last)
    return conv


def _linear(weight: Array, bias: Array) -> nn.Linear:
    linear = nn.Linear(*weight.shape)
    linear.weight, linear.bias = _constant(weight.T), _constant(bias)
    return linear


def _norm(weights: Weights) -> nn.LayerNorm:
    norm = nn.LayerNorm(len(weights["a_2"]), eps=LAYER_NORM_EPSILON**2)
    norm.weight, norm.bias = _constant(standard_gain(weights["a_2"])), _constant(weights["b_2"])
    return norm


def _constant(values: Array) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float32), requires_grad=False)
