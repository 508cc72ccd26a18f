"""TBSRN, the super-resolution network of Scene Text Telescope, in Paddle.

    lr -> [STN, training only] -> block1 -> 5 x (conv-conv-attention, residual) -> block7
       -> + block1 -> pixel shuffle -> tanh -> sr

Chen, Li, Xue: Scene Text Telescope: Text-Focused Scene Image Super-Resolution, CVPR 2021,
doi 10.1109/CVPR46437.2021.01185. Parameter names are as in the published checkpoints, without their prefix.
Weights that the published code never uses (gru1, gru2, compress_attention_linear) do not exist here.
"""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.nn.initializer import XavierUniform

from model_store.folding import HEADS, position_encoding_2d
from training.architecture import DropoutMode, check_images, check_telescope
from training.layers import FeedForward, LayerNorm, MultiHeadAttention
from training.stn import STNHead, ThinPlateSpline


class FeatureEnhancer(nn.Layer):
    """Optional attention over positions, each joined with its encoding: (N, C, H, W) -> (N, C, H, W).

    At the trained size attention covers all positions. At other sizes it works within tiles of the trained size,
    padded by repeating the edge; without attention every position has the encoding of the trained size's middle.
    """

    position: Tensor

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        attention: bool,
        dropout: float,
        dropout_mode: DropoutMode,
    ) -> None:
        super().__init__()
        joined = 2 * channels
        self.multihead = (
            MultiHeadAttention(HEADS, joined, dropout, dropout_mode=dropout_mode) if attention else None
        )
        self.mul_layernorm1 = LayerNorm(joined)
        self.pff = FeedForward(joined, joined, dropout, dropout_mode=dropout_mode)
        self.mul_layernorm3 = LayerNorm(joined)
        self.linear = nn.Linear(joined, channels)
        encoding = paddle.to_tensor(position_encoding_2d(channels, height, width)).unsqueeze(0)
        # not stored, because it follows from the size
        self.register_buffer("position", encoding, persistable=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        rows, columns = self.position.shape[2:]
        if (height, width) == (rows, columns):
            return self._enhanced(x, self.position)
        if self.multihead is None:
            row, column = (rows - 1) // 2, (columns - 1) // 2
            return self._enhanced(x, self.position[:, :, row : row + 1, column : column + 1])
        tiles = self._enhanced(into_tiles(x, rows, columns), self.position)
        return from_tiles(tiles, height, width)

    def _enhanced(self, x: Tensor, position: Tensor) -> Tensor:
        """position: (1, C, H, W), or (1, C, 1, 1) for a uniform encoding."""
        n, channels, height, width = x.shape
        position = position.expand([n, channels, height, width])
        tokens = paddle.concat([x, position], axis=1).flatten(2).transpose([0, 2, 1])  # (N, H*W, 2C)
        if self.multihead is not None:
            tokens = tokens + self.multihead(tokens, tokens, tokens)[0]
        tokens = self.mul_layernorm1(tokens)
        tokens = self.mul_layernorm3(tokens + self.pff(tokens))
        return self.linear(tokens).transpose([0, 2, 1]).reshape([n, channels, height, width])


def into_tiles(x: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) -> (N * tiles, C, height, width), row by row, padded by repeating the edge.

    H and W are tensors while an any-size program is traced, so no branch may depend on them.
    """
    below, right = -x.shape[2] % height, -x.shape[3] % width
    x = F.pad(x, [0, right, 0, below], mode="replicate")
    channels, rows, columns = x.shape[1], x.shape[2] // height, x.shape[3] // width
    grid = x.reshape([-1, channels, rows, height, columns, width]).transpose([0, 2, 4, 1, 3, 5])
    return grid.reshape([-1, channels, height, width])


def from_tiles(tiles: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `into_tiles`: -> (N, C, height, width)."""
    _, channels, h, w = tiles.shape
    rows, columns = -(-height // h), -(-width // w)
    grid = tiles.reshape([-1, rows, columns, channels, h, w]).transpose([0, 3, 1, 4, 2, 5])
    return grid.reshape([-1, channels, rows * h, columns * w])[:, :, :height, :width]


class ResidualBlock(nn.Layer):
    """x + enhance(BN(conv(mish(BN(conv(x)))))): (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, enhancer: FeatureEnhancer) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2D(channels)
        self.conv2 = nn.Conv2D(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2D(channels)
        self.feature_enhancer = enhancer
        xavier = XavierUniform()
        for parameter in self.parameters():
            if parameter.ndim > 1:
                xavier(parameter)

    def forward(self, x: Tensor) -> Tensor:
        features = F.mish(self.bn1(self.conv1(x)))
        return x + self.feature_enhancer(self.bn2(self.conv2(features)))


class Upsample(nn.Layer):
    """Twice the size by convolution, pixel shuffle and mish: (N, C, H, W) -> (N, C, 2H, 2W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(channels, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(F.pixel_shuffle(self.conv(x), 2))


class TBSRN(nn.Layer):
    """float32 (N, 3, H, W) RGB in [0, 1] -> (N, 3, scale*H, scale*W) in (-1, 1).

    H, W: the trained size, or any sides from 8 on, see `FeatureEnhancer`; with stn=True training accepts only the
    trained size.
    height, width: the trained LR size in pixels, also the tile size of attention. With stn=True the height must be
    divisible by 16 and the width by 32, for the pooling of the STN.
    scale: a power of two. hidden: half the number of feature channels; must be even.
    attention: False, which is not in the paper, leaves only convolutions between positions.
    dropout_mode: "downscale_in_infer" reproduces PaddleOCR, which multiplies by 1 - dropout in
    evaluation. Weights imported from PaddleOCR already contain that factor.
    Raises ConfigError naming the argument.
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
        self.block1 = nn.Sequential(nn.Conv2D(3, channels, 9, padding=4), nn.PReLU())
        for index in range(2, blocks + 2):
            enhancer = FeatureEnhancer(
                channels, height, width, attention=attention, dropout=dropout, dropout_mode=dropout_mode
            )
            self.add_sublayer(f"block{index}", ResidualBlock(channels, enhancer))
        closing = nn.Sequential(nn.Conv2D(channels, channels, 3, padding=1), nn.BatchNorm2D(channels))
        self.add_sublayer(f"block{blocks + 2}", closing)
        doublings = [Upsample(channels) for _ in range(scale.bit_length() - 1)]
        upscale = nn.Sequential(*doublings, nn.Conv2D(channels, 3, 9, padding=4))
        self.add_sublayer(f"block{blocks + 3}", upscale)
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
        return paddle.tanh(getattr(self, f"block{blocks + 3}")(shallow + features))
