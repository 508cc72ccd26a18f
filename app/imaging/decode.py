"""Uploaded bytes -> RGB, by Pillow: it reads a header without touching the pixels, and knows EXIF and CMYK.

probe (header only, every limit) -> Probed.decode (pixels, orientation, RGB)
"""

from dataclasses import dataclass
from io import BytesIO
from math import inf

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from app.errors import EmptyBody, ImageTooSmall, TooManyPixels, UndecodableImage, UnsupportedFormat
from app.imaging.encode import Format
from model_store.pixels import Rgb

# No other format is ever decoded: each one is another parser to attack.
DECODED = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
ACCEPTED = ", ".join(DECODED[:-1]) + " or " + DECODED[-1]
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
SMALL_BYTES = 8 * 1024
SMALL_PIXELS = 4096  # 128 x 32
_INFLATED = (b"iCCP", b"iTXt", b"zTXt")  # compressed chunks of a PNG: 1 KiB may become 1 MiB, which takes 3 ms
MAX_JPEG_SCANS = 100  # a progressive JPEG has about ten; each scan costs as much as the whole picture
_TURNS = {  # EXIF orientation -> turn that makes the stored pixels upright; from 5 on it swaps width and height
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow's own guard only warns below twice this size, in a way that is not thread-safe; `probe` refuses first.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Probed:
    """A picture whose header has been read. width, height: upright, as it is shown and decoded.

    is_short: reading the header took a fraction of a millisecond.
    """

    width: int
    height: int
    is_short: bool
    _orientation: int  # as EXIF counts
    _data: bytes  # and not the opened image, whose inflated text chunks may take a thousand times as much memory

    def is_small(self, output: Format) -> bool:
        """Whether decoding it and encoding a picture of twice its size takes at most about a millisecond."""
        return self.is_short and self.width * self.height <= SMALL_PIXELS and output != "webp"

    def decode(self) -> Rgb:
        """-> uint8 (height, width, 3), upright.

        Grey is repeated, transparency is laid over white, CMYK and palettes are converted and 16 bits are
        scaled to 8. Raises UndecodableImage when the data after the header is damaged or missing.
        """
        image = _open(self._data)
        try:
            image.load()
            rgb = _to_rgb(image)
            return np.asarray(rgb.transpose(_TURNS[self._orientation]) if self._orientation in _TURNS else rgb)
        except (MemoryError, UnsupportedFormat):
            raise
        except Exception as exc:  # Pillow's plugins raise many types while parsing
            raise UndecodableImage(f"The image data is damaged or cut off ({_reason(exc)}).") from exc
        finally:
            image.close()


def probe(data: bytes, *, max_pixels: float = inf, min_side_px: int = 1) -> Probed:
    """Read the header only; no pixel is decoded and nothing large is allocated.

    Raises EmptyBody, UnsupportedFormat, UndecodableImage, TooManyPixels or ImageTooSmall.
    """
    with _open(data) as image:
        orientation = _orientation(image)
        height, width = image.size if orientation >= 5 else image.size[::-1]
    if width * height > max_pixels:
        raise TooManyPixels(f"The image has {width} x {height} pixels; at most {max_pixels} are accepted.")
    if min(width, height) < min_side_px:
        raise ImageTooSmall(
            f"The image is {width} x {height} pixels; each side must be at least {min_side_px} to hold text."
        )
    return Probed(width, height, is_short(data), orientation, data)


def is_short(*files: bytes) -> bool:
    """Whether reading the headers of all files takes a fraction of a millisecond, even if they are hostile."""
    return sum(map(len, files)) <= SMALL_BYTES and not any(name in data for data in files for name in _INFLATED)


def decode(data: bytes) -> Rgb:
    """A picture of any size -> uint8 (H, W, 3), as `Probed.decode` gives it."""
    return probe(data).decode()


def _open(data: bytes) -> Image.Image:
    if not data:
        raise EmptyBody("The image is empty (0 bytes).")
    try:
        image = Image.open(BytesIO(data), formats=DECODED)
        # Not `n_frames`: counting to the end of a TIFF made of thousands of tiny frames takes seconds.
        has_several_frames = getattr(image, "is_animated", False)
    except UnidentifiedImageError as exc:
        for name, (offset, magic) in _KNOWN_BUT_NOT_DECODED.items():
            if data[offset : offset + len(magic)] == magic:
                raise UnsupportedFormat(f"{name} is not accepted; send {ACCEPTED}.") from exc
        raise UndecodableImage(f"These {len(data)} bytes are not an image in {ACCEPTED}.") from exc
    except Exception as exc:
        raise UndecodableImage(f"The image's header is damaged ({_reason(exc)}).") from exc
    if has_several_frames and image.format != "MPO":  # a phone's JPEG may carry a second, smaller picture
        image.close()
        raise UnsupportedFormat("The image has several frames; send each as an image of its own.")
    if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        image.close()
        raise UndecodableImage(f"The JPEG has more than {MAX_JPEG_SCANS} scans.")
    if image.format == "TIFF":
        image.info.pop("xmp", None)  # Pillow would turn the pixels by it, but not swap width and height
    return image


def _orientation(image: Image.Image) -> int:
    """From the EXIF or XMP data before the pixels. 1, upright, for a TIFF, which Pillow itself turns."""
    if image.format == "TIFF":
        return 1
    try:
        exif = Image.Image.getexif(image)  # a PNG's own method would also look behind the pixels
        found = exif.get(ExifTags.Base.Orientation)
        return int(found) if found in _TURNS else 1
    except Exception:  # a damaged EXIF block is no reason to refuse a picture
        return 1


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
