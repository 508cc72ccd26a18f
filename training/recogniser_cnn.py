"""The residual network of `training.recogniser`: grey word image -> features of each image position.

Parameter names are as in the published weights (`conv1`, `layer3.0.bn1`, `layer4_conv2_bn`, ...).
"""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

Stages = tuple[int, int, int, int]


class ResNet(nn.Layer):
    """Grey image (N, 1, H, W) -> (N, width, H/4, W/4); H and W multiples of 4.

    stem: channels before each of the two poolings. stages, blocks: channels and residual blocks of the
    four stages. Each stage ends in a convolution; the last convolution has `width` channels.
    """

    def __init__(self, *, stem: tuple[int, int], stages: Stages, blocks: Stages, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(1, stem[0])
        self.conv2, self.bn2 = _convolution(stem[0], stem[1])
        self.layer1 = _stage(stem[1], stages[0], blocks[0])
        self.layer1_conv, self.layer1_bn = _convolution(stages[0], stages[0])
        self.layer2 = _stage(stages[0], stages[1], blocks[1])
        self.layer2_conv, self.layer2_bn = _convolution(stages[1], stages[1])
        self.layer3 = _stage(stages[1], stages[2], blocks[2])
        self.layer3_conv, self.layer3_bn = _convolution(stages[2], stages[2])
        self.layer4 = _stage(stages[2], stages[3], blocks[3])
        self.layer4_conv2, self.layer4_conv2_bn = _convolution(stages[3], width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.relu(self.layer1_bn(self.layer1_conv(self.layer1(x))))
        x = F.relu(self.layer2_bn(self.layer2_conv(self.layer2(x))))
        x = F.relu(self.layer3_bn(self.layer3_conv(self.layer3(x))))
        return F.relu(self.layer4_conv2_bn(self.layer4_conv2(self.layer4(x))))


class ResidualBlock(nn.Layer):
    """Two 3x3 convolutions and a shortcut, which is a convolution if the number of channels changes."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(before, after)
        self.conv2, self.bn2 = _convolution(after, after)
        self.downsample = nn.Sequential(*_convolution(before, after)) if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


def _convolution(before: int, after: int) -> tuple[nn.Conv2D, nn.BatchNorm2D]:
    return nn.Conv2D(before, after, 3, padding=1), nn.BatchNorm2D(after)


def _stage(before: int, after: int, blocks: int) -> nn.Sequential:
    rest = [ResidualBlock(after, after) for _ in range(blocks - 1)]
    return nn.Sequential(ResidualBlock(before, after), *rest)
