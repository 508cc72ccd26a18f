"""BMP and GIF byte by byte."""

import struct
from collections.abc import Sequence

import numpy as np

from tests.corpus.writers import Samples, packed, pieces


def bmp(
    rows: bytes,
    size: tuple[int, int],
    bits: int,
    *,
    palette: bytes = b"",
    compression: int = 0,
    masks: Sequence[int] = (),
    top_down: bool = False,
) -> bytes:
    """size: height and width. palette: BGR0. masks: of red, green and blue; with alpha, in a BITMAPV4HEADER."""
    height, width = size
    info = struct.pack(
        "<iiHHIIiiII",
        width,
        -height if top_down else height,
        1,
        bits,
        compression,
        len(rows),
        0,
        0,
        len(palette) // 4,
        0,
    )
    fields = b"".join(struct.pack("<I", mask) for mask in masks)
    if len(masks) == 4:
        info, fields = info + fields + b"BGRs" + bytes(48), b""
    header = struct.pack("<I", len(info) + 4) + info + fields + palette
    offset = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + rows


def bmp_rows(samples: Samples, bits: int, *, top_down: bool = False) -> bytes:
    """Rows from the bottom up, each padded to four bytes."""
    ordered = samples if top_down else samples[::-1]
    rows = [packed(row[None], bits, "<") for row in ordered]
    return b"".join(row + bytes(-len(row) % 4) for row in rows)


def gif(
    *frames: bytes, size: tuple[int, int], palette: Samples | None = None, loops: bool = False, end: bytes = b";"
) -> bytes:
    height, width = size
    table = b"" if palette is None else palette.astype(np.uint8).tobytes()
    flags = 0x70 | _table_flags(table)
    netscape = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" if loops else b""
    return (
        b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0) + table + netscape + b"".join(frames) + end
    )


def _table_flags(table: bytes) -> int:
    return 0x80 | ((len(table) // 3).bit_length() - 2) if table else 0


def gif_frame(
    indices: Samples, *, palette: Samples | None = None, interlaced: bool = False, transparent: int | None = None
) -> bytes:
    """An image of 8 bits a pixel. The codes are never longer than 9 bits, since the table is often cleared."""
    height, width = indices.shape
    control = b""
    if transparent is not None:
        control = b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    table = b"" if palette is None else palette.astype(np.uint8).tobytes()
    flags = _table_flags(table) | 0x40 * interlaced
    ordered = indices
    if interlaced:
        ordered = np.vstack([indices[0::8], indices[4::8], indices[2::4], indices[1::2]])
    body = b"".join(bytes([len(part)]) + part for part in pieces(gif_codes(ordered), 255))
    return control + b"," + struct.pack("<HHHHB", 0, 0, width, height, flags) + table + b"\x08" + body + b"\0"


def gif_codes(indices: Samples) -> bytes:
    codes: list[int] = []
    for number, index in enumerate(indices.reshape(-1).tolist()):
        if number % 200 == 0:
            codes.append(256)
        codes.append(index)
    codes.append(257)
    ones = ((np.array(codes)[:, None] >> np.arange(9)) & 1).astype(np.uint8)
    return np.packbits(ones.reshape(-1), bitorder="little").tobytes()
