"""AVIF and HEIC, where this machine decodes them: colours, transparency, orientation and sequences."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, features

from model_store.pictures import DECODED  # which registers HEIC with Pillow
from tests.corpus.drawing import SMOOTH, STORED, TEXT, File, over, read, refused, saved
from tests.corpus.writers import exif

LEVELS = 5  # of tolerance; both store YCbCr


def files() -> Iterator[File]:
    if "AVIF" in DECODED and features.check("avif"):
        yield from _kinds("avif", {"format": "AVIF", "subsampling": "4:4:4", "quality": 95})
        frames = [Image.fromarray(SMOOTH[::-1].copy())]
        moving = saved(SMOOTH, "AVIF", save_all=True, append_images=frames)
        yield refused("avif of two frames", moving, "unsupported_format", says="frames")
    if "HEIF" in DECODED:
        yield from _kinds("heic", {"format": "HEIF", "chroma": 444, "quality": 95})


def _kinds(name: str, options: dict[str, Any]) -> Iterator[File]:
    image_format = str(options.pop("format"))
    plain = saved(SMOOTH, image_format, **options)
    yield read(f"{name} rgb", plain, SMOOTH, LEVELS)
    grey = SMOOTH[:, :, 1]
    yield read(f"{name} grey", saved(grey, image_format, **options), grey, LEVELS)
    alpha = np.where(TEXT, 255, 128).astype(np.uint8)
    rgba = saved(np.dstack([SMOOTH, alpha]), image_format, **options)
    yield read(f"{name} alpha", rgba, over(255, SMOOTH, alpha), 2 * LEVELS)
    for turn in (3, 6):
        turned = np.ascontiguousarray(STORED[turn](SMOOTH))
        data = saved(turned, image_format, exif=b"Exif\0\0" + exif(turn), **options)
        yield read(f"{name} turned by {turn}", data, SMOOTH, LEVELS)
    yield refused(f"{name} cut off at half", plain[: len(plain) // 2], "undecodable_image")
