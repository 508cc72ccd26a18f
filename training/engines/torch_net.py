"""TBSRN in PyTorch, the same function as `training.tbsrn`, under FudanOCR's names.

    lr -> [STN, training only] -> block1 -> 5 x (conv-conv-attention, residual) -> block7
       -> + block1 -> pixel shuffle -> tanh -> sr

Chen, Li, Xue: Scene Text Telescope, CVPR 2021. PyTorch's running variance is unbiased and Paddle's biased, so
training steps agree but evaluation after them differs slightly.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_store.folding import HEADS, position_encoding_2d
from training.architecture import (
    CONTROL_POINTS,
    HEIGHT_STEP,
    INITIAL_MARGIN,
    WIDTH_STEP,
    DropoutMode,
    check_images,
    check_telescope,
    control_points,
    spline_weights,
)
from training.engines.torch_layers import FeedForward, LayerNorm, MultiHeadAttention


class TBSRN(nn.Module):
    """float32 (N, 3, H, W) RGB in [0, 1] -> (N, 3, scale*H, scale*W) in (-1, 1).

    H, W and the arguments as in `training.tbsrn.TBSRN`. Raises ConfigError naming an impossible argument.
    """

    def __init__(
        self,
        *,
        height: int = 16,
        width: int = 64,
        scale: int = 2,
        blocks: int = 5,
        hidden: int = 32,
        attention: bool = True,
        stn: bool = True,
        dropout: float = 0.1,
        dropout_mode: DropoutMode = "upscale_in_train",
    ) -> None:
        super().__init__()
        self.architecture: dict[str, Any] = {
            "height": height,
            "width": width,
            "scale": scale,
            "blocks": blocks,
            "hidden": hidden,
            "attention": attention,
            "stn": stn,
            "dropout": dropout,
            "dropout_mode": dropout_mode,
        }
        check_telescope(self.architecture)
        channels = 2 * hidden
        self.block1 = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), nn.PReLU())
        for index in range(2, blocks + 2):
            enhancer = FeatureEnhancer(
                channels, height, width, attention=attention, dropout=dropout, mode=dropout_mode
            )
            self.add_module(f"block{index}", ResidualBlock(channels, enhancer))
        closing = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))
        self.add_module(f"block{blocks + 2}", closing)
        doublings = [Upsample(channels) for _ in range(scale.bit_length() - 1)]
        self.add_module(f"block{blocks + 3}", nn.Sequential(*doublings, nn.Conv2d(channels, 3, 9, padding=4)))
        if stn:
            self.stn_head = STNHead(height, width)
            self.tps = ThinPlateSpline(height, width)

    def forward(self, lr: Tensor) -> Tensor:
        """Raises ConfigError for a shape that `check_images` refuses."""
        check_images(self.architecture, lr.shape, training=self.training)
        if self.architecture["stn"] and self.training:
            lr = self.tps(lr, self.stn_head(lr))
        blocks = self.architecture["blocks"]
        shallow = features = self.block1(lr)
        for index in range(2, blocks + 3):
            features = getattr(self, f"block{index}")(features)
        return torch.tanh(getattr(self, f"block{blocks + 3}")(shallow + features))


class FeatureEnhancer(nn.Module):
    """Attention, if any, over positions joined with their encodings: (N, C, H, W) -> (N, C, H, W).

    At the trained size, attention spans all positions. At other sizes it works within tiles of the trained size,
    the last ones padded with the edge; without attention, every position has the encoding of the trained middle.
    """

    position: Tensor

    def __init__(
        self, channels: int, height: int, width: int, *, attention: bool, dropout: float, mode: DropoutMode
    ) -> None:
        super().__init__()
        joined = 2 * channels
        self.size = (height, width)
        self.multihead = MultiHeadAttention(HEADS, joined, dropout, mode) if attention else None
        self.mul_layernorm1 = LayerNorm(joined)
        self.pff = FeedForward(joined, joined, dropout, mode)
        self.mul_layernorm3 = LayerNorm(joined)
        self.linear = nn.Linear(joined, channels)
        encoding = torch.from_numpy(position_encoding_2d(channels, height, width)).flatten(1).T  # (H*W, C)
        self.register_buffer("position", encoding.contiguous(), persistent=False)  # computed from the size

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if (height, width) == self.size:
            return self._enhanced(x, self.position)
        if self.multihead is None:
            rows, columns = self.size
            middle = (rows - 1) // 2 * columns + (columns - 1) // 2
            return self._enhanced(x, self.position[middle])
        tiles = self._enhanced(into_tiles(x, *self.size), self.position)
        return from_tiles(tiles, height, width)

    def _enhanced(self, x: Tensor, position: Tensor) -> Tensor:
        """position: (H*W, C), or (C,) for every position."""
        tokens = x.flatten(2).transpose(1, 2)  # (N, H*W, C), no copy where channels come last in memory
        tokens = torch.cat([tokens, position.to(tokens.dtype).expand_as(tokens)], dim=-1)  # (N, H*W, 2C)
        if self.multihead is not None:
            tokens = tokens + self.multihead(tokens)
        tokens = self.mul_layernorm1(tokens)
        tokens = self.mul_layernorm3(tokens + self.pff(tokens))
        return self.linear(tokens).transpose(1, 2).unflatten(2, x.shape[2:])


def into_tiles(x: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) -> (N * tiles, C, height, width), row by row, the last ones padded with the edge."""
    below, right = -x.shape[2] % height, -x.shape[3] % width
    if below or right:
        x = F.pad(x, (0, right, 0, below), mode="replicate")
    # (N, rows, h, columns, w, C)
    grid = x.permute(0, 2, 3, 1).unflatten(2, (-1, width)).unflatten(1, (-1, height))
    return grid.transpose(2, 3).flatten(0, 2).permute(0, 3, 1, 2)  # channels last in memory


