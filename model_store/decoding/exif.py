"""The orientation of a picture in EXIF or XMP, and the directories of TIFF files, of which EXIF is one.

Pillow's reader applies another rule to each format, and warns about every damaged entry. No number in a file makes
these functions allocate memory. Sources: TIFF 6.0; Exif 2.32; XMP specification, part 3.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of TIFF and BigTIFF, in both byte orders
ORIENTATION = 274
WIDTH = 256
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_MAX_ENTRIES = 4096  # that are read of a file; a page has about twenty
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # TIFF's types, from BYTE to SLONG
_XMP_ORIENTATION = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")


class Ifd(NamedTuple):
    """An image file directory. values: tag -> (position of its value in the file, struct format, value)."""

    offset: int
    values: dict[int, tuple[int, str, int]]

    def value(self, tag: int) -> int:
        return self.values[tag][2] if tag in self.values else 0

    @property
    def is_picture(self) -> bool:
        """Whether it is a page of its own, and no thumbnail, mask, or garbage behind the last page."""
        is_other = self.value(_NEW_SUBFILE_TYPE) & 0b101 or self.value(_SUBFILE_TYPE) == 2
        return WIDTH in self.values and not is_other


def ifds(tiff: bytes) -> Iterator[Ifd]:
    """The directories of a TIFF file or EXIF block, with their short values; ends at the first damage."""
    seen: set[int] = set()  # the last directory of some programs' files names itself as the next one
    order = "<" if tiff[:1] == b"I" else ">"
    is_big = tiff[2:4] in (b"+\0", b"\0+")
    count, entry, offset = ("Q", "HHQ", "Q") if is_big else ("H", "HHI", "I")
    size = struct.calcsize(f"{order}{entry}{offset}")
    try:
        (at,) = struct.unpack_from(order + offset, tiff, 8 if is_big else 4)
        left = _MAX_ENTRIES
        while at and at not in seen and left > 0:
            seen.add(at)
            (entries,) = struct.unpack_from(order + count, tiff, at)
            first = at + struct.calcsize(order + count)
            ifd = Ifd(at, {})
            for position in range(first, first + size * min(entries, left), size):
                tag, kind, values = struct.unpack_from(order + entry, tiff, position)
                if values == 1 and kind in _INTEGERS:
                    where = position + size - struct.calcsize(offset)
                    form = order + _INTEGERS[kind]
                    ifd.values.setdefault(tag, (where, form, struct.unpack_from(form, tiff, where)[0]))
            left -= 1 + entries
            yield ifd
            (at,) = struct.unpack_from(order + offset, tiff, first + size * entries)
    except struct.error:
        return


def exif_orientation(exif: bytes) -> int | None:
    """1 to 8; None if the block is damaged or names no valid orientation."""
    block = exif.removeprefix(b"Exif\0\0")
    if not block.startswith(SIGNATURES):
        return None
    found = next(ifds(block), Ifd(0, {})).value(ORIENTATION)
    return found if 1 <= found <= 8 else None


def xmp_orientation(xmp: bytes) -> int | None:
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found else None


def orientation_of(image: Image.Image) -> int:
    """The orientation of an opened picture that is no PNG: EXIF first, then XMP."""
    if image.format == "HEIF":
        return 1  # libheif has turned it
    exif = image.info.get("exif") or b""
    found = exif_orientation(exif) if isinstance(exif, bytes) else None
    # The container of an AVIF holds the turn, which Pillow writes into the EXIF.
    if found is None and image.format != "AVIF":
        found = xmp_orientation(image.info.get("xmp") or b"")
    return found or 1
