"""Encoded pictures -> RGB: the only decoder of the project, used by the service, the commands and the training.

    bytes -> probe (header only, every limit) -> Picture -> decode (pixels, colours, orientation) -> RGB

Pillow decodes the pixels. `model_store/decoding` adds the rules by which a picture is read as a viewer shows it.
"""

import logging
import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from math import inf

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError, features

from model_store.decoding import gif, jpeg, libtiff, png, tiff
from model_store.decoding.colours import to_rgb
from model_store.decoding.exif import SIGNATURES as TIFF_SIGNATURES
from model_store.decoding.exif import orientation_of
from model_store.decoding.header import Header
from model_store.errors import (
    EmptyPicture,
    PictureError,
    PictureTooLarge,
    PictureTooSmall,
    UndecodablePicture,
    UnsupportedPicture,
)
from model_store.pixels import Rgb


def _optional_formats() -> list[str]:
    """AVIF and HEIC, the formats of phones, if this machine can decode them."""
    found = ["AVIF"] if features.check("avif") else []
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        return [*found, "HEIF"]
    except ModuleNotFoundError:
        return found
    except (Exception, SystemExit) as exc:  # a broken package must not stop the other formats
        logging.getLogger("telescope.pictures").warning("HEIC is off: pillow-heif is broken (%s)", exc)
        return found


