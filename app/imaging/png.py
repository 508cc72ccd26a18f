"""PNG, fast: cv2 and Pillow compress by zlib, which takes four times as long as ISA-L for as few bytes, and Pillow
reads a small picture twice as slowly as cv2.

Format: PNG Specification (Third Edition), W3C, 2025. What is gained, and what it costs: docs/performance.md.
"""

from struct import Struct
from zlib import crc32

import cv2
import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError

from model_store.pixels import Rgb

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LENGTH = Struct(">I")
_HEADER = Struct(">II5B")  # width, height, bits, colour type, compression, filter, interlace
_GREY, _RGB = 0, 2
_UP = 2  # the filter: each byte less the one above it
_LEVEL = 1  # of 0 to 3; the higher ones spare next to nothing here
_TO_HEADER = _SIGNATURE + b"\0\0\0\rIHDR"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_AROUND_PIXELS = 57  # bytes of a plain file beside the compressed pixels
_PIXELS_AT = 41
_MAX_SIDE = 1_000_000  # libpng's
_WINDOW = 32 * 1024  # deflate's largest
_PAETH = 4  # the last of the filters


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a plain file: grey or RGB of 8 bits, IHDR, one IDAT, IEND and nothing else.

    None: it is another, and may have more to it.
    """
    if len(data) <= _AROUND_PIXELS or not data.startswith(_TO_HEADER) or not data.endswith(_END):
        return None
    width, height, depth, colour, *methods = _HEADER.unpack_from(data, len(_TO_HEADER))
    pixels = _AROUND_PIXELS + _LENGTH.unpack_from(data, _PIXELS_AT - 8)[0] == len(data)
    plain = (
        depth == 8
        and colour in (_GREY, _RGB)
        and not any(methods)
        and data[_PIXELS_AT - 4 : _PIXELS_AT] == b"IDAT"
    )
    return (height, width) if plain and pixels and 0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE else None


def decode_plain(data: bytes) -> Rgb | None:
    """A plain file -> uint8 (H, W, 3). None: it is damaged.

    cv2 is only given what libpng cannot object to, since libpng writes its objections to stderr, between the logs.
    """
    size = plain_size(data)
    assert size, "not a plain file"
    height, width = size
    stride = 1 + width * (3 if data[len(_TO_HEADER) + 9] == _RGB else 1)
    view = memoryview(data)
    checks = (view[12:33], view[_PIXELS_AT - 4 : -12])
    window = 1 << (data[_PIXELS_AT] >> 4) + 8  # ISA-L does not look at it
    if window < min(height * stride, _WINDOW) or any(crc32(c[:-4]) != _LENGTH.unpack(c[-4:])[0] for c in checks):
        return None
    inflate = isal_zlib.decompressobj()
    try:
        rows = inflate.decompress(view[_PIXELS_AT:-16], height * stride + 1)
    except IsalError:  # type: ignore[misc]  # its stub tells of an object, not of a class
        return None
    if len(rows) != height * stride or not inflate.eof or inflate.unused_data or max(rows[::stride]) > _PAETH:
        return None
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))


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
