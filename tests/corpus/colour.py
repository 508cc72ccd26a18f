"""Pictures with ICC profiles, CMYK with and without one, and Lab."""

import zlib
from collections.abc import Iterator

import numpy as np

from tests.corpus.drawing import DEEP, GREY, MUTED, RGB, SMOOTH, TEXT, File, read, rounded, saved
from tests.corpus.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    PROPHOTO_RGB,
    SRGB_ITSELF,
    dot_gain,
    grey_profile,
    grey_srgb,
    ink_profile,
    lab_srgb,
    printed,
)
from tests.corpus.tiff_writer import plain_tiff
from tests.corpus.writers import chunk, extended, palette_chunk, png, segment, with_segments

LEVELS = 3  # tolerance of a colour that was converted
_INKS = np.dstack(
    [220 - 2 * SMOOTH[:, :, 0] // 3, SMOOTH[:, :, 1] // 2, SMOOTH[:, :, 2] // 2, np.full_like(GREY, 20)]
)
_INKS = _INKS.astype(np.uint8)
_PLAIN = rounded((255.0 - _INKS[:, :, :3]) * (255.0 - _INKS[:, :, 3:]) / 255)


def icc_chunk(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))


def icc_segments(profile: bytes, size: int = 60_000) -> list[bytes]:
    parts = [profile[at : at + size] for at in range(0, len(profile), size)]
    return [segment(0xE2, b"ICC_PROFILE\0" + bytes([i, len(parts)]) + part) for i, part in enumerate(parts, 1)]


