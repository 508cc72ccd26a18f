"""Spatial transformer before TBSRN, for training only: straightens curved or slanted text.

    lr -> STNHead -> 20 control points -> ThinPlateSpline -> lr, resampled

Shi et al., ASTER, TPAMI 2018; control points and margins as in FudanOCR's Scene Text Telescope.
"""

from __future__ import annotations

import math

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.nn.initializer import Assign, Constant, Normal

from training.architecture import (
    CONTROL_POINTS,
    HEIGHT_STEP,
    INITIAL_MARGIN,
    WIDTH_STEP,
    control_points,
    spline_weights,
)


class STNHead(nn.Layer):
    """Predicts the control points: float (N, 3, H, W) -> (N, 20, 2) as (x, y) in 0..1 of the picture.

    H must be divisible by 16 and W by 32.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        halve = [nn.MaxPool2D(2, 2) for _ in range(4)]
        self.stn_convnet = nn.Sequential(
            _conv_block(3, 32),
            halve[0],
            _conv_block(32, 64),
            halve[1],
            _conv_block(64, 128),
            halve[2],
            _conv_block(128, 256),
            halve[3],
            _conv_block(256, 256),
            nn.MaxPool2D((1, 2), (1, 2)),
            _conv_block(256, 256),
        )
        cells = (height // HEIGHT_STEP) * (width // WIDTH_STEP)
        first = nn.Linear(256 * cells, 512, weight_attr=Normal(std=0.001), bias_attr=Constant(0.0))
        self.stn_fc1 = nn.Sequential(first, nn.BatchNorm1D(512), nn.ReLU())
        points = control_points(INITIAL_MARGIN).astype(np.float32).ravel()
        self.stn_fc2 = nn.Linear(512, points.size, weight_attr=Constant(0.0), bias_attr=Assign(points))

    def forward(self, x: Tensor) -> Tensor:
        features = self.stn_fc1(self.stn_convnet(x).flatten(1))
        # 0.1 lowers the learning speed of the points, as in the published head
        return self.stn_fc2(0.1 * features).reshape([-1, CONTROL_POINTS, 2])


class ThinPlateSpline(nn.Layer):
    """Resamples a picture so that the given points land on the fixed target points.

    All except the points depends on the size alone, so it is solved once, in float64: `weights` (H*W, 20)
    maps source points to the source coordinates of every target pixel.
    """

    weights: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)
        self.register_buffer("weights", paddle.to_tensor(spline_weights(height, width)), persistable=False)

    def forward(self, images: Tensor, points: Tensor) -> Tensor:
        """images: float (N, C, H, W); points: (N, 20, 2) in 0..1. Returns (N, C, H, W)."""
        source = paddle.matmul(self.weights, points).clip(0.0, 1.0)  # (N, H*W, 2)
        grid = (2.0 * source - 1.0).reshape([-1, *self.size, 2])
        if images.stop_gradient:  # Paddle 3.3's CPU kernel crashes if this gradient has nowhere to go
            images = images.detach()
            images.stop_gradient = False
        return F.grid_sample(images, grid, align_corners=True)


def _conv_block(inputs: int, outputs: int) -> nn.Sequential:
    he = Normal(std=math.sqrt(2.0 / (9 * outputs)))
    conv = nn.Conv2D(inputs, outputs, 3, padding=1, weight_attr=he, bias_attr=Constant(0.0))
    return nn.Sequential(conv, nn.BatchNorm2D(outputs), nn.ReLU())
