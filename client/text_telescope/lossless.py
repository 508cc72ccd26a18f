"""A PIL image or an array -> a lossless file that the service reads as it would read the file of the image.

The pixels are kept, and so are the orientation, the ICC profile, the transparency and the gamma. Needs Pillow.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from itertools import count
from typing import TYPE_CHECKING, Any

from PIL import Image, MpoImagePlugin, PngImagePlugin, TiffImagePlugin
from PIL.ExifTags import Base

if TYPE_CHECKING:
    import numpy.typing as npt

    from text_telescope.pictures import Channels

_MP_ENTRIES = 0xB002  # a tag of CIPA DC-007
_PNG_MODES = ("1", "L", "LA", "RGB", "RGBA", "I;16", "I;16B")
_TIFF_MODES = ("CMYK", "LAB")
_CONVERTED = {
    "PA": "RGBA",
    "RGBa": "RGBA",
    "La": "LA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
}
_TO_8_BITS = {  # no 32-bit level is an agreed white
    "I": 'image.point(lambda level: level / 256).convert("L") if white is 65535',
    "F": 'image.point(lambda level: level * 255).convert("L") if white is 1',
}


def of_image(image: Image.Image) -> bytes:
    """A PNG, or a TIFF for CMYK and LAB; empty for an image without area.

    Raises OSError if the image's file is closed or damaged, and TypeError for an image of several frames or of a
    mode without a fixed white.
    """
    if 0 in image.size:  # a detector's box without area, which Pillow cannot write
        return b""
    if image.mode in _TO_8_BITS:
        raise _refused(image, f"convert it to 8 bits first, e.g. {_TO_8_BITS[image.mode]}")
    try:
        is_single = not _has_several_frames(image)
        if is_single:
            image.load()
    except Exception as exc:  # Pillow's plugins raise many types while parsing
        raise OSError(f"The PIL image is closed, damaged or cut off ({str(exc) or type(exc).__name__}).") from exc
    if not is_single:
        raise _refused(image, "it has several frames; seek to one and give image.copy()")
    try:
        return _written(_in_kept_mode(image), _exif(image))
    except ValueError as exc:  # transparency of a wrong type
        raise _refused(image, f"{exc}; correct or delete image.info['transparency']") from exc


def of_array(array: npt.NDArray[Any], channels: Channels) -> bytes:
    """array: uint8, grey (H, W) or (H, W, 1), colours (H, W, 3), or colours and alpha (H, W, 4)."""
    count = 1 if array.ndim == 2 else array.shape[-1]
    if array.dtype != "uint8" or array.ndim not in (2, 3) or count not in (1, 3, 4):
        raise TypeError(
            f"An array must be uint8 (H, W, 3), (H, W, 4), (H, W, 1) or (H, W); this one is {array.dtype} "
            f"{array.shape}.{_right_call(array)}"
        )
    if count == 1:
        array = array.reshape(array.shape[:2])
    elif channels == "bgr":
        array = array[:, :, ::-1] if count == 3 else array[:, :, [2, 1, 0, 3]]
    return of_image(Image.fromarray(array))


def _right_call(array: npt.NDArray[Any]) -> str:
    if array.ndim == 4 or array.dtype == object:
        return " Give several pictures as list(array)."
    if array.ndim == 1:
        return " If it holds an encoded file, give array.tobytes()."
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        return " If its channels come first, give numpy.moveaxis(array, 0, -1)."
    if array.dtype.kind in "bf":
        return " If its white is 1, give (255 * array).astype(numpy.uint8)."
    if array.dtype == "uint16":
        return " If its white is 65535, give (array // 257).astype(numpy.uint8)."
    if array.dtype == "uint8":
        return " Give its colours alone, for example array[:, :, :3], or array[:, :, 0] for grey."
    return " Scale its levels to 0 to 255 and give array.astype(numpy.uint8)."


def _written(image: Image.Image, exif: Image.Exif) -> bytes:
    stream = BytesIO()
    if image.mode in _TIFF_MODES:
        image.save(stream, "TIFF", compression="tiff_adobe_deflate", exif=exif)
    else:  # on a crop, more effort costs more time than the bytes saved
        image.save(stream, "PNG", compress_level=1, pnginfo=_gamma(image), exif=exif)
    return stream.getvalue()


def _in_kept_mode(image: Image.Image) -> Image.Image:
    _check_tiff(image)
    if image.mode.startswith("I;16") and image.mode not in _PNG_MODES:
        return image.convert("I").convert("I;16")  # by way of I, since Pillow would clip the levels at 255
    if image.mode in _PNG_MODES + _TIFF_MODES:
        return image
    if image.mode == "P":
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode not in _CONVERTED:
        raise _refused(image, "give image.convert('RGB')")
    return image.convert(_CONVERTED[image.mode])


def _check_tiff(image: Image.Image) -> None:
    """Refuses a TIFF whose pixels Pillow keeps in another form than the mode says, or reads wrongly."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(Base.BitsPerSample, (16,))
    if image.mode.startswith("I;16") and (bits != (16,) or tags.get(Base.PhotometricInterpretation) == 0):
        reason = "its white is not 65535"  # 12 bits in 16, or levels that count from white down
    elif image.mode == "P" and max(tags.get(Base.ColorMap, (256,))) < 256:
        reason = "Pillow makes its palette black"
    elif tags.get(Base.PlanarConfiguration) == 2 and bits[0] == 16 and tags.get(Base.Compression) == 1:
        reason = "Pillow takes its planes of 16 bits for planes of 8"
    else:
        return
    raise _refused(image, f"{reason}; give the TIFF's path or bytes")


