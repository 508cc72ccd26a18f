"""Turned and mirrored pictures, by EXIF and XMP in every place that a format has for them."""

from collections.abc import Iterator

import numpy as np

from tests.corpus.drawing import RGB, SMOOTH, STORED, File, read, saved
from tests.corpus.tiff_writer import plain_tiff, tags_of, tiff
from tests.corpus.writers import (
    chunk,
    exif,
    exif_segment,
    extended,
    packed,
    png,
    raw_profile,
    text_chunk,
    with_segments,
    xmp,
    xmp_segment,
)

JPEG_LEVELS = 4  # tolerance at quality 95 without subsampling


def stored(orientation: int) -> np.ndarray:
    return np.ascontiguousarray(STORED.get(orientation, STORED[1])(RGB))


def jpeg(orientation: int = 1) -> bytes:
    """The smooth drawing, stored for this orientation."""
    turned = STORED.get(orientation, STORED[1])(SMOOTH)
    return saved(turned, "JPEG", quality=95, subsampling=0)


def _webp(orientation: int) -> bytes:
    return saved(stored(orientation), "WEBP", lossless=True)


def files() -> Iterator[File]:
    yield from _jpegs()
    yield from _pngs()
    yield from _webps()
    yield from _tiffs()


def _jpegs() -> Iterator[File]:
    for turn in STORED:
        for order, name in (("<", "little"), (">", "big")):
            data = with_segments(jpeg(turn), exif_segment(exif(turn, order)))
            yield read(f"jpeg exif {turn} {name}-endian", data, SMOOTH, JPEG_LEVELS)
    for turn in (3, 6):
        attribute, element = (xmp_segment(xmp(turn, element=element)) for element in (False, True))
        yield read(f"jpeg xmp {turn} attribute", with_segments(jpeg(turn), attribute), SMOOTH, JPEG_LEVELS)
        yield read(f"jpeg xmp {turn} element", with_segments(jpeg(turn), element), SMOOTH, JPEG_LEVELS)
    both: dict[str, tuple[bytes, ...]] = {
        "exif 6 before xmp 3": (exif_segment(exif(6)), xmp_segment(xmp(3))),
        "exif 6 after xmp 3": (xmp_segment(xmp(3)), exif_segment(exif(6))),
        "exif 6 before xmp 1": (exif_segment(exif(6)), xmp_segment(xmp(1))),
        "exif without orientation and xmp 6": (exif_segment(exif(None)), xmp_segment(xmp(6))),
    }
    for name, segments in both.items():
        yield read(f"jpeg {name}", with_segments(jpeg(6), *segments), SMOOTH, JPEG_LEVELS)
    upright = {
        "exif 1 and xmp 6": (exif_segment(exif(1)), xmp_segment(xmp(6))),
        "exif 0": (exif_segment(exif(0)),),
        "exif 9": (exif_segment(exif(9)),),
        "exif 65535": (exif_segment(exif(65535)),),
        "xmp 0": (xmp_segment(xmp(0)),),
        "xmp 42": (xmp_segment(xmp(42)),),
        "exif cut off": (exif_segment(exif(6)[:14]),),
        "exif of garbage": (exif_segment(b"garbage" * 9),),
        "exif whose directory lies behind its end": (exif_segment(b"II*\0\xff\xff\0\0"),),
        "exif of an endless directory": (exif_segment(b"II*\0\x08\0\0\0\xff\xff"),),
        "xmp of garbage": (xmp_segment(b"<x:xmpmeta <<<<"),),
    }
    for name, segments in upright.items():
        yield read(f"jpeg {name}", with_segments(jpeg(), *segments), SMOOTH, JPEG_LEVELS)


