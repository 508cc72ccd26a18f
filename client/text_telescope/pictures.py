"""Pictures that the client takes and returns: arrays, PIL images, paths, file objects, and encoded files.

NumPy and Pillow are optional. They are imported only for an array or a PIL image, which are recognised without it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, TypeGuard, TypeVar, cast, runtime_checkable

Channels = Literal["rgb", "bgr"]
_MAX_PATH = 4096  # characters; a longer str is rather base64
_URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)  # and not a drive, C://
_KINDS = "an array, a PIL image, a path, a binary file object or bytes"


@runtime_checkable
class BinaryFile(Protocol):
    def read(self) -> bytes: ...


if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    Rgb = npt.NDArray[np.uint8]  # (H, W, 3)
    File = str | PathLike[str] | bytes | bytearray | memoryview | BinaryFile  # a str is a path
    Picture = Rgb | Image.Image | File
    Pixels = TypeVar("Pixels", Rgb, Image.Image)


@dataclass(frozen=True)
class Answer:
    """One picture of a response. method, reason: the treatment and its reason, if the service names them."""

    data: bytes = field(repr=False)  # an image file
    media_type: str
    method: str | None = None
    reason: str | None = None

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the file as it came, a PNG or the `format` of the call; the path's ending changes nothing."""
        Path(path).write_bytes(self.data)

    def pil(self) -> Image.Image:
        """RGB."""
        with _extra("pillow"):
            from PIL import Image
        return Image.open(BytesIO(self.data)).convert("RGB")

    def array(self, channels: Channels = "rgb") -> Rgb:
        """uint8 (H, W, 3), writable."""
        with _extra("numpy"):
            import numpy as np
        rgb = np.array(self.pil())
        return rgb if channels == "rgb" else np.ascontiguousarray(rgb[:, :, ::-1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Rgb:  # noqa: ANN401  NumPy's own
        return self.array().astype(dtype or "uint8", copy=False)


def is_one(images: object) -> TypeGuard[Picture]:
    is_file = isinstance(images, str | PathLike | bytes | bytearray | memoryview | BinaryFile)
    return is_file or is_array(images) or is_pil(images)


def is_array(given: object) -> TypeGuard[Rgb]:
    return _is_a(given, "numpy", "ndarray")


def is_pil(given: object) -> TypeGuard[Image.Image]:
    return _is_a(given, "PIL.Image", "Image")


def _is_a(given: object, module: str, name: str) -> bool:
    """Whether `given` is an instance of a class whose module need not be installed."""
    return isinstance(given, getattr(sys.modules.get(module), name, ()))


def as_list(images: Picture | Iterable[Picture]) -> list[Picture]:
    """One picture, or any iterable of pictures, as a list. Raises TypeError for another object."""
    if is_one(images):
        return [images]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise _no_picture(images)
    return list(cast("Iterable[Picture]", images))


def encode(picture: Picture, channels: Channels) -> bytes:
    """Bytes of an image file; a file given by path, file object or bytes stays as it is.

    Raises OSError for a picture that cannot be read, TypeError for an object that is no picture, and ImportError
    for an array without Pillow.
    """
    if is_array(picture):
        with _extra("numpy"):
            from text_telescope.lossless import of_array
        return of_array(picture, channels)
    if is_pil(picture):
        from text_telescope.lossless import of_image

        return of_image(picture)
    if isinstance(picture, str | PathLike):
        return _read_path(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, BinaryFile):
        return _read_file(cast(IO[bytes], picture))
    raise _no_picture(picture)


def as_given(answer: Answer, given: object, channels: Channels) -> Any:  # noqa: ANN401  of three kinds
    """The result in the kind of the picture it was made of: an array, a PIL image, or for a file the Answer."""
    if is_array(given):
        return answer.array(channels)
    return answer.pil() if is_pil(given) else answer


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Raises ImportError with the command that installs a package which the import inside lacks."""
    try:
        yield
    except ModuleNotFoundError as exc:
        raise ImportError(f'{exc}; run: pip install "text-telescope-client[{name}]"') from exc


def _read_path(given: str | PathLike[str]) -> bytes:
    if isinstance(given, str) and _URL.match(given):
        raise OSError(f"URLs are not fetched: {given[:100]!r}. Read the bytes first and give them.")
    if isinstance(given, str) and len(given) > _MAX_PATH:
        raise OSError(
            f"A str of {len(given)} characters is no path; if it is base64, give base64.b64decode(text)."
        )
    path = Path(given)
    try:
        if str(path).startswith("~") and not path.exists():
            raise OSError(f"{str(path)!r} does not exist; a home folder's ~ needs os.path.expanduser(path).")
        if path.exists() and not path.is_file():  # reading a device or a pipe may never end
            raise OSError(f"'{path}' is a directory or a device, and no regular file.")
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
