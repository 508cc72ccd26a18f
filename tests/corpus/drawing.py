"""The drawings that all files of the corpus show, and the form of an entry."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Rgb = npt.NDArray[np.uint8]  # (H, W, 3)
Grey = npt.NDArray[np.uint8]  # (H, W)
Mask = npt.NDArray[np.bool_]  # (H, W)
HEIGHT, WIDTH = 32, 48


@dataclass(frozen=True)
class File:
    """A picture and its expectation: the pixels within `tolerance` levels, or the code of a refusal, or a check.

    codes: the refusals that are right; with pixels too, either is right. says: a pattern of the refusal's message.
    check: of pixels that are not known exactly; raises AssertionError.
    """

    name: str
    data: bytes
    rgb: Rgb | None = None
    tolerance: int = 0
    codes: tuple[str, ...] = ()
    says: str = ""
    check: Callable[[Rgb], None] | None = None


def read(name: str, data: bytes, rgb: npt.NDArray[Any], tolerance: int = 0) -> File:
    """A file that must be read. rgb: (H, W, 3), or grey (H, W)."""
    shown = np.repeat(rgb[:, :, None], 3, axis=2) if rgb.ndim == 2 else rgb
    return File(name, data, np.ascontiguousarray(shown, np.uint8), tolerance)


def refused(name: str, data: bytes, *codes: str, says: str = "") -> File:
    return File(name, data, codes=codes, says=says)


def saved(pixels: npt.NDArray[Any], image_format: str, *, mode: str | None = None, **options: Any) -> bytes:
    """Written by Pillow."""
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels), mode=mode).save(stream, image_format, **options)
    return stream.getvalue()


def rounded(levels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint(levels).clip(0, 255), np.uint8)


def _letter() -> Mask:
    """An F in the left half: no turn or mirroring maps it onto itself."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[6:27, 6:10] = mask[6:10, 6:22] = mask[14:18, 6:17] = True
    return mask


_ROWS, _COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
TEXT = _letter()
OTHER_TEXT = TEXT[:, ::-1].copy()  # a mirrored F in the right half
SMOOTH: Rgb = rounded(np.dstack([40 + 4 * _COLUMNS, 210 - 5 * _ROWS, 60 + 2 * _ROWS + 2 * _COLUMNS]))
RGB: Rgb = np.where(TEXT[:, :, None], (20, 30, 90), SMOOTH).astype(np.uint8)
GREY: Grey = np.where(TEXT, 10, 100 + 3 * _COLUMNS).astype(np.uint8)
INDICES: Grey = (_COLUMNS // 3 + 16 * (_ROWS // 2)).astype(np.uint8)  # every value of a palette of 256
PALETTE: Rgb = np.random.default_rng(7).integers(0, 256, (256, 3), np.uint8)
DEEP = (_ROWS * 2011 + _COLUMNS * 97 + 13).astype(np.uint16)  # 16 bits of grey
DEEP_RGB = np.dstack([DEEP, DEEP[::-1], 65535 - DEEP])
MUTED: Rgb = rounded(np.dstack([130 + _COLUMNS, 160 - _ROWS, 120 + _ROWS]))  # inside every gamut

# The stored pixels of an upright picture for each orientation, by the EXIF specification.
STORED: dict[int, Callable[[Any], Any]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def fewer(bits: int) -> Grey:
    """GREY in 2**bits levels."""
    return (GREY >> (8 - bits)).astype(np.uint8)


def full_range(levels: npt.NDArray[Any], bits: int) -> Grey:
    """Levels of `bits` bits, scaled to 8."""
    return rounded(levels.astype(np.float64) * 255 / (2**bits - 1))


def over(ground: int, colour: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> Rgb:
    """colour (H, W, 3) with alpha (H, W) of 0 to 255, laid over a grey ground."""
    share = alpha[:, :, None].astype(np.float64) / 255
    return rounded(colour * share + ground * (1 - share))