def from_tiles(tiles: Tensor, height: int, width: int) -> Tensor:
    """Join the tiles of `into_tiles` -> (N, C, height, width)."""
    rows, columns = -(-height // tiles.shape[2]), -(-width // tiles.shape[3])
    grid = tiles.permute(0, 2, 3, 1).unflatten(0, (-1, rows, columns))  # (N, rows, columns, h, w, C)
    return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)[:, :, :height, :width]


class ResidualBlock(nn.Module):
    """x + enhance(BN(conv(mish(BN(conv(x)))))): (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, enhancer: FeatureEnhancer) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.feature_enhancer = enhancer
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        features = F.mish(self.bn1(self.conv1(x)))
        return x + self.feature_enhancer(self.bn2(self.conv2(features)))


class Upsample(nn.Module):
    """Twice the size by convolution, pixel shuffle and mish: (N, C, H, W) -> (N, C, 2H, 2W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(F.pixel_shuffle(self.conv(x), 2))


class STNHead(nn.Module):
    """Predicts the control points: float (N, 3, H, W) -> (N, 20, 2) as (x, y), 0..1 inside the picture."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        channels, halve = (3, 32, 64, 128, 256, 256), (2, 2)
        layers: list[nn.Module] = []
        for before, after, step in zip(channels[:-1], channels[1:], [halve] * 4 + [(1, 2)], strict=True):
            layers += [_conv_block(before, after), nn.MaxPool2d(step, step)]
        self.stn_convnet = nn.Sequential(*layers, _conv_block(256, 256))
        first = nn.Linear(256 * (height // HEIGHT_STEP) * (width // WIDTH_STEP), 512)
        self.stn_fc1 = nn.Sequential(first, nn.BatchNorm1d(512), nn.ReLU())
        points = torch.from_numpy(control_points(INITIAL_MARGIN)).float().flatten()
        self.stn_fc2 = nn.Linear(512, points.numel())
        nn.init.normal_(first.weight, std=0.001)
        nn.init.zeros_(first.bias)
        nn.init.zeros_(self.stn_fc2.weight)
        with torch.no_grad():
            self.stn_fc2.bias.copy_(points)

    def forward(self, x: Tensor) -> Tensor:
        features = self.stn_fc1(self.stn_convnet(x).flatten(1))
        # 0.1, as published: the points move more slowly than the rest of the network
        return self.stn_fc2(0.1 * features).unflatten(1, (CONTROL_POINTS, 2))


class ThinPlateSpline(nn.Module):
    """Resamples a picture so that the given points land on the fixed target points."""

    weights: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)
        self.register_buffer("weights", torch.from_numpy(spline_weights(height, width)), persistent=False)

    def forward(self, images: Tensor, points: Tensor) -> Tensor:
        """images: float (N, C, H, W); points: (N, 20, 2) in 0..1. Returns (N, C, H, W).

        In float32: bfloat16 rounds a coordinate of 64 pixels to a quarter pixel.
        """
        with torch.autocast(images.device.type, enabled=False):
            source = (self.weights @ points.float()).clamp(0.0, 1.0)  # (N, H*W, 2)
            grid = (2.0 * source - 1.0).unflatten(1, self.size)
            return F.grid_sample(images.float(), grid, align_corners=True)


def _conv_block(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(conv.weight, std=math.sqrt(2.0 / (9 * outputs)))
    nn.init.constant_(conv.bias, 0.0)  # type: ignore[arg-type]  # it has a bias
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())