def _pngs() -> Iterator[File]:
    for turn in STORED:
        late = chunk(b"eXIf", exif(turn, "<>"[turn % 2]))
        yield read(f"png eXIf {turn} after the pixels", png(stored(turn), 8, 2, after=late), RGB)
    for turn in (3, 6):
        block = exif(turn, ">")
        places = {
            "eXIf": chunk(b"eXIf", block),
            "iTXt xmp": text_chunk(b"iTXt", "XML:com.adobe.xmp", xmp(turn)),
            "compressed iTXt xmp element": text_chunk(b"iTXz", "XML:com.adobe.xmp", xmp(turn, element=True)),
            "tEXt raw profile exif": text_chunk(
                b"tEXt", "Raw profile type exif", raw_profile("exif", b"Exif\0\0" + block)
            ),
            "zTXt raw profile exif": text_chunk(
                b"zTXt", "Raw profile type exif", raw_profile("exif", b"Exif\0\0" + block)
            ),
            "tEXt raw profile APP1": text_chunk(
                b"tEXt", "Raw profile type APP1", raw_profile("APP1", b"Exif\0\0" + block)
            ),
            "zTXt raw profile APP1": text_chunk(
                b"zTXt", "Raw profile type APP1", raw_profile("APP1", b"Exif\0\0" + block)
            ),
        }
        for name, found in places.items():
            yield read(f"png {name} {turn}", png(stored(turn), 8, 2, before=found), RGB)
            if name != "eXIf":
                yield read(f"png {name} {turn} after the pixels", png(stored(turn), 8, 2, after=found), RGB)
    late = chunk(b"eXIf", exif(6))
    data = png(stored(6), 8, 2, before=text_chunk(b"iTXt", "XML:com.adobe.xmp", xmp(3)), after=late)
    yield read("png late eXIf 6 and xmp 3", data, RGB)
    yield read("png late eXIf 6 interlaced", png(stored(6), 8, 2, interlaced=True, after=late), RGB)
    upright = {
        "eXIf 0": chunk(b"eXIf", exif(0)),
        "eXIf 9": chunk(b"eXIf", exif(9)),
        "eXIf of garbage": chunk(b"eXIf", b"garbage"),
        "eXIf 6 with a wrong checksum": chunk(b"eXIf", exif(6), damaged=True),
        "raw profile of garbage": text_chunk(b"tEXt", "Raw profile type exif", b"\nexif\n      99\nxyz\n"),
        "raw profile empty": text_chunk(b"tEXt", "Raw profile type exif", b""),
    }
    for name, found in upright.items():
        yield read(f"png {name}", png(RGB, 8, 2, before=found), RGB)
        yield read(f"png {name} after the pixels", png(RGB, 8, 2, after=found), RGB)


def _webps() -> Iterator[File]:
    for turn in (3, 6):
        size = stored(turn).shape[:2]
        blocks = {
            "exif": exif(turn),
            "exif big-endian": exif(turn, ">"),
            "prefixed exif": b"Exif\0\0" + exif(turn),
        }
        for name, block in blocks.items():
            yield read(f"webp {name} {turn}", extended(_webp(turn), size=size, exif=block), RGB)
        yield read(f"webp xmp {turn}", extended(_webp(turn), size=size, xmp=xmp(turn)), RGB)
        data = extended(_webp(turn), size=size, exif=exif(turn), xmp=xmp(8))
        yield read(f"webp exif {turn} and xmp 8", data, RGB)
    data = extended(_webp(1), size=stored(1).shape[:2], exif=b"garbage")
    yield read("webp exif of garbage", data, RGB)


def _tiffs() -> Iterator[File]:
    for turn in STORED:
        data = plain_tiff(stored(turn), 8, 2, order="<>"[turn % 2], t274=turn)
        yield read(f"tiff orientation {turn}", data, RGB)
    for turn in (3, 6):
        for element in (False, True):
            data = plain_tiff(stored(turn), 8, 2, t700=xmp(turn, element=element))
            yield read(f"tiff xmp {turn} {'element' if element else 'attribute'}", data, RGB)
    yield read("tiff orientation 6 and xmp 3", plain_tiff(stored(6), 8, 2, t274=6, t700=xmp(3)), RGB)
    yield read("tiff orientation 1 and xmp 6", plain_tiff(RGB, 8, 2, t274=1, t700=xmp(6)), RGB)
    for turn in (0, 9):
        yield read(f"tiff orientation {turn}", plain_tiff(RGB, 8, 2, t274=turn), RGB)
    pixels = stored(6)
    strips = [packed(pixels[at : at + 10], 8) for at in range(0, len(pixels), 10)]
    yield read("tiff orientation 6 in strips", tiff((tags_of(pixels, 8, 2, t274=6, t278=10), strips)), RGB)
    yield read("tiff orientation 6 lzw", saved(stored(6), "TIFF", compression="tiff_lzw", tiffinfo={274: 6}), RGB)