# No other format is ever decoded: each one is another parser to attack.
DECODED = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", *_optional_formats())
ACCEPTED = ", ".join(DECODED[:-1]) + " or " + DECODED[-1]
_SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
SUFFIXES = tuple(suffix for name in DECODED for suffix in _SUFFIXES[name])  # of file names, in lower case
_HEIF_ADVICE = "send JPEG or PNG, or install the package pillow-heif, which reads it"
_MARKS = {  # format -> position of its mark, mark, and the right call
    "PDF": (0, b"%PDF", "render its pages to pictures, for example with `pdftoppm -r 200 -png`, and send those"),
    "SVG": (0, b"<svg", ""),
    "SVG or XML": (0, b"<?xml", ""),
    "AVIF": (4, b"ftypavi", ""),
    "HEIF": (4, b"ftyphe", _HEIF_ADVICE),
    "HEIF of another brand": (4, b"ftypmif1", _HEIF_ADVICE),
    "MP4 or another video": (4, b"ftyp", "send one frame of it as a picture"),
    "JPEG XL": (0, b"\xff\x0a", ""),
    "JPEG XL in a container": (4, b"JXL ", ""),
    "JPEG 2000": (4, b"jP  ", ""),
    "JPEG 2000 without container": (0, b"\xff\x4f\xff\x51", ""),
    "ICO": (0, b"\0\0\1\0", ""),
    "PSD": (0, b"8BPS", ""),
    "PNM": (0, b"P6\n", ""),
    "OpenEXR": (0, b"v/1\1", ""),
    "JPEG XR": (0, b"II\xbc\1", ""),  # of Windows' screenshots in HDR
    "JPEG": (0, b"\xff\xd8\xff", ""),
}
SMALL_BYTES = 8 * 1024
# In the names of parts that slow reading down: iTXt and zTXt, since 1 KiB of text may inflate to 1 MiB, and colour
# profiles (iCCP, ICCP, ICC_PROFILE), which take 3 ms.
_SLOW = (b"TXt", b"iCCP", b"ICC")
_TURNS = {  # orientation -> turn that makes the stored pixels upright; from 5 on it swaps width and height
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
# Damaged metadata, which any upload can hold, is no news for the log.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Picture:
    """A picture whose header has been read. width, height: upright, as it is shown and decoded.

    is_short: reading the header took a fraction of a millisecond.
    """

    width: int
    height: int
    is_short: bool
    _data: bytes  # and not the opened image, whose inflated text chunks may take a thousand times as much memory

    def decode(self) -> Rgb:
        """-> uint8 (height, width, 3), as the function `decode` gives it.

        Raises UndecodablePicture also when the data holds another size than the header names.
        """
        rgb = decode(self._data)
        if rgb.shape != (self.height, self.width, 3):
            raise UndecodablePicture(
                f"The image's header names {self.width} x {self.height} pixels, and its data holds "
                f"{rgb.shape[1]} x {rgb.shape[0]}."
            )
        return rgb


def probe(data: bytes, *, max_pixels: float = inf, min_side_px: int = 1) -> Picture:
    """Read the header only; no pixel is decoded and nothing large is allocated.

    Raises EmptyPicture, UnsupportedPicture, UndecodablePicture, PictureTooLarge or PictureTooSmall.
    """
    image, header = _open(data, for_pixels=False)
    with image:
        height, width = image.size if header.orientation >= 5 else image.size[::-1]
    if width * height > max_pixels:
        raise PictureTooLarge(width, height, max_pixels)
    if min(width, height) < min_side_px:
        raise PictureTooSmall(
            f"The image is {width} x {height} pixels; each side must be at least {min_side_px} to hold text."
        )
    return Picture(width, height, is_short(data), data)


def is_short(*files: bytes) -> bool:
    """Whether reading the headers of all files takes a fraction of a millisecond, even if they are hostile."""
    return sum(map(len, files)) <= SMALL_BYTES and not any(name in data for data in files for name in _SLOW)


def decode(data: bytes) -> Rgb:
    """A picture of any size -> uint8 (H, W, 3), upright, in sRGB.

    Grey is repeated; 1 to 16 bits, and decimal numbers from 0 to 1, are scaled to 8 bits; palettes and CMYK are
    converted. Transparency is laid over white, or over black or grey where white would hide the text. Raises
    UndecodablePicture when the data is damaged or cut off, UnsupportedPicture for pixels without an agreed white
    or text that no ground shows, and the other errors of `probe`.
    """
    image, header = _open(data, for_pixels=True)
    try:
        _load(image)
        rgb = to_rgb(image, header, low_bytes=_low_bytes(image, header))
        return np.asarray(rgb.transpose(_TURNS[header.orientation]) if header.orientation > 1 else rgb)
    except (MemoryError, PictureError):
        raise
    except Exception as exc:  # Pillow's plugins raise many types while parsing
        raise UndecodablePicture(f"The image data is damaged or cut off ({_reason(exc)}).") from exc
    finally:
        image.close()


def _load(image: Image.Image) -> None:
    if image.format != "TIFF":
        image.load()
        return
    with libtiff.recorded() as errors:
        try:
            image.load()
        except OSError:
            if not errors:  # else they tell more than "decoder error -2"
                raise
    if errors and "not configured" in errors[0]:
        raise UnsupportedPicture(f"The TIFF's compression is not accepted ({errors[0]}); send {ACCEPTED}.")
    if errors:
        raise UndecodablePicture(f"The image data is damaged ({errors[0]}).")


def _low_bytes(image: Image.Image, header: Header) -> Image.Image | None:
    """Of RGB levels of 16 bits, if a PNG names one of them transparent: Pillow keeps the upper bytes alone."""
    if image.mode != "RGB" or header.bits != 16 or "transparency" not in image.info:
        return None
    again = _by_pillow(header.pixels)
    assert isinstance(again, ImageFile.ImageFile)
    again.tile = [part._replace(args="RGB;16L") for part in again.tile]  # reads the other byte of each level
    again.load()
    return again


def _open(data: bytes, *, for_pixels: bool) -> tuple[Image.Image, Header]:
    if not data:
        raise EmptyPicture("The image is empty (0 bytes).")
    try:
        image, header = _opened(data, for_pixels=for_pixels)
        several = jpeg.has_several_pictures(image)
    except PictureError:
        raise
    except UnidentifiedImageError as exc:
        raise _unidentified(data) from exc
    except Exception as exc:
        raise UndecodablePicture(f"The image's header is damaged ({_reason(exc)}).") from exc
    if several:
        image.close()
        raise UnsupportedPicture("The image has several frames; send each as an image of its own.")
    return image, header


def _opened(data: bytes, *, for_pixels: bool) -> tuple[Image.Image, Header]:
    if data.startswith(png.SIGNATURE):
        header = png.read_header(data, for_pixels=for_pixels)
        return _by_pillow(header.pixels), header
    if data.startswith(jpeg.SIGNATURE):
        jpeg.segments(data)
        jpeg.check_scans(data)
    if data.startswith(gif.SIGNATURE):
        gif.check(data)
    header = tiff.read_header(data) if data.startswith(TIFF_SIGNATURES) else Header(data)
    try:
        image = _by_pillow(header.pixels)
    except Exception:
        if not data.startswith(jpeg.SIGNATURE):
            raise
        image = _by_pillow(jpeg.without_metadata(data))
    if image.format == "TIFF":
        tiff.correct(image)
    turn = header.orientation or orientation_of(image)
    image.info.pop("xmp", None)  # Pillow would turn a TIFF's pixels by it once more
    return image, replace(header, orientation=turn, profile=image.info.get("icc_profile"))


def _by_pillow(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data), formats=DECODED)


def _unidentified(data: bytes) -> PictureError:
    if data.startswith(TIFF_SIGNATURES) and tiff.has_size(data):
        return UnsupportedPicture(f"A TIFF of this kind of pixels is not accepted; send {ACCEPTED} of 8 bits.")
    for name, (offset, mark, advice) in _MARKS.items():
        if data[offset : offset + len(mark)] == mark:
            if name in DECODED:
                return UndecodablePicture(f"The {name} is damaged, cut off, or of a kind that is not read.")
            return UnsupportedPicture(f"{name} is not accepted; {advice or f'send {ACCEPTED}'}.")
    return UndecodablePicture(f"These {len(data)} bytes are not an image in {ACCEPTED}.")


def _reason(exc: Exception) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0][:200]
