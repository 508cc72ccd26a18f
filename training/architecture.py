"""Sizes, checks and fixed tables of TBSRN and the recogniser, shared by all engines.

    arguments of TBSRN -> check_telescope, pixel_spec          RecogniserConfig, small or as published
    shape of its input -> check_images
    position_encoding, spline_weights

It needs numpy alone, no engine's framework.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from model_store.manifest import PixelSpec
from training.errors import ConfigError

# "upscale_in_train" is the usual convention: evaluation is the identity.
# "downscale_in_infer" is PaddleOCR's setting: evaluation multiplies by 1 - p, attention maps included.
DropoutMode = Literal["upscale_in_train", "downscale_in_infer"]

CONTROL_POINTS = 20  # of the STN: ten along the top edge, ten along the bottom
TARGET_MARGIN = 0.05  # of the image: distance of the points from the edge in the straightened picture
INITIAL_MARGIN = 0.01  # margin at which an untrained head places them in the input
HEIGHT_STEP, WIDTH_STEP = 16, 32  # the pooling of the STN's head divides the input by these
SMALLEST = 8  # side of an LR image in pixels, at sizes other than the trained one
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601: the recogniser's input, as in the published loss


@dataclass(frozen=True)
class RecogniserConfig:
    """Sizes of a recogniser; the defaults are the published network's (62 M parameters)."""

    stem: tuple[int, int] = (64, 128)  # channels before each pooling
    stages: tuple[int, int, int, int] = (256, 256, 512, 512)  # channels
    blocks: tuple[int, int, int, int] = (1, 2, 5, 3)  # residual blocks of each stage
    width: int = 1024  # of the decoder: half embedding, half position
    heads: int = 16
    inner: int = 2048  # of the feed-forward
    dropout: float = 0.1
    # FudanOCR's convention. With PaddleOCR's, `downscale_in_infer`, evaluation multiplies by 0.9.
    dropout_mode: DropoutMode = "upscale_in_train"

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads) or self.width % 4:
            raise ConfigError(
                f"recogniser width {self.width} must be a multiple of 4 and of 2 x {self.heads} heads"
            )
        if min(*self.stem, *self.stages, *self.blocks, self.inner) < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(f"recogniser sizes must be 1 or more and dropout in [0, 1): {self}")

    @classmethod
    def small(cls) -> RecogniserConfig:
        """A recogniser of 2.1 M parameters that a CPU can train."""
        return cls(stem=(32, 64), stages=(64, 64, 128, 128), blocks=(1, 1, 1, 1), width=256, heads=8, inner=512)


def pixel_spec(architecture: Mapping[str, Any]) -> PixelSpec:
    """Size and scale of a TBSRN with these arguments."""
    return PixelSpec(**{name: architecture[name] for name in ("height", "width", "scale")})


def check_telescope(architecture: Mapping[str, Any]) -> None:
    """Raises ConfigError naming an impossible argument of TBSRN."""
    height, width, stn = (architecture[name] for name in ("height", "width", "stn"))
    for name in ("height", "width", "scale", "blocks", "hidden"):
        if architecture[name] < 1:
            raise ConfigError(f"{name} must be positive, not {architecture[name]}")
    if architecture["scale"] & (architecture["scale"] - 1):
        raise ConfigError(f"scale must be a power of two, not {architecture['scale']}")
    if architecture["hidden"] % 2:
        raise ConfigError(f"hidden must be even for the position encoding, not {architecture['hidden']}")
    if stn and height % HEIGHT_STEP:
        raise ConfigError(f"height must be divisible by {HEIGHT_STEP} with stn, not {height}")
    if stn and width % WIDTH_STEP:
        raise ConfigError(f"width must be divisible by {WIDTH_STEP} with stn, not {width}")
    mode = architecture["dropout_mode"]
    if mode not in get_args(DropoutMode):
        raise ConfigError(f"dropout_mode must be one of {get_args(DropoutMode)}, not {mode!r}")


def check_images(architecture: Mapping[str, Any], shape: Sequence[int], *, training: bool) -> None:
    """Raises ConfigError unless a TBSRN takes images of this shape, (N, 3, H, W).

    H and W: any from SMALLEST on; in training with stn only the trained height and width.
    """
    trained = (architecture["height"], architecture["width"])
    if len(shape) != 4 or shape[1] != 3:
        raise ConfigError(f"TBSRN takes images (N, 3, H, W), not {list(shape)}")
    height, width = shape[2:]
    if (height, width) == trained:
        return
    if min(height, width) < SMALLEST:
        raise ConfigError(f"TBSRN takes images of {SMALLEST} x {SMALLEST} pixels or more, not {height} x {width}")
    if training and architecture["stn"]:
        raise ConfigError(
            f"model.stn is made for images of {trained[0]} x {trained[1]}, not {height} x {width}: "
            "set it to false to train at other sizes"
        )


def position_encoding(length: int, width: int) -> np.ndarray:
    """The recogniser's encoding: alternating sine and cosine (Vaswani et al. 2017), float32 (1, length, width)."""
    rates = np.exp(np.arange(0, width, 2, dtype=np.float32) * np.float32(-math.log(10000.0) / width))
    angles = np.arange(length, dtype=np.float32)[:, None] * rates
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(1, length, width)


def control_points(margin: float) -> np.ndarray:
    """Ten points along the top and ten along the bottom, `margin` from the edge: float64 (20, 2) as (x, y)."""
    x = np.linspace(margin, 1 - margin, CONTROL_POINTS // 2)
    return np.concatenate([np.stack([x, np.full_like(x, y)], axis=1) for y in (margin, 1 - margin)])


def spline_weights(height: int, width: int) -> np.ndarray:
    """float32 (height*width, 20): matrix from source points to source coordinates of every target pixel.

    All of a thin-plate spline except the points depends on the size alone. Solved in float64.
    """
    targets = control_points(TARGET_MARGIN)
    system = np.zeros((CONTROL_POINTS + 3, CONTROL_POINTS + 3))
    system[:CONTROL_POINTS] = _spline_basis(targets, targets)
    system[CONTROL_POINTS:, :CONTROL_POINTS] = system[:CONTROL_POINTS, CONTROL_POINTS:].T
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)  # (H*W, 2)
    weights = _spline_basis(pixels, targets) @ np.linalg.inv(system)[:, :CONTROL_POINTS]
    return weights.astype(np.float32)


def _spline_basis(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(P, 2), (20, 2) -> (P, 23): r^2 log r to every centre, then 1, x, y."""
    squared = ((points[:, None] - centres[None]) ** 2).sum(-1)
    radial = 0.5 * squared * np.log(np.where(squared == 0, 1.0, squared))
    return np.concatenate([radial, np.ones((len(points), 1)), points], axis=1)
