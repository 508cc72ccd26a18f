"""Headers of picture files: the orientation, the main picture among several, and the parts that hold its pixels.

Pillow decodes the pixels. Only rules that it lacks are here: it reads a PNG's orientation only before the pixels,
turns a TIFF itself but by another rule, counts thumbnails as frames, and refuses a PNG for a damaged comment.
No pixel is decoded and no number in a file makes these functions allocate more than the file's own size.

Sources: PNG Specification (Third Edition), W3C 2025; TIFF 6.0; Exif 2.32; XMP part 3; CIPA DC-007 (MPO).
"""

import binascii
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

from model_store.errors import UndecodablePicture, UnsupportedPicture

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_TEXT_BYTES = 1 << 20  # inflated, of a chunk that may hold an orientation
MAX_PROFILE_BYTES = 4 << 20  # inflated; printers' profiles take 0.5 to 3 MiB
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # damage in these is damage of the picture
_COLOUR_CHUNKS = (b"tRNS", b"gAMA", b"sRGB")
_OTHER_CHUNKS = (b"iCCP", b"acTL", b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_MAX_IFDS = 64  # pages and thumbnails that are looked at
_WIDTH, _HEIGHT = 256, 257
_ORIENTATION, _NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 274, 254, 255
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # TIFF's types BYTE, SHORT and LONG
_XMP_ORIENTATION = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])""")


@dataclass(frozen=True)
class Header:
    """pixels: a file that Pillow decodes without turning it. orientation: of its pixels, 1 to 8 as EXIF counts;
    0 if none is named. profile: ICC, not yet checked. bits: of a sample.
    """

    pixels: bytes
    orientation: int = 0
    profile: bytes | None = None
    bits: int = 8


class Ifd(NamedTuple):
    """An image file directory. values: tag -> (position of its value in the file, struct format, value)."""

    offset: int
    values: dict[int, tuple[int, str, int]]

    def value(self, tag: int) -> int:
        return self.values[tag][2] if tag in self.values else 0

    @property
    def is_picture(self) -> bool:
        """Whether it is a page of its own, and not a thumbnail or a mask of another one."""
        return not self.value(_NEW_SUBFILE_TYPE) & 0b101 and self.value(_SUBFILE_TYPE) != 2


def _ifds(tiff: bytes) -> Iterator[Ifd]:
    """The directories of a TIFF file or EXIF block, with their short values; ends at the first damage."""
    order = "<" if tiff[:1] == b"I" else ">"
    is_big = tiff[2:4] in (b"+\0", b"\0+")
    count, entry, offset = ("Q", "HHQ", "Q") if is_big else ("H", "HHI", "I")
    size = struct.calcsize(f"{order}{entry}{offset}")
    try:
        (at,) = struct.unpack_from(order + offset, tiff, 8 if is_big else 4)
        for _ in range(_MAX_IFDS):
            if not at:
                return
            (entries,) = struct.unpack_from(order + count, tiff, at)
            first = at + struct.calcsize(order + count)
            ifd = Ifd(at, {})
            for position in range(first, first + size * min(entries, 4096), size):
                tag, kind, values = struct.unpack_from(order + entry, tiff, position)
                if values == 1 and kind in _INTEGERS:
                    where = position + size - struct.calcsize(offset)
                    form = order + _INTEGERS[kind]
                    ifd.values.setdefault(tag, (where, form, struct.unpack_from(form, tiff, where)[0]))
            yield ifd
            (at,) = struct.unpack_from(order + offset, tiff, first + size * entries)
    except struct.error:
        return


def _exif_orientation(exif: bytes) -> int | None:
    """1 to 8; None if the block is damaged or names no valid orientation."""
    block = exif.removeprefix(b"Exif\0\0")
    if not block.startswith(TIFF_SIGNATURES):
        return None
    found = next(_ifds(block), Ifd(0, {})).value(_ORIENTATION)
    return found if 1 <= found <= 8 else None


def _xmp_orientation(xmp: bytes) -> int | None:
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found else None


def has_size(tiff: bytes) -> bool:
    """Whether a TIFF's first directory can be read as far as the size."""
    return {_WIDTH, _HEIGHT} <= next(_ifds(tiff), Ifd(0, {})).values.keys()


def tiff_header(data: bytes) -> Header:
    """The main page first and upright for Pillow. Raises UnsupportedPicture for a file of several pages."""
    ifds = list(_ifds(data))
    pages = [ifd for ifd in ifds if ifd.is_picture] or ifds[:1]
    if len(pages) > 1:
        raise UnsupportedPicture("The TIFF has several pages; send each as a picture of its own.")
    if not pages:
        return Header(data)
    page, orientation = pages[0], pages[0].value(_ORIENTATION)
    is_big = data[2:4] in (b"+\0", b"\0+")
    patches = []
    if page is not ifds[0]:
        form = ("<" if data[:1] == b"I" else ">") + ("Q" if is_big else "I")
        patches.append((8 if is_big else 4, form, page.offset))
    if 2 <= orientation <= 8:
        patches.append((*page.values[_ORIENTATION][:2], 1))
    if patches:
        edited = bytearray(data)
        for position, form, value in patches:
            struct.pack_into(form, edited, position, value)
        data = bytes(edited)
    return Header(data, orientation)


