"""Pictures that the client takes and returns: arrays, PIL images, paths, and encoded files."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Literal, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image

Rgb = npt.NDArray[np.uint8]  # (H, W, 3)
Picture = Rgb | Image.Image | PathLike[str] | str | bytes  # a str is a path
Channels = Literal["rgb", "bgr"]
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


@dataclass(frozen=True)
class Answer:
    """One picture of a response. method, reason: the treatment and its reason, if the service names them."""

    data: bytes
    media_type: str
    method: str | None = None
    reason: str | None = None

    def pil(self) -> Image.Image:
        return Image.open(BytesIO(self.data)).convert("RGB")

    def array(self, channels: Channels = "rgb") -> Rgb:
        """uint8 (H, W, 3), writable."""
        rgb = np.array(self.pil())
        return rgb if channels == "rgb" else np.ascontiguousarray(rgb[:, :, ::-1])


def is_one(images: Picture | Sequence[Picture]) -> TypeGuard[Picture]:
    return isinstance(images, np.ndarray | Image.Image | PathLike | str | bytes)


def encode(picture: Picture, channels: Channels) -> bytes:
    """Bytes of an image file; a file given by path or bytes stays as it is.

    Raises OSError for a path that cannot be read, and TypeError for an object that is no picture.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | PathLike):
        return Path(picture).read_bytes()
    image = picture if isinstance(picture, Image.Image) else _image(picture, channels)
    if 0 in image.size:  # a detector's box without area, which Pillow cannot write
        return b""
    stream = BytesIO()
    png = image if image.mode in _PNG_MODES else image.convert("RGB")
    png.save(stream, "PNG", compress_level=1)  # on a crop, more effort costs more time than the bytes saved
    return stream.getvalue()


def _image(array: Rgb, channels: Channels) -> Image.Image:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"A {type(array).__name__} is no picture; give an array, a PIL image, a path or bytes.")
    is_grey = array.ndim == 2
    if array.dtype != np.uint8 or not (is_grey or (array.ndim == 3 and array.shape[2] == 3)):
        raise TypeError(f"An array must be uint8 (H, W, 3) or (H, W); this one is {array.dtype} {array.shape}.")
    return Image.fromarray(array if is_grey or channels == "rgb" else array[:, :, ::-1])
