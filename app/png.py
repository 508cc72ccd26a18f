"""PNG, written fast: cv2 and Pillow compress by zlib, which takes four times as long as ISA-L for as few bytes.

Format: PNG Specification (Third Edition), W3C, 2025. What is gained, and what it costs: docs/performance.md.
"""

from struct import Struct
from zlib import crc32

import numpy as np
from isal import isal_zlib

from model_store.pixels import Rgb

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LENGTH = Struct(">I")
_HEADER = Struct(">II5B")  # width, height, bits, colour type, compression, filter, interlace
_RGB = 2
_UP = 2  # the filter: each byte less the one above it
_LEVEL = 1  # of 0 to 3; the higher ones spare next to nothing here


def encode(rgb: Rgb) -> bytes:
    """uint8 (H, W, 3) -> file, lossless."""
    height, width, channels = rgb.shape
    rows = rgb.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = _HEADER.pack(width, height, 8, _RGB, 0, 0, 0)
    pixels = isal_zlib.compress(filtered, _LEVEL)
    return b"".join((_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", pixels), *_chunk(b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return _LENGTH.pack(len(data)), kind, data, _LENGTH.pack(crc32(data, crc32(kind)))