def png_header(data: bytes, *, for_pixels: bool) -> Header:
    """The chunks that the pixels need, as a file of their own; any other chunk is harmless, damaged or not.

    for_pixels: also give the colour profile and the pixels, and verify their checksums. Raises UndecodablePicture,
    or UnsupportedPicture for an animation.
    """
    kept: list[bytes | memoryview] = [PNG_SIGNATURE]
    profile: bytes | None = None
    orientations: dict[str, int | None] = {}
    for kind, chunk in _chunks(data):
        if kind == b"IDAT" and not for_pixels:
            kept.append(chunk[:8])  # Pillow reads no further
        elif kind in _PIXEL_CHUNKS:
            if not _is_whole(chunk):
                raise UndecodablePicture(f"The PNG is damaged: the checksum of its {kind.decode()} is wrong.")
            kept.append(chunk)
        elif kind in _COLOUR_CHUNKS and _is_whole(chunk):
            kept.append(chunk)
        elif kind in _OTHER_CHUNKS and _is_whole(chunk):
            body = bytes(chunk[8:-4])
            if kind == b"iCCP":
                profile = _inflated(body.partition(b"\0")[2][1:], MAX_PROFILE_BYTES) if for_pixels else None
            elif kind == b"eXIf":
                orientations["exif"] = _exif_orientation(body)
            elif kind == b"acTL" and int.from_bytes(body[:4]) > 1:
                raise UnsupportedPicture("The PNG is an animation; send each frame as a picture of its own.")
            else:
                orientations |= _text_orientation(kind, body)
    found = (orientations.get(source) for source in ("exif", "raw exif", "xmp"))
    bits = data[24] if len(data) > 24 else 8
    return Header(b"".join(kept), next(filter(None, found), 1), profile, bits)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and whole chunk, up to IEND; the last one may be cut off."""
    view = memoryview(data)
    at, kind = len(PNG_SIGNATURE), b""
    while at + 8 <= len(data) and kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, view[at : at + 12 + length]
        at += 12 + length


def _is_whole(chunk: memoryview) -> bool:
    """Whether its checksum is right. A chunk cut off by the file's end counts as whole: Pillow notices it."""
    length = int.from_bytes(chunk[:4])
    return len(chunk) < 12 + length or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _text_orientation(kind: bytes, body: bytes) -> dict[str, int | None]:
    """The orientation in a text chunk of ImageMagick (`Raw profile type exif`) or Adobe's XMP, by its source."""
    keyword, _, text = body.partition(b"\0")
    if not keyword.startswith((b"Raw profile type ", b"XML:com.adobe.xmp")):
        return {}
    is_deflated = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"zTXt":
        text = text[1:]
    elif kind == b"iTXt":
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]  # after flags, language and translated keyword
    if is_deflated:
        text = _inflated(text, MAX_TEXT_BYTES) or b""
    if keyword == b"XML:com.adobe.xmp":
        return {"xmp": _xmp_orientation(text)}
    try:  # three lines, empty, name and length, then hexadecimal digits
        profile = binascii.unhexlify(b"".join(text.split(b"\n")[3:]).replace(b" ", b""))
    except binascii.Error:
        return {}
    if keyword.endswith(b" xmp") or profile.startswith(b"http"):  # Raw profile type APP1 may hold either
        return {"xmp": _xmp_orientation(profile)}
    return {"raw exif": _exif_orientation(profile)}


def _inflated(deflated: bytes, limit: int) -> bytes | None:
    """None if it is damaged or larger than the limit."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(deflated, limit)
    except zlib.error:
        return None
    return inflated if inflater.eof else None


def orientation_of(image: Image.Image) -> int:
    """The orientation of an opened picture that is no PNG: EXIF first, then XMP."""
    if image.format == "HEIF":
        return 1  # libheif has turned it
    exif = image.info.get("exif") or b""
    found = _exif_orientation(exif) if isinstance(exif, bytes) else None
    if (
        found is None and image.format != "AVIF"
    ):  # whose container holds the turn, which Pillow writes into the EXIF
        found = _xmp_orientation(image.info.get("xmp") or b"")
    return found or 1


def has_several_pictures(image: Image.Image) -> bool:
    """Whether an opened file shows several pictures; thumbnails, previews and gain maps do not count."""
    # Not `n_frames` alone: counting to the end of a GIF of thousands of tiny frames takes seconds.
    if not getattr(image, "is_animated", False) or image.format == "TIFF":
        return False
    if not isinstance(image, MpoImageFile):
        return True
    assert image.mpinfo  # Pillow makes no MPO without it
    entries = image.mpinfo[0xB002]
    return any(str(entry["Attribute"]["MPType"]).startswith("Multi-Frame") for entry in entries[1:])


def without_metadata(jpeg: bytes) -> bytes:
    """The JPEG without its application segments and comments, except those that tell its colours (JFIF, Adobe)."""
    kept, at = [jpeg[:2]], 2
    while jpeg[at : at + 1] == b"\xff" and at + 4 <= len(jpeg):
        marker = jpeg[at + 1]
        if marker == 0xDA:
            break
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or marker in (0xE0, 0xEE):
            kept.append(jpeg[at:end])
        at = end
    return b"".join((*kept, jpeg[at:]))
