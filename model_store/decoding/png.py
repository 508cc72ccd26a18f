"""The header of a PNG: the chunks that its pixels need, and its orientation wherever it stands.

Pillow reads the orientation only before the pixels, refuses a file for a damaged comment, and does not notice
wrong checksums or missing rows of the pixels. Source: PNG Specification (Third Edition), W3C 2025.
"""

import binascii
import struct
import zlib
from collections.abc import Iterator

from isal import isal_zlib

from model_store.decoding.exif import exif_orientation, xmp_orientation
from model_store.decoding.header import Header
from model_store.errors import UndecodablePicture, UnsupportedPicture

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 1 << 20  # inflated, of a chunk that may hold an orientation
MAX_PROFILE_BYTES = 4 << 20  # inflated; printers' profiles take 0.5 to 3 MiB
MAX_CHUNKS = 65_536  # 64 MiB in chunks of 1 KiB; encoders write 8 KiB or more, and each takes 1 us to read
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # damage in these is damage of the picture
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_OTHER_CHUNKS = (b"tRNS", b"gAMA", b"sRGB", b"iCCP", b"acTL", b"eXIf", *_TEXT_CHUNKS)
_ORIENTED_TEXTS = (  # of Adobe and ImageMagick
    b"XML:com.adobe.xmp",
    b"Raw profile type exif",
    b"Raw profile type APP1",
    b"Raw profile type xmp",
)
_BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's colour types
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def read_header(data: bytes, *, for_pixels: bool) -> Header:
    """The chunks that the pixels need, as a file of their own; any other chunk is harmless, damaged or not.

    for_pixels: also give the colour profile and the pixels, and verify their checksums. Raises UndecodablePicture,
    or UnsupportedPicture for an animation.
    """
    kept: list[bytes | memoryview] = [SIGNATURE]
    deflated: list[memoryview] = []
    other: dict[bytes, bytes] = {}
    for kind, chunk in _chunks(data):
        if kind == b"IDAT" and not for_pixels:
            kept.append(chunk[:8])  # Pillow reads no further
        elif kind in _PIXEL_CHUNKS:
            if not _is_whole(chunk):
                raise UndecodablePicture(f"The PNG is damaged: the checksum of its {kind.decode()} is wrong.")
            kept.append(chunk)
            deflated += [chunk[8 : 8 + int.from_bytes(chunk[:4])]] if kind == b"IDAT" else []
        elif kind in _OTHER_CHUNKS and _is_whole(chunk):
            body = bytes(chunk[8:-4])
            keyword = body.partition(b"\0")[0]
            if kind not in _TEXT_CHUNKS:
                other.setdefault(kind, body)
            elif keyword in _ORIENTED_TEXTS and keyword not in other:
                other[keyword] = _text(kind, body)
            if kind == b"tRNS" and len(body) == {0: 2, 2: 6}.get(data[25], len(body)):
                kept.append(chunk)
    if int.from_bytes(other.get(b"acTL", b"")[:4]) > 1:
        raise UnsupportedPicture("The PNG is an animation; send each frame as a picture of its own.")
    if len(data) < 33 or (data[25] == 3 and not any(chunk[4:8] == b"PLTE" for chunk in kept)):
        raise UndecodablePicture("The PNG is damaged: its header or its palette is missing.")
    if for_pixels:
        _check_rows(deflated, *struct.unpack_from(">IIBB2xB", data, 16))
    profile = other.get(b"iCCP", b"").partition(b"\0")[2][1:]
    gamma = other.get(b"gAMA", b"") if not {b"iCCP", b"sRGB"} & other.keys() else b""
    return Header(
        b"".join(kept),
        _orientation(other) if other else 1,
        profile=_inflated(profile, MAX_PROFILE_BYTES) if for_pixels and profile else None,
        bits=data[24],
        gamma=int.from_bytes(gamma) / 100_000 if len(gamma) == 4 else None,
    )


def _check_rows(
    deflated: list[memoryview], width: int, height: int, bits: int, colour: int, interlaced: int
) -> None:
    """Raises UndecodablePicture if the data of the pixels is damaged or ends early."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    missing = 0
    for left, top, across, down in passes:
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0:
            missing += max(0, rows) * (1 + -(-columns * bits * _BANDS.get(colour, 1) // 8))
    inflater = isal_zlib.decompressobj()
    try:
        for part in deflated:
            rest: bytes | memoryview = part
            while rest and missing > 0 and not inflater.eof:
                missing -= len(inflater.decompress(rest, 1 << 20))
                rest = inflater.unconsumed_tail
    except isal_zlib.IsalError as exc:  # type: ignore[misc]  # its type stub names no base
        raise UndecodablePicture(f"The PNG is damaged: {exc}.") from exc
    if missing > 0:
        raise UndecodablePicture("The PNG is damaged or cut off: rows are missing.")


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and whole chunk, up to IEND; the last one may be cut off. Raises UndecodablePicture for too many."""
    view = memoryview(data)
    at, kind, left = len(SIGNATURE), b"", MAX_CHUNKS
    while at + 8 <= len(data) and kind != b"IEND":
        if not left:
            raise UndecodablePicture(f"The PNG has more than {MAX_CHUNKS} chunks.")
        left -= 1
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, view[at : at + 12 + length]
        at += 12 + length


def _is_whole(chunk: memoryview) -> bool:
    """Whether its checksum is right. A chunk cut off by the file's end counts as whole: Pillow notices it."""
    length = int.from_bytes(chunk[:4])
    return len(chunk) < 12 + length or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _text(kind: bytes, body: bytes) -> bytes:
    """The text of a text chunk; empty if it is damaged."""
    text = body.partition(b"\0")[2]
    is_deflated = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"zTXt":
        text = text[1:]
    elif kind == b"iTXt":
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]  # after flags, language and translated keyword
    return (_inflated(text, MAX_TEXT_BYTES) or b"") if is_deflated else text


def _raw_profile(text: bytes) -> bytes:
    """The bytes of ImageMagick's three lines: empty, name and length, then hexadecimal digits."""
    try:
        return binascii.unhexlify(b"".join(text.split(b"\n")[3:]).replace(b" ", b""))
    except binascii.Error:
        return b""


def _orientation(other: dict[bytes, bytes]) -> int:
    """The first of EXIF, a raw profile and XMP that names one; 1 without any. other: by chunk or keyword."""
    raw = [_raw_profile(other.get(b"Raw profile type " + name, b"")) for name in (b"exif", b"APP1", b"xmp")]
    named = [exif_orientation(block) for block in (other.get(b"eXIf", b""), *raw)]
    named += [xmp_orientation(block) for block in (other.get(b"XML:com.adobe.xmp", b""), *raw[1:])]
    return next(filter(None, named), 1)


def _inflated(deflated: bytes, limit: int) -> bytes | None:
    """None if it is damaged or larger than the limit."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(deflated, limit)
    except zlib.error:
        return None
    return inflated if inflater.eof else None
