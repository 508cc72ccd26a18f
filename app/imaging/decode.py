"""Uploaded bytes -> RGB, by the project's one decoder, with the service's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, sqrt

from app.errors import EmptyBody, ImageTooSmall, ServiceError, TooManyPixels, UndecodableImage, UnsupportedFormat
from app.imaging.encode import Format
from model_store import errors, pictures
from model_store.pictures import ACCEPTED, DECODED, is_short
from model_store.pixels import Rgb

__all__ = ["ACCEPTED", "DECODED", "Probed", "decode", "is_short", "probe"]
SMALL_PIXELS = 4096  # 128 x 32
LOWEST_PX = 8  # a lower line holds no text that can be read
_ERRORS: dict[type[errors.PictureError], type[ServiceError]] = {
    errors.EmptyPicture: EmptyBody,
    errors.UndecodablePicture: UndecodableImage,
    errors.UnsupportedPicture: UnsupportedFormat,
    errors.PictureTooSmall: ImageTooSmall,
}


@dataclass(frozen=True)
class Probed(pictures.Picture):
    def is_small(self, output: Format) -> bool:
        """Whether decoding it and encoding a picture of twice its size takes at most about a millisecond."""
        return self.is_short and self.width * self.height <= SMALL_PIXELS and output != "webp"

    def decode(self) -> Rgb:
        """-> uint8 (height, width, 3). Raises UndecodableImage or UnsupportedFormat."""
        with _service_errors():
            return super().decode()


def probe(data: bytes, *, max_pixels: float = inf, min_side_px: int = 1) -> Probed:
    """Read the header only.

    Raises EmptyBody, UnsupportedFormat, UndecodableImage, TooManyPixels or ImageTooSmall.
    """
    with _service_errors():
        return Probed(**vars(pictures.probe(data, max_pixels=max_pixels, min_side_px=min_side_px)))


def decode(data: bytes) -> Rgb:
    """A picture of any size -> uint8 (H, W, 3)."""
    return probe(data).decode()


@contextmanager
def _service_errors() -> Iterator[None]:
    try:
        yield
    except errors.PictureTooLarge as exc:
        raise TooManyPixels(
            f"The image has {exc.width} x {exc.height} pixels, {exc.width * exc.height} in all; at most "
            f"{exc.max_pixels} are accepted{_example(exc)}."
        ) from exc
    except errors.PictureError as exc:
        raise _ERRORS[type(exc)](str(exc)) from exc


def _example(error: errors.PictureTooLarge) -> str:
    """The largest size of the same proportion that fits; empty if it would be too low for text."""
    shrink = sqrt(error.max_pixels / (error.width * error.height))
    width, height = int(error.width * shrink), int(error.height * shrink)
    return f", such as {width} x {height}" if min(width, height) >= LOWEST_PX else ""
