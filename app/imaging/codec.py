"""Bytes <-> RGB: uploaded pictures in, super-resolved pictures out.

    probe (header only, every limit) -> Probed.decode (pixels, orientation, RGB) ... encode

Pillow decodes, because it reads a header without touching the pixels, and knows EXIF and CMYK; but for plain PNGs,
which `app/png.py` reads. That also writes PNG, cv2 JPEG, and Pillow WebP, whose effort cv2 does not let one choose
(three to eight times slower).
"""

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from math import inf
from typing import Literal

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from app.errors import (
    EmptyBody,
    ImageTooSmall,
    ResultTooLarge,
    TooManyPixels,
    UndecodableImage,
    UnsupportedFormat,
)
from app.imaging import png
from model_store.pixels import Rgb

Format = Literal["png", "jpeg", "webp"]
MEDIA_TYPES: dict[Format, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}

# Nothing else is ever decoded: each further format is another parser to attack.
DECODED = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_KNOWN_BUT_NOT_DECODED = {
    "PDF": (0, b"%PDF"),
    "SVG": (0, b"<svg"),
    "SVG or XML": (0, b"<?xml"),
    "HEIC or AVIF": (4, b"ftyp"),
    "JPEG XL": (0, b"\xff\x0a"),
    "JPEG 2000": (4, b"jP  "),
    "ICO": (0, b"\0\0\1\0"),
    "PSD": (0, b"8BPS"),
    "PNM": (0, b"P6\n"),
    "OpenEXR": (0, b"v/1\1"),
}
_JPEG_FLAGS = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,  # coloured text loses its edges to chroma subsampling
]
MAX_SIDE: dict[Format, int] = {"png": 1_000_000, "jpeg": 65_500, "webp": 16_383}  # libpng, libjpeg, WebP
SMALL_BYTES = 8 * 1024
SMALL_PIXELS = 4096  # 128 x 32
_INFLATED = (b"iCCP", b"iTXt", b"zTXt")  # PNG's chunks of which one KiB may hold a MiB, and take 3 ms
MAX_JPEG_SCANS = 100  # a progressive picture has about ten; each repeats the whole picture's work

# Pillow's own guard only warns below twice this size, in a way that is not thread-safe; `probe` refuses first.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Probed:
    """A picture whose header has been read: its size in the orientation it is shown in.

    is_short: reading the header took a fraction of a millisecond.
    """

    width: int
    height: int
    is_short: bool
    _data: bytes  # and no opened file: one may hold far more than its bytes
    _plain: bool  # a PNG that takes no Pillow

    def is_small(self, answer: Format) -> bool:
        """Whether decoding it, and encoding one of twice its size, takes at most about a millisecond."""
        return self.is_short and self.width * self.height <= SMALL_PIXELS and answer != "webp"

    def decode(self) -> Rgb:
        """-> uint8 (H, W, 3), upright by its EXIF orientation.

        Grey is repeated, transparency is laid over white, CMYK and palettes are converted and 16 bits are
        scaled to 8. Raises UndecodableImage when the data after the header is damaged or missing.
        """
        if self._plain and (rgb := png.decode_plain(self._data)) is not None:
            return rgb
        image = _open(self._data)
        try:
            image.load()
            if image.info or image.format != "PNG":  # a plain PNG has nothing that could tell
                _turn_upright(image)
            return np.asarray(_to_rgb(image))
        except (MemoryError, UnsupportedFormat):
            raise
        except Exception as exc:  # Pillow's plugins raise whatever their parsing runs into
            raise UndecodableImage(f"The image data is damaged or cut off ({_reason(exc)}).") from exc
        finally:
            image.close()


def probe(data: bytes, *, max_pixels: float = inf, min_side_px: int = 1) -> Probed:
    """Read the header only; no pixel is decoded and nothing large is allocated.

    Raises EmptyBody, UnsupportedFormat, UndecodableImage, TooManyPixels or ImageTooSmall.
    """
    plain = png.plain_size(data)
    height, width = plain or _shown_size(data)
    if width * height > max_pixels:
        raise TooManyPixels(f"The image has {width} x {height} pixels; at most {max_pixels} are accepted.")
    if min(width, height) < min_side_px:
        raise ImageTooSmall(
            f"The image is {width} x {height} pixels; each side must be at least {min_side_px} to hold text."
        )
    return Probed(width, height, is_short(data), data, bool(plain))


