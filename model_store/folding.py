"""TBSRN's weights for inference: arrays of a network of fewer operations that has the same outputs.

    position_encoding_2d, middle    the fixed encoding of a trained size; its middle, for every other size
    fold_norm, before_shuffle       convolutions without batch normalisation, and before the last pixel shuffle
    standard_gain                   layer normalisation with the usual standard deviation

`training.fold` exports Paddle and ONNX from them, and the runtime `torch` of the service builds its network.
Products are in float64, to be rounded once.
"""

import math

import numpy as np
import numpy.typing as npt

HEADS = 4  # of TBSRN's attention
LAYER_NORM_EPSILON = 1e-6  # added to the unbiased standard deviation
BATCH_NORM_EPSILON = 1e-5  # added to the variance
Array = npt.NDArray[np.floating]


def position_encoding_2d(channels: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """TBSRN's fixed sine encoding, float32 (channels, height, width), channels divisible by 4.

    The first half of the channels encodes x and the second half y, each as alternating sine and
    cosine with wavelengths from 2 pi to 20000 pi (Vaswani et al. 2017, once per axis).
    """
    half = channels // 2
    frequencies = np.exp(np.arange(0, half, 2) * (-math.log(10000.0) / half))  # (half / 2,)

    def waves(length: int) -> Array:
        angles = frequencies[:, None] * np.arange(length)
        return np.stack([np.sin(angles), np.cos(angles)], axis=1).reshape(half, length)

    x = np.broadcast_to(waves(width)[:, None, :], (half, height, width))
    y = np.broadcast_to(waves(height)[:, :, None], (half, height, width))
    return np.concatenate([x, y]).astype(np.float32)


def middle(encoding: Array) -> Array:
    """The encoding at the middle: (C, H, W) -> (C,)."""
    _, height, width = encoding.shape
    found: Array = encoding[:, (height - 1) // 2, (width - 1) // 2]
    return found


def fold_norm(
    weight: Array, bias: Array, *, gain: Array, offset: Array, mean: Array, variance: Array
) -> tuple[Array, Array]:
    """Weight (O, C, k, k) and bias (O,) of one convolution that does a convolution's and its batch normalisation's
    work; the last four of shape (O,)."""
    factor = gain / np.sqrt(variance + BATCH_NORM_EPSILON)
    return weight * factor[:, None, None, None], (bias - mean) * factor + offset


def before_shuffle(weight: Array) -> Array:
    """A convolution (O, C, 9, 9) after pixel shuffle as (4O, 4C, 5, 5) before it.

    Output pixel i of a cell weighs input pixel 2 d + a of the surrounding cells by the kernel's tap 2 d + a - i.
    """
    outputs, inputs, size, _ = weight.shape
    assert size % 4 == 1  # else the kernel's centre would not be a cell's first pixel
    cells = (size + 1) // 2
    placed = np.zeros((outputs, 2, 2, inputs, 2 * cells, 2 * cells))
    for i, j in np.ndindex(2, 2):
        placed[:, i, j, :, i : i + size, j : j + size] = weight
    split = placed.reshape([outputs * 4, inputs, cells, 2, cells, 2])  # (4O, C, d, a, e, b)
    return split.transpose([0, 1, 3, 5, 2, 4]).reshape([outputs * 4, inputs * 4, cells, cells])


def standard_gain(gain: Array) -> Array:
    """The gain (features,) of a layer normalisation whose standard deviation is no longer the unbiased one."""
    features = len(gain)
    return gain * math.sqrt((features - 1) / features)
