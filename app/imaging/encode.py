"""RGB -> the bytes of a PNG, JPEG or WebP.

JPEG is written by cv2. WebP is written by Pillow: cv2 does not let one choose the effort, and takes three to eight
times as long. PNG is written here on top of ISA-L: cv2 and Pillow compress by zlib, which takes four times as long
for as few bytes (docs/performance.md). Its format: PNG Specification (Third Edition), W3C, 2025.
"""

from io import BytesIO
from struct import Struct
from typing import Literal
from zlib import crc32

import cv2
import numpy as np
from isal import isal_zlib
from PIL import Image

from app.errors import ResultTooLarge
from model_store.pixels import Rgb

Format = Literal["png", "jpeg", "webp"]
MEDIA_TYPES: dict[Format, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
MAX_SIDE: dict[Format, int] = {"png": 1_000_000, "jpeg": 65_500, "webp": 16_383}  # libpng, libjpeg, WebP
_JPEG_FLAGS = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,  # coloured text loses its edges to chroma subsampling
]
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_LENGTH = Struct(">I")
_PNG_HEADER = Struct(">II5B")  # width, height, bits, colour type, compression, filter, interlace
_PNG_RGB = 2
_PNG_UP = 2  # the filter: each byte less the one above it
_ISAL_LEVEL = 1  # of 0 to 3; higher levels save hardly any bytes here


def check_result(image_format: Format, height: int, width: int) -> None:
    """Raises ResultTooLarge for a picture that is larger than the format allows."""
    if max(height, width) > MAX_SIDE[image_format]:
        remedy = "Send" if image_format == "png" else "Ask for png, or send"
        raise ResultTooLarge(
            f"The result would be {width} x {height} pixels; {image_format} holds at most "
            f"{MAX_SIDE[image_format]} a side. {remedy} the line in parts."
        )


def encode(rgb: Rgb, image_format: Format) -> bytes:
    """uint8 (H, W, 3) -> file. PNG and WebP lossless, JPEG quality 95 without chroma subsampling."""
    if image_format == "png":
        return _png(rgb)
    if image_format == "webp":
        stream = BytesIO()
        Image.fromarray(rgb).save(stream, "WEBP", lossless=True, method=1, quality=20)  # quality: effort, here
        return stream.getvalue()
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, buffer = cv2.imencode(".jpeg", bgr, _JPEG_FLAGS)
    assert done, f"cv2 could not encode {rgb.shape} as JPEG"
    return buffer.tobytes()


def _png(rgb: Rgb) -> bytes:
    height, width, channels = rgb.shape
    rows = rgb.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = _PNG_UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = _PNG_HEADER.pack(width, height, 8, _PNG_RGB, 0, 0, 0)
    pixels = isal_zlib.compress(filtered, _ISAL_LEVEL)
    return b"".join((_PNG_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", pixels), *_chunk(b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return _PNG_LENGTH.pack(len(data)), kind, data, _PNG_LENGTH.pack(crc32(data, crc32(kind)))
