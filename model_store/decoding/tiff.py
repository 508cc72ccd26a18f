"""The header of a TIFF: its main page, and the edits after which Pillow decodes it as every other picture."""

import struct

from PIL import Image, ImagePalette, TiffImagePlugin

from model_store.decoding.exif import ORIENTATION, WIDTH, Ifd, ifds
from model_store.decoding.header import Header
from model_store.errors import UndecodablePicture, UnsupportedPicture

_HEIGHT, _BITS, _PHOTOMETRIC, _PLANES, _COLOURS, _TILE_WIDTH, _TILE_HEIGHT = 257, 258, 262, 284, 320, 322, 323
MAX_TILE_PIXELS = 1 << 22  # of a smaller picture; libtiff makes room for a whole tile before it reads one


def has_size(tiff: bytes) -> bool:
    """Whether a TIFF's first directory can be read as far as the size."""
    return {WIDTH, _HEIGHT} <= next(ifds(tiff), Ifd(0, {})).values.keys()


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


def correct(image: Image.Image) -> None:
    """Reads palettes whose white is 255 and not 65535, as of old programs, and compressed big-endian floats.

    Raises UnsupportedPicture for uncompressed planes of 16 bits, which Pillow takes for planes of 8, and
    UndecodablePicture for tiles that are much larger than the picture.
    """
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    tags = image.tag_v2
    tile = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_HEIGHT, 0)
    if tile > max(MAX_TILE_PIXELS, image.width * image.height):
        raise UndecodablePicture(f"The TIFF is damaged: its tiles have {tile} pixels each.")
    if image.mode == "P" and max(tags[_COLOURS]) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(tags[_COLOURS]))
    if image.mode == "F" and image.tile[0].codec_name == "libtiff":  # which gives them in this machine's order
        (part,) = image.tile
        assert isinstance(part.args, tuple)
        image.tile = [part._replace(args=("F;32NF", *part.args[1:]))]
    if tags.get(_PLANES) == 2 and tags[_BITS][0] == 16 and image.tile[0].codec_name == "raw":
        raise UnsupportedPicture(
            "A TIFF of uncompressed planes of 16 bits is not accepted; write it with a compression, such as LZW."
        )