def is_short(*files: bytes) -> bool:
    """Whether reading the headers of all takes a fraction of a millisecond, whoever made them."""
    return sum(map(len, files)) <= SMALL_BYTES and not any(name in data for data in files for name in _INFLATED)


def decode(data: bytes) -> Rgb:
    """A picture of any size -> uint8 (H, W, 3), as `Probed.decode` gives it."""
    return probe(data).decode()


def check_result(image_format: Format, height: int, width: int) -> None:
    """Raises ResultTooLarge when a picture of that size has no place in the format."""
    if max(height, width) > MAX_SIDE[image_format]:
        raise ResultTooLarge(
            f"The answer would be {width} x {height} pixels; {image_format} holds at most "
            f"{MAX_SIDE[image_format]} a side. Ask for png, or send the line in parts."
        )


def encode(rgb: Rgb, image_format: Format) -> bytes:
    """uint8 (H, W, 3) -> file. PNG and WebP lossless, JPEG quality 95 without chroma subsampling."""
    if image_format == "png":
        return png.encode(rgb)
    if image_format == "webp":
        stream = BytesIO()
        Image.fromarray(rgb).save(stream, "WEBP", lossless=True, method=1, quality=20)  # quality: effort, here
        return stream.getvalue()
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, buffer = cv2.imencode(".jpeg", bgr, _JPEG_FLAGS)
    assert done, f"cv2 could not encode {rgb.shape} as JPEG"
    return buffer.tobytes()


def _open(data: bytes) -> Image.Image:
    if not data:
        raise EmptyBody("The image is empty (0 bytes).")
    try:
        image = Image.open(BytesIO(data), formats=DECODED)
        # Not `n_frames`: counting to the end of a TIFF made of thousands of tiny frames takes seconds.
        many = getattr(image, "is_animated", False)
    except UnidentifiedImageError as exc:
        for name, (offset, magic) in _KNOWN_BUT_NOT_DECODED.items():
            if data[offset : offset + len(magic)] == magic:
                raise UnsupportedFormat(f"{name} is not accepted; send {_accepted()}.") from exc
        raise UndecodableImage(f"These {len(data)} bytes are not an image in {_accepted()}.") from exc
    except Exception as exc:
        raise UndecodableImage(f"The image's header is damaged ({_reason(exc)}).") from exc
    if many and image.format != "MPO":  # a phone's JPEG may carry a second, smaller picture
        image.close()
        raise UnsupportedFormat("The image has several frames; send each as an image of its own.")
    if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        image.close()
        raise UndecodableImage(f"The JPEG has more than {MAX_JPEG_SCANS} scans.")
    return image


def _shown_size(data: bytes) -> tuple[int, int]:
    """Height and width."""
    with _open(data) as image:
        width, height = image.size
        return (width, height) if _lies_on_its_side(image) else (height, width)


def _lies_on_its_side(image: Image.Image) -> bool:
    """Whether EXIF swaps width and height. TIFF's own size says so already; a PNG's late EXIF is not sought."""
    if image.format == "TIFF" or "exif" not in image.info:
        return False
    try:
        return image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except Exception:  # a damaged EXIF block is no reason to refuse a picture
        return False


def _turn_upright(image: Image.Image) -> None:
    with suppress(Exception):  # as above: shown as it lies
        ImageOps.exif_transpose(image, in_place=True)  # a copy would no longer know its TIFF tags


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        image = _grey_of_16_bits(image)
    if image.mode in ("I", "F"):
        raise UnsupportedFormat("Pixels of 32 bits have no agreed white; send 8 or 16 bits a channel.")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("RGB")


def _grey_of_16_bits(image: Image.Image) -> Image.Image:
    """Scaled to 8 bits; convert("RGB") would clip every level above 255 to white.

    TIFF keeps 12 bits in the same mode, and may count from white down; a PNG may name one level transparent.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    levels = np.asarray(image).astype(np.float32) * (255 / (2**bits - 1))
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        levels = 255 - levels
    if isinstance(transparent := image.info.get("transparency"), int):
        levels[np.asarray(image) == transparent] = 255  # over white, as all transparency
    return Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))


def _reason(exc: Exception) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0][:200]


def _accepted() -> str:
    return ", ".join(DECODED[:-1]) + " or " + DECODED[-1]
