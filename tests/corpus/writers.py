"""Files byte by byte: PNG, TIFF, BMP, GIF, EXIF, XMP, and the segments of JPEG and WebP."""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
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


# TIFF

Tags = Mapping[int, Any]  # a number, numbers, or bytes
_LONG = {256, 257, 273, 278, 279, 322, 323, 324, 325, 254}
_BYTES = {700: 1, 34675: 7}
_SIZES = {1: 1, 3: 2, 4: 4, 7: 1, 16: 8}


def tiff(*pages: tuple[Tags, Sequence[bytes]], order: str = "<", big: bool = False) -> bytes:
    """Pages of tags and strips; with tag 322, the strips are tiles. big: BigTIFF."""
    head = 16 if big else 8
    data = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42))
    data += struct.pack(f"{order}HHQ", 8, 0, 0) if big else bytes(4)
    link = 8 if big else 4  # the place of the next directory's offset
    for tags, strips in pages:
        places = []
        for strip in strips:
            places.append(len(data))
            data += strip + bytes(len(strip) % 2)
        tiled = 322 in tags
        own = {**tags, 324 if tiled else 273: places, 325 if tiled else 279: [len(strip) for strip in strips]}
        entries = []
        for tag, value in sorted(own.items()):
            kind, count, content = _tiff_value(tag, value, order)
            inline = 8 if big else 4
            if len(content) > inline:
                at = len(data)
                data += content + bytes(len(content) % 2)
                content = struct.pack(f"{order}{'Q' if big else 'I'}", at)
            entries.append(
                struct.pack(f"{order}HH{'Q' if big else 'I'}", tag, kind, count) + content.ljust(inline, b"\0")
            )
        struct.pack_into(f"{order}{'Q' if big else 'I'}", data, link, len(data))
        data += struct.pack(f"{order}{'Q' if big else 'H'}", len(entries)) + b"".join(entries)
        link = len(data)
        data += bytes(8 if big else 4)
    assert len(data) > head
    return bytes(data)


def _tiff_value(tag: int, value: Any, order: str) -> tuple[int, int, bytes]:
    if tag in _BYTES:
        return _BYTES[tag], len(value), value
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    kind, form = (4, "I") if tag in _LONG else (3, "H")
    return kind, len(numbers), struct.pack(f"{order}{len(numbers)}{form}", *numbers)


def tags_of(samples: Samples, bits: int, photometric: int, **more: Any) -> dict[int, Any]:
    """The tags of a page; more: as t317=2. A strip holds the whole picture unless t278 says otherwise."""
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    tags: dict[int, Any] = {256: samples.shape[1], 257: samples.shape[0], 258: [bits] * channels, 259: 1}
    tags |= {262: photometric, 277: channels, 278: samples.shape[0]}
    return tags | {int(name[1:]): value for name, value in more.items()}


def plain_tiff(samples: Samples, bits: int, photometric: int, *, order: str = "<", **more: Any) -> bytes:
    """One uncompressed strip."""
    return tiff((tags_of(samples, bits, photometric, **more), [packed(samples, bits, order)]), order=order)


def packbits(data: bytes) -> bytes:
    """Literal runs and, at the start, one repeated byte, so that both codes occur."""
    repeated = len(data) - len(data.lstrip(data[:1]))
    repeated = min(repeated, 128)
    start = bytes([257 - repeated]) + data[:1] if repeated > 1 else b""
    rest = data[repeated:] if start else data
    return start + b"".join(bytes([len(part) - 1]) + part for part in _pieces(rest, 128))


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


# BMP


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


# GIF


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
    body = b"".join(bytes([len(part)]) + part for part in _pieces(gif_codes(ordered), 255))
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
