"""Pictures that the client takes and returns: arrays, PIL images, paths, file objects, and encoded files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import IO, Literal, Protocol, TypeGuard, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from text_telescope.lossless import of_image

Rgb = npt.NDArray[np.uint8]  # (H, W, 3)
Channels = Literal["rgb", "bgr"]
_MAX_PATH = 4096  # characters; a longer str is rather base64
_KINDS = "an array, a PIL image, a path, a binary file object or bytes"


@runtime_checkable
class BinaryFile(Protocol):
    def read(self) -> bytes: ...


Picture = Rgb | Image.Image | PathLike[str] | str | bytes | bytearray | memoryview | BinaryFile  # a str is a path


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


def is_one(images: Picture | Iterable[Picture]) -> TypeGuard[Picture]:
    return isinstance(
        images, np.ndarray | Image.Image | PathLike | str | bytes | bytearray | memoryview | BinaryFile
    )


def as_list(images: Picture | Iterable[Picture]) -> list[Picture]:
    """One picture, or any iterable of pictures, as a list. Raises TypeError for another object."""
    if is_one(images):
        return [images]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise _no_picture(images)
    return list(images)  # type: ignore[arg-type]  # bytes are one picture, and no iterable of numbers


def encode(picture: Picture, channels: Channels) -> bytes:
    """Bytes of an image file; a file given by path, file object or bytes stays as it is.

    Raises OSError for a picture that cannot be read, and TypeError for an object that is no picture.
    """
    match picture:
        case bytes() | bytearray() | memoryview():
            return bytes(picture)
        case str() | PathLike():
            return _read_path(picture)
        case Image.Image():
            return of_image(picture)
        case np.ndarray():
            return of_image(_image(picture, channels))
        case BinaryFile():
            return _read_file(cast(IO[bytes], picture))
    raise _no_picture(picture)


def _read_path(given: str | PathLike[str]) -> bytes:
    if isinstance(given, str) and ("://" in given[:16] or given.startswith("data:")):
        raise OSError(f"URLs are not fetched: {given[:100]!r}. Read the bytes first and give them.")
    if isinstance(given, str) and len(given) > _MAX_PATH:
        raise OSError(
            f"A str of {len(given)} characters is no path; if it is base64, give base64.b64decode(text)."
        )
    path = Path(given)
    if path.exists() and not path.is_file():  # reading a device or a pipe may never end
        raise OSError(f"'{path}' is a directory or a device, and no regular file.")
    try:
        return path.read_bytes()
    except ValueError as exc:
        raise OSError(f"{str(path)!r} is no path: {exc}.") from exc


def _read_file(file: IO[bytes]) -> bytes:
    """The bytes from the current position to the end; the position of a seekable file stays the same."""
    try:
        start = file.tell() if hasattr(file, "seekable") and file.seekable() else None
        data: object = file.read()
        if start is not None:
            file.seek(start)
    except UnicodeDecodeError as exc:
        raise _no_bytes("str") from exc
    except ValueError as exc:
        raise OSError(f"The file object cannot be read: {exc}") from exc
    if data is not None and not isinstance(data, bytes | bytearray | memoryview):
        raise _no_bytes(type(data).__name__)
    if not data:
        raise OSError("The file object is at its end; call seek(0) before giving it.")
    return bytes(data)


def _no_bytes(found: str) -> TypeError:
    return TypeError(f"The file object's read() gives {found} and not bytes; open it with open(path, 'rb').")


def _no_picture(given: object) -> TypeError:
    return TypeError(f"A {type(given).__name__} is no picture; give {_KINDS}, or a list of these.")


def _image(array: Rgb, channels: Channels) -> Image.Image:
    """array: uint8, grey (H, W) or (H, W, 1), colours (H, W, 3), or colours and alpha (H, W, 4)."""
    count = 1 if array.ndim == 2 else array.shape[-1]
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or count not in (1, 3, 4):
        raise TypeError(
            f"An array must be uint8 (H, W, 3), (H, W, 4), (H, W, 1) or (H, W); this one is {array.dtype} "
            f"{array.shape}.{_right_call(array)}"
        )
    if count == 1:
        return Image.fromarray(array.reshape(array.shape[:2]))
    if channels == "bgr":
        array = array[:, :, ::-1] if count == 3 else array[:, :, [2, 1, 0, 3]]
    return Image.fromarray(array)


def _right_call(array: npt.NDArray[np.generic]) -> str:
    if array.ndim == 4 or array.dtype == object:
        return " Give several pictures as list(array)."
    if array.ndim == 1:
        return " If it holds an encoded file, give array.tobytes()."
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        return " If its channels come first, give numpy.moveaxis(array, 0, -1)."
    if array.dtype.kind in "bf":
        return " If its white is 1, give (255 * array).astype(numpy.uint8)."
    if array.dtype == np.uint16:
        return " If its white is 65535, give (array // 257).astype(numpy.uint8)."
    return " Scale its levels to 0 to 255 and give array.astype(numpy.uint8)."
