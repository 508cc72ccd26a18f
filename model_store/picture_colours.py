"""Decoded pixels of any mode -> RGB, as a picture viewer shows them.

depth -> 8 bits   transparency -> alpha   ICC profile, gamma -> sRGB   colour over its ground -> RGB
"""

from functools import lru_cache
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms

from model_store.errors import UnsupportedPicture

Levels = npt.NDArray[np.uint8]

GROUNDS = (255, 0, 128)  # white, black and grey, in the order of preference
CLEAR_LEVELS = 64  # a step of grey levels between text and ground; more makes it no clearer
KEPT = 0.75  # of the steps, with which a ground is taken
LEAST_KEPT = 0.5  # of the steps; a picture that loses more on every ground is refused
SAME_LEVELS = 2  # a profile that moves no colour by more is sRGB, rounded
MAX_FLOAT_LEVEL = 1.5  # resampling overshoots white a little; more means that white is not 1
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK"}
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_rgb(image: Image.Image, *, profile: bytes | None, bits: int) -> Image.Image:
    """A loaded picture -> mode RGB.

    profile: ICC; ignored if it is damaged or for another kind of pixels. bits: of a grey sample in the file.
    Raises UnsupportedPicture for pixels without an agreed white, or text that no ground would show.
    """
    if image.mode == "RGB" and not profile and not {"transparency", "gamma"} & image.info.keys():
        return image
    alpha = _alpha(image, bits)
    rgb = _coloured(_in_8_bits(image), profile)
    gamma = image.info.get("gamma")
    if gamma and not profile and "srgb" not in image.info and abs(1 / (2.2 * gamma) - 1) > 0.05:
        rgb = rgb.point([round(255 * (level / 255) ** (1 / (2.2 * gamma))) for level in range(256)] * 3)
    return _on_ground(rgb, alpha) if alpha else rgb


def _alpha(image: Image.Image, bits: int) -> Image.Image | None:
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
        alpha = _unlike(image, named, bits)
    return alpha if alpha.getextrema() not in ((255, 255), (0, 0)) else None


def _unlike(image: Image.Image, named: int | tuple[int, ...], bits: int) -> Image.Image:
    """255 where a pixel does not have the named colour, given in the file's own levels."""
    levels = np.asarray(image).astype(np.int32)
    if image.mode in ("1", "L"):
        top = 1 if image.mode == "1" else 255
        named = round(int(named) * top / (2**bits - 1))  # type: ignore[arg-type]
    elif image.mode == "RGB":
        levels = levels.reshape(*levels.shape[:2], 3)
        named = tuple(level >> 8 if bits == 16 else level for level in named)  # type: ignore[union-attr]
        return Image.fromarray((levels != named).any(axis=2).astype(np.uint8) * 255)
    return Image.fromarray((levels != named).astype(np.uint8) * 255)


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Mode L, RGB, CMYK or LAB, without transparency."""
    if image.mode.startswith("I;16"):
        return _grey_of_16_bits(image)
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


def _grey_of_16_bits(image: Image.Image) -> Image.Image:
    """Scaled to 8 bits; convert("L") would clip every level above 255 to white.

    TIFF keeps 12 bits in the same mode, and may count from white down.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    levels = np.asarray(image).astype(np.float32) * (255 / (2**bits - 1))
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        levels = 255 - levels
    return Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))


def _grey_of_floats(image: Image.Image) -> Image.Image:
    levels = np.asarray(image)
    if not np.isfinite(levels).all() or levels.max() > MAX_FLOAT_LEVEL:
        raise UnsupportedPicture(
            f"The picture's levels run from {levels.min():g} to {levels.max():g}; decimal numbers must run from "
            "0, black, to 1, white. Send 8 or 16 bits a channel."
        )
    if getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0:
        levels = 1 - levels
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


def _on_ground(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """The picture over white if that keeps its text visible, else over black or grey.

    Raises UnsupportedPicture if each of them would hide most of it.
    """
    grey, opacity = np.asarray(rgb.convert("L")), np.asarray(alpha)
    steps = np.stack([_steps(grey, opacity, ground) for ground in GROUNDS])  # (3, n)
    visible = steps.max(axis=0).sum()
    kept = steps.sum(axis=1) / visible if visible else np.zeros(len(GROUNDS))
    if kept.max() < LEAST_KEPT and (visible or _steps(grey, np.full_like(opacity, 255), 0).any()):
        raise UnsupportedPicture(
            "The picture's content is nearly transparent, or vanishes on any single ground; send it without "
            "transparency, laid over a ground on which it can be read."
        )
    ground = GROUNDS[int(np.argmax(kept >= min(KEPT, kept.max())))]
    return Image.composite(rgb, Image.new("RGB", rgb.size, (ground,) * 3), alpha)


def _steps(grey: Levels, opacity: Levels, ground: int) -> npt.NDArray[np.int32]:
    """The steps between neighbouring pixels of the picture over a ground, each at most CLEAR_LEVELS.

    Of a large picture, some rows and columns, evenly spread.
    """
    every = 1 + grey.size // 1_000_000
    found = []
    for lines in (np.s_[::every], np.s_[:, ::every]):
        opaque = opacity[lines].astype(np.int32)
        shown = (grey[lines] * opaque + ground * (255 - opaque)) // 255
        found.append(np.abs(np.diff(shown, axis=1 if lines == np.s_[::every] else 0)).ravel())
    steps: npt.NDArray[np.int32] = np.minimum(np.concatenate(found), CLEAR_LEVELS)
    return np.where(steps > 1, steps, 0)  # rounding
