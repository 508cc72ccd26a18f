"""Decoded pixels of any mode -> RGB, as a picture viewer shows them.

depth -> 8 bits   transparency -> alpha   ICC profile, gamma -> sRGB   colour over its ground -> RGB
"""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from model_store.decoding.grounds import on_ground
from model_store.decoding.header import Header
from model_store.errors import UnsupportedPicture

SAME_LEVELS = 2  # a profile that moves no colour by more is sRGB, rounded
SAME_GAMMA = 0.05  # 2.2, of screens, is written with some rounding
MAX_FLOAT_LEVEL = 1.5  # resampling overshoots white a little; more means that white is not 1
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK"}
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_rgb(image: Image.Image, header: Header, *, low_bytes: Image.Image | None = None) -> Image.Image:
    """A loaded picture -> mode RGB.

    header.profile: ignored if it is damaged or for another kind of pixels. low_bytes: the lower halves of levels
    of 16 bits, of which Pillow keeps the upper ones. Raises UnsupportedPicture for pixels without an agreed white,
    or text that no ground would show.
    """
    gamma = 1 / (2.2 * header.gamma) if header.gamma else 1.0
    if image.mode == "RGB" and not header.profile and gamma == 1 and "transparency" not in image.info:
        return image
    alpha = _alpha(image, header.bits, low_bytes)
    if image.mode.startswith("I;16"):
        image, gamma = _grey_of_16_bits(image, gamma), 1.0
    plain = _in_8_bits(image)
    rgb = _coloured(ImageOps.invert(plain) if header.is_negative else plain, header.profile)
    if abs(gamma - 1) > SAME_GAMMA:
        rgb = rgb.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)
    return on_ground(rgb, alpha) if alpha else rgb


def _alpha(image: Image.Image, bits: int, low_bytes: Image.Image | None) -> Image.Image | None:
    """Mode L; None for a picture that is opaque, or transparent everywhere, which no program means."""
    named = image.info.get("transparency")  # a colour; of a palette also the alpha of every colour
    if image.mode in ("RGBa", "La"):
        alpha = image.convert(image.mode.upper()).getchannel("A")
    elif "A" in image.getbands() and image.mode != "LAB":
        alpha = image.getchannel("A")
    elif named is None:
        return None
    elif image.mode == "P":
        alpha = image.convert("RGBA").getchannel("A")
    else:
        alpha = _unlike(image, named, bits, low_bytes)
    return alpha if alpha.getextrema() not in ((255, 255), (0, 0)) else None


def _unlike(
    image: Image.Image, named: int | tuple[int, ...], bits: int, low_bytes: Image.Image | None
) -> Image.Image:
    """255 where a pixel does not have the named colour, given in the file's own levels."""
    levels = np.asarray(image).astype(np.int32)
    if low_bytes:
        levels = 256 * levels + np.asarray(low_bytes)
    elif image.mode in ("1", "L"):
        named = round(int(named) * (1 if image.mode == "1" else 255) / (2**bits - 1))  # type: ignore[arg-type]
    differs = levels != named
    return Image.fromarray((differs.any(axis=2) if levels.ndim == 3 else differs).astype(np.uint8) * 255)


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Mode L, RGB, CMYK or LAB, without transparency."""
    if image.mode == "F":
        return _grey_of_floats(image)
    if image.mode == "I":
        raise UnsupportedPicture("Whole numbers of 32 bits have no agreed white; send 8 or 16 bits a channel.")
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image
    if image.mode in ("RGBa", "La"):
        image = image.convert(image.mode.upper())
    if image.mode in ("RGBA", "LA"):
        return Image.merge(image.mode[:-1], image.split()[:-1])  # convert("RGB") would do the same for RGBA alone
    return image.convert("L" if image.mode == "1" else "RGB")


def _grey_of_16_bits(image: Image.Image, gamma: float) -> Image.Image:
    """Scaled to 8 bits; convert("L") would clip every level above 255. TIFF keeps 12 bits in the same mode."""
    bits = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample, (16,))[0]
    levels = (np.asarray(image).astype(np.float32) / (2**bits - 1)).clip(0, 1)
    return Image.fromarray(np.rint(255 * levels ** np.float32(gamma)).astype(np.uint8))


def _grey_of_floats(image: Image.Image) -> Image.Image:
    levels = np.asarray(image)
    if not np.isfinite(levels).all() or levels.max() > MAX_FLOAT_LEVEL:
        raise UnsupportedPicture(
            f"The picture's levels run from {levels.min():g} to {levels.max():g}; decimal numbers must run from "
            "0, black, to 1, white. Send 8 or 16 bits a channel."
        )
    return Image.fromarray(np.rint(255 * levels.clip(0, 1)).astype(np.uint8))


def _coloured(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Mode RGB, in sRGB."""
    if image.mode == "LAB":
        return _lab_to_srgb().apply(image)
    transform = _to_srgb(profile, image.mode) if profile else None
    return transform.apply(image) if transform else image.convert("RGB")


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None if the profile is damaged, for another kind of pixels, or sRGB itself."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space != _PROFILE_SPACES[mode]:
            return None
        transform = ImageCms.ImageCmsTransform(source, _SRGB, mode, "RGB")
        sample = _sample(mode)
        moved = np.asarray(transform.apply(sample)).astype(int) - np.asarray(sample.convert("RGB"))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform if np.abs(moved).max() > SAME_LEVELS else None


@lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.ImageCmsTransform(lab, _SRGB, "LAB", "RGB")


def _sample(mode: str) -> Image.Image:
    """Colours from all over a mode's range."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    bands = len(Image.new(mode, (1, 1)).getbands())
    colours = np.stack(np.meshgrid(*[steps[:: 1 if bands < 4 else 3]] * bands), axis=-1).reshape(1, -1, bands)
    return Image.frombytes(mode, (colours.shape[1], 1), colours.tobytes())
