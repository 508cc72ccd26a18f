"""The header of a TIFF: its main page, and the edits after which Pillow decodes it as every other picture."""

import struct

from model_store.decoding.exif import ORIENTATION, Ifd, ifds
from model_store.decoding.header import Header
from model_store.errors import UnsupportedPicture

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC = 256, 257, 258, 262


def has_size(tiff: bytes) -> bool:
    """Whether a TIFF's first directory can be read as far as the size."""
    return {_WIDTH, _HEIGHT} <= next(ifds(tiff), Ifd(0, {})).values.keys()


def read_header(data: bytes) -> Header:
    """The main page first and upright for Pillow. Raises UnsupportedPicture for a file of several pages."""
    found = list(ifds(data))
    pages = [ifd for ifd in found if ifd.is_picture] or found[:1]
    if len(pages) > 1:
        raise UnsupportedPicture("The TIFF has several pages; send each as a picture of its own.")
    if not pages:
        return Header(data)
    page, orientation = pages[0], pages[0].value(ORIENTATION)
    is_negative = page.value(_PHOTOMETRIC) == 0 and page.value(_BITS) > 8  # for which Pillow lacks some kinds
    is_big = data[2:4] in (b"+\0", b"\0+")
    patches = []
    if page is not found[0]:
        form = ("<" if data[:1] == b"I" else ">") + ("Q" if is_big else "I")
        patches.append((8 if is_big else 4, form, page.offset))
    if orientation > 1:
        patches.append((*page.values[ORIENTATION][:2], 1))
    if is_negative:
        patches.append((*page.values[_PHOTOMETRIC][:2], 1))
    if patches:
        edited = bytearray(data)
        for position, form, value in patches:
            struct.pack_into(form, edited, position, value)
        data = bytes(edited)
    return Header(data, orientation if 1 <= orientation <= 8 else 0, is_negative=is_negative)