def files() -> Iterator[File]:
    yield from _spaces()
    yield from _greys()
    yield from _inks()
    yield from _ignored()
    lab = np.dstack([60 + GREY // 2, 128 + (GREY // 8).astype(int) - 15, 128 + 10 + 0 * GREY.astype(int)])
    stored = (lab + np.array([0, 128, 128])) % 256  # a and b are signed
    expected = lab_srgb((lab - (0, 128, 128)) * (100 / 255, 1, 1))
    yield read("tiff lab", plain_tiff(stored, 8, 8), expected, 4)


def _spaces() -> Iterator[File]:
    spaces = {"adobe rgb": ADOBE_RGB, "prophoto": PROPHOTO_RGB, "display p3": DISPLAY_P3}
    lossless = saved(MUTED, "WEBP", lossless=True)
    jpeg = saved(MUTED, "JPEG", quality=100, subsampling=0)
    for name, space in spaces.items():
        profile, expected = space.profile(), space.srgb(MUTED)
        yield read(f"png {name}", png(MUTED, 8, 2, before=icc_chunk(profile)), expected, LEVELS)
        yield read(f"jpeg {name}", with_segments(jpeg, *icc_segments(profile)), expected, 2 * LEVELS)
        data = extended(lossless, size=MUTED.shape[:2], profile=profile)
        yield read(f"webp {name}", data, expected, LEVELS)
        yield read(f"tiff {name}", plain_tiff(MUTED, 8, 2, t34675=profile), expected, LEVELS)
    adobe = ADOBE_RGB.profile()
    data = with_segments(jpeg, *icc_segments(adobe, 200))
    yield read("jpeg adobe rgb in several segments", data, ADOBE_RGB.srgb(MUTED), 2 * LEVELS)
    colours = MUTED.reshape(-1, 3)[::97][:16]
    indices = (GREY // 16).astype(np.uint8)
    data = png(indices, 4, 3, before=icc_chunk(adobe) + palette_chunk(colours))
    yield read("png palette adobe rgb", data, ADOBE_RGB.srgb(colours)[indices], LEVELS)
    deep = MUTED.astype(np.uint16) * 257
    yield read("png rgb 16 adobe rgb", png(deep, 16, 2, before=icc_chunk(adobe)), ADOBE_RGB.srgb(MUTED), LEVELS)
    alpha = np.where(TEXT, 0, 255).astype(np.uint8)
    ground = np.where(TEXT[:, :, None], 255, ADOBE_RGB.srgb(MUTED))  # a light letter would lie on black instead
    data = png(np.dstack([MUTED, alpha]), 8, 6, before=icc_chunk(adobe))
    yield read("png rgba adobe rgb with a hole", data, ground, LEVELS)
    data = png(MUTED, 8, 2, before=chunk(b"gAMA", (100_000).to_bytes(4, "big")) + icc_chunk(adobe))
    yield read("png adobe rgb and gAMA", data, ADOBE_RGB.srgb(MUTED), LEVELS)
    srgb = SRGB_ITSELF.profile()
    yield read("png srgb profile", png(RGB, 8, 2, before=icc_chunk(srgb)), RGB, 1)
    yield read(
        "jpeg srgb profile",
        with_segments(saved(SMOOTH, "JPEG", quality=100, subsampling=0), *icc_segments(srgb)),
        SMOOTH,
        4,
    )
    yield read("tiff srgb profile", plain_tiff(RGB, 8, 2, t34675=srgb), RGB, 1)


def _greys() -> Iterator[File]:
    curves = {"gamma 1.0": np.array([0.0, 1.0]), "dot gain 20 %": dot_gain(0.2)}
    for name, curve in curves.items():
        profile, expected = grey_profile(curve), grey_srgb(GREY, curve)
        yield read(f"png grey {name}", png(GREY, 8, 0, before=icc_chunk(profile)), expected, LEVELS)
        yield read(f"tiff grey {name}", plain_tiff(GREY, 8, 1, t34675=profile), expected, LEVELS)
        smooth = SMOOTH[:, :, 1]
        jpeg = with_segments(saved(smooth, "JPEG", quality=100), *icc_segments(profile))
        yield read(f"jpeg grey {name}", jpeg, grey_srgb(smooth, curve), 2 * LEVELS)
        data = png(np.dstack([GREY, np.full_like(GREY, 255)]), 8, 4, before=icc_chunk(profile))
        yield read(f"png grey alpha {name}", data, expected, LEVELS)
    profile = grey_profile(dot_gain(0.2))
    bright = np.clip(DEEP, 20_000, None).astype(np.uint16)
    data = png(bright, 16, 0, before=icc_chunk(profile))
    yield read("png grey 16 dot gain 20 %", data, grey_srgb(bright / 257, dot_gain(0.2)), LEVELS)


def _inks() -> Iterator[File]:
    adobe = saved(_INKS, "JPEG", mode="CMYK", quality=100)  # Pillow inverts, as Adobe does
    yield read("jpeg cmyk of adobe", adobe, _PLAIN, 5)
    mark = adobe.index(b"\xff\xee")
    unmarked = adobe[:mark] + adobe[mark + 16 :]
    yield read("jpeg cmyk without the mark of adobe", unmarked, _PLAIN, 5)  # browsers take it for Adobe's, too
    yield read("tiff cmyk", plain_tiff(_INKS, 8, 5), _PLAIN, 1)
    yield read("tiff cmyk 16", plain_tiff(_INKS.astype(np.uint16) * 257, 16, 5), _PLAIN, 1)
    yield read("jpeg ycck of adobe", ycck(_INKS), _PLAIN, 6)
    profile, expected = ink_profile(), printed(_INKS)
    yield read("jpeg cmyk with profile", with_segments(adobe, *icc_segments(profile)), expected, 6)
    yield read("tiff cmyk with profile", plain_tiff(_INKS, 8, 5, t34675=profile), expected, 4)


def ycck(inks: np.ndarray) -> bytes:
    """An Adobe JPEG of CMYK as YCbCr and K: the components are written as they are, then named YCCK."""
    red, green, blue = np.moveaxis(inks[:, :, :3].astype(float), 2, 0)  # of Adobe's inverted CMY, inverted again
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    stored = np.dstack([luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402, 255.0 - inks[:, :, 3]])
    data = saved(255 - rounded(stored), "JPEG", mode="CMYK", quality=100)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    return data[:at] + b"\2" + data[at + 1 :]


def _ignored() -> Iterator[File]:
    adobe, grey, inks = ADOBE_RGB.profile(), grey_profile(dot_gain(0.2)), ink_profile(5)
    smooth = saved(SMOOTH, "JPEG", quality=100, subsampling=0)
    profiles = {
        "cut off": adobe[: len(adobe) // 2],
        "of garbage": b"garbage" * 40,
        "empty": b"",
        "with a broken table": adobe[:128] + b"\xff" * (len(adobe) - 128),
        "for grey": grey,
        "for cmyk": inks,
    }
    for name, profile in profiles.items():
        yield read(f"png profile {name}", png(RGB, 8, 2, before=icc_chunk(profile)), RGB)
        yield read(f"jpeg profile {name}", with_segments(smooth, *icc_segments(profile or b" ")), SMOOTH, 4)
        if profile:
            yield read(f"tiff profile {name}", plain_tiff(RGB, 8, 2, t34675=profile), RGB)
    yield read("png grey profile for rgb", png(GREY, 8, 0, before=icc_chunk(adobe)), GREY)
    yield read("tiff cmyk profile for rgb", plain_tiff(_INKS, 8, 5, t34675=adobe), _PLAIN, 1)
    missing = icc_segments(adobe, 200)[1:]
    yield read("jpeg profile whose first segment is missing", with_segments(smooth, *missing), SMOOTH, 4)
    data = png(RGB, 8, 2, before=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50_000_000))))
    yield read("png profile of 50 MB", data, RGB)
