"""Input of a recogniser: the text cut out of an image, at the recogniser's height, perhaps blurred."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

HEIGHT, WIDTH = 48, 192  # pixels: PP-OCR's height; nine of ten words are narrower than this width


def look_at(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Cut a box out of each image (N, C, H, W) -> (N, C, 48, 192), resized as by PP-OCR's own code.

    The text keeps its proportions, with mid-grey to its right; too wide a text is squeezed.
    """
    height, width = pictures.shape[2:]
    left, top, right, bottom = (side[:, None] for side in boxes.float().unbind(1))  # (N, 1)
    filled = ((right - left) * HEIGHT / (bottom - top)).clamp(max=WIDTH)
    columns = torch.arange(WIDTH, device=pictures.device) + 0.5
    rows = torch.arange(HEIGHT, device=pictures.device) + 0.5
    x = left + columns * (right - left) / filled  # (N, 192), in pixels from the image's edge
    y = top + rows * (bottom - top) / HEIGHT
    x, y = 2 * x / width - 1, 2 * y / height - 1
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)  # (N, 48, 192, 2)
    found = F.grid_sample(pictures.float(), grid, padding_mode="border", align_corners=False)
    inside = (columns < filled)[:, None, None, :]
    return torch.where(inside, found, 0.5)


def gaussian(sigma: float) -> Tensor:
    """float32 (1, 1, K, K) that sums to 1; one element if sigma is 0."""
    half = int(np.ceil(4 * sigma))
    axis = torch.arange(-half, half + 1.0)
    line = torch.exp(-(axis**2) / (2 * sigma**2)) if sigma else torch.ones(1)
    kernel = line[:, None] * line
    return (kernel / kernel.sum())[None, None]


def soften(pictures: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each channel of (N, C, H, W) with a kernel (1, 1, K, K), edges repeated."""
    half = kernel.shape[-1] // 2
    if not half:
        return pictures
    padded = F.pad(pictures, (half,) * 4, mode="replicate")
    channels = pictures.shape[1]
    with torch.autocast(pictures.device.type, enabled=False):
        return F.conv2d(padded, kernel.expand(channels, -1, -1, -1), groups=channels)