def _exif(image: Image.Image) -> Image.Exif:
    """The orientation alone; other entries may be damaged, large or private."""
    exif = Image.Exif()
    with suppress(Exception):  # a damaged EXIF block is no reason to refuse a picture
        orientation = image.getexif().get(Base.Orientation)
        if orientation in range(2, 9):
            exif[Base.Orientation] = orientation
    return exif


def _gamma(image: Image.Image) -> PngImagePlugin.PngInfo | None:
    if "gamma" not in image.info:
        return None
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", round(image.info["gamma"] * 100_000)))
    if "srgb" in image.info:  # goes before gamma
        chunks.add(b"sRGB", bytes([image.info["srgb"]]))
    return chunks


def _has_several_frames(image: Image.Image) -> bool:
    """Thumbnails, previews and masks beside the picture do not count."""
    try:
        if not getattr(image, "is_animated", False):
            return False
    except Exception:
        if not isinstance(image, TiffImagePlugin.TiffImageFile):  # whose list of pages may end in garbage
            raise
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _has_several_pages(image)
    if isinstance(image, MpoImagePlugin.MpoImageFile):  # a phone's JPEG
        others = (image.mpinfo or {})[_MP_ENTRIES][1:]
        return any(str(other["Attribute"]["MPType"]).startswith("Multi-Frame") for other in others)
    return True


def _has_several_pages(image: TiffImagePlugin.TiffImageFile) -> bool:
    with Image.open(image._fp) as again:  # since a seek in `image` itself would discard its pixels
        for number in count():
            try:
                again.seek(number)
            except SyntaxError:  # a mask, perhaps, whose pixels Pillow cannot read; its tags are known
                pass
            except Exception:  # the end, or garbage behind the last page
                return False
            if number != image.tell() and _is_page(again):
                return True
    raise AssertionError("unreachable")


def _is_page(frame: Image.Image) -> bool:
    tags = getattr(frame, "tag_v2", {})
    return not tags.get(Base.NewSubfileType, 0) & 0b101 and tags.get(Base.SubfileType) != 2


def _refused(image: Image.Image, reason: str) -> TypeError:
    return TypeError(f"A PIL image of mode {image.mode} is not sent as it is: {reason}.")
