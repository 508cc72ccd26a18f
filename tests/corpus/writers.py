"""Files byte by byte: PNG, EXIF, XMP, and the segments of JPEG and WebP."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[Any]  # (H, W) or (H, W, C), unsigned integers
PNG_START = b"\x89PNG\r\n\x1a\n"
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def packed(samples: Samples, bits: int, order: str = ">") -> bytes:
    """Rows of samples, each row padded to whole bytes; bits above 8: whole words, 12: packed."""
    flat = samples.reshape(len(samples), -1)
    if bits in (16, 32):
        return flat.astype(f"{order}u{bits // 8}").tobytes()
    ones = (flat[:, :, None].astype(np.int64) >> np.arange(bits)[::-1]) & 1  # (H, samples, bits)
    return np.packbits(ones.reshape(len(flat), -1).astype(np.uint8), axis=1).tobytes()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


# PNG


def chunk(kind: bytes, data: bytes, *, damaged: bool = False) -> bytes:
    """damaged: with a wrong checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ damaged)


def png(
    samples: Samples,
    bits: int,
    colour: int,
    *,
    before: bytes = b"",
    after: bytes = b"",
    interlaced: bool = False,
    filters: Sequence[int] = (0,),
    idats: Sequence[int] | None = None,
    end: bytes = chunk(b"IEND", b""),
) -> bytes:
    """colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. before, after: chunks around the pixels.

    filters: of the rows in turn. idats: lengths of the first IDATs; the last one takes the rest.
    """
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    data = zlib.compress(png_rows(samples, bits, interlaced=interlaced, filters=filters))
    parts = []
    for length in idats or ():
        parts.append(data[:length])
        data = data[length:]
    pixels = b"".join(chunk(b"IDAT", part) for part in [*parts, data])
    return PNG_START + chunk(b"IHDR", header) + before + pixels + after + end


def png_rows(samples: Samples, bits: int, *, interlaced: bool = False, filters: Sequence[int] = (0,)) -> bytes:
    """The filtered rows, before compression."""
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    step = max(1, bits * channels // 8)
    if not interlaced:
        return _filtered(samples, bits, step, filters)
    passes = (samples[y::dy, x::dx] for y, x, dy, dx in _ADAM7)
    return b"".join(_filtered(part, bits, step, filters) for part in passes if part.size)


def _filtered(samples: Samples, bits: int, step: int, filters: Sequence[int]) -> bytes:
    data = packed(samples, bits)
    rows = np.frombuffer(data, np.uint8).reshape(len(samples), -1).astype(np.int64)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    left, corner = (np.pad(part, ((0, 0), (step, 0)))[:, : rows.shape[1]] for part in (rows, above))
    first = left + above - corner
    distances = np.abs(first - np.stack([left, above, corner]))
    nearest = np.choose(distances.argmin(axis=0), [left, above, corner])
    predictions = [np.zeros_like(rows), left, above, (left + above) // 2, nearest]
    written = []
    for y in range(len(rows)):
        kind = filters[y % len(filters)]
        written.append(bytes([kind]) + ((rows[y] - predictions[kind][y]) % 256).astype(np.uint8).tobytes())
    return b"".join(written)


def palette_chunk(colours: Samples) -> bytes:
    return chunk(b"PLTE", colours.astype(np.uint8).tobytes())


def text_chunk(kind: bytes, key: str, text: bytes) -> bytes:
    """kind: tEXt, zTXt, iTXt, or `iTXz` for a compressed iTXt."""
    name = key.encode() + b"\0"
    body = {
        b"tEXt": text,
        b"zTXt": b"\0" + zlib.compress(text),
        b"iTXt": b"\0\0\0\0" + text,
        b"iTXz": b"\1\0\0\0" + zlib.compress(text),
    }[kind]
    return chunk(b"iTXt" if kind == b"iTXz" else kind, name + body)


def raw_profile(kind: str, data: bytes) -> bytes:
    """ImageMagick's text of a profile: its name, length, and lines of 72 hexadecimal digits."""
    digits = data.hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return "\n".join(["", kind, f"{len(data):8d}", *lines, ""]).encode()


# Orientation


def exif(orientation: int | None, order: str = "<") -> bytes:
    """An EXIF block, a TIFF without pixels, with the orientation alone. None: with another tag instead."""
    tag, value = (274, orientation) if orientation is not None else (296, 2)
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return start + struct.pack(f"{order}HHHIHHI", 1, tag, 3, 1, value, 0, 0)


def xmp(orientation: int, *, element: bool = False) -> bytes:
    """An XMP packet; the orientation as an attribute, or as an element."""
    attribute = "" if element else f' tiff:Orientation="{orientation}"'
    inside = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if element else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        f' xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{attribute}>{inside}</rdf:Description></rdf:RDF>'
        '</x:xmpmeta><?xpacket end="w"?>'
    ).encode()


# JPEG


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """Inserted at the start; a JFIF segment, which must come first, stays before them."""
    at = _behind_jfif(jpeg)
    return jpeg[:at] + b"".join(segments) + jpeg[at:]


def _behind_jfif(jpeg: bytes) -> int:
    return 4 + int.from_bytes(jpeg[4:6], "big") if jpeg[2:4] == b"\xff\xe0" else 2


def exif_segment(data: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + data)


def xmp_segment(packet: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def mpo(first: bytes, second: bytes, kind: int) -> bytes:
    """Two JPEGs in one file with an index of CIPA DC-007. kind: the type of the second one."""
    length = 4 + 8 + 2 + 3 * 12 + 4 + 2 * 16  # of the segment's data
    size = len(first) + 4 + length
    at_index = _behind_jfif(first) + 4 + 4
    entries = struct.pack("<IIIHH", 0x030000 if kind != 0x020002 else kind, size, 0, 0, 0)
    entries += struct.pack("<IIIHH", kind, len(second), size - at_index, 0, 0)
    tags = struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, 2)
    tags += struct.pack("<HHII", 0xB002, 7, 32, 8 + 2 + 36 + 4)
    index = b"MPF\0II*\0" + struct.pack("<IH", 8, 3) + tags + bytes(4) + entries
    return with_segments(first, segment(0xE2, index)) + second


# WebP


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def extended(
    simple: bytes, *, size: tuple[int, int], profile: bytes = b"", exif: bytes = b"", xmp: bytes = b""
) -> bytes:
    """A WebP of one bitstream with metadata. size: stored height and width."""
    height, width = size
    flags = (0x20 if profile else 0) | (0x08 if exif else 0) | (0x04 if xmp else 0)
    header = struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    length = int.from_bytes(simple[16:20], "little")
    found = [(b"VP8X", header), (b"ICCP", profile), (simple[12:16], simple[20 : 20 + length])]
    found += [(b"EXIF", exif), (b"XMP ", xmp)]
    return riff(*(one for one in found if one[1]))
