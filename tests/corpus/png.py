"""PNG: every colour type and depth, interlacing, filters, transparent palettes and levels, chunks of all kinds."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from tests.corpus.drawing import (
    DEEP,
    DEEP_RGB,
    GREY,
    INDICES,
    PALETTE,
    RGB,
    TEXT,
    File,
    fewer,
    full_range,
    over,
    read,
    refused,
)
from tests.corpus.writers import chunk, palette_chunk, png, png_rows, text_chunk

_OPAQUE = np.full_like(GREY, 255)
_HALF = np.where(TEXT, 255, 128).astype(np.uint8)
_RGBA = np.dstack([RGB, _OPAQUE])
_LA = np.dstack([GREY, _OPAQUE])
_IHDR = struct.pack(">IIBBBBB", 48, 32, 8, 2, 0, 0, 0)
_IDAT = zlib.compress(png_rows(RGB, 8))
_DEEP_8 = full_range(DEEP, 16)


def files() -> Iterator[File]:
    yield from _depths()
    yield from _layouts()
    yield from _transparent_levels()
    yield from _gammas()
    yield from _chunks()


def _depths() -> Iterator[File]:
    for bits in (1, 2, 4, 8):
        yield read(f"png grey {bits}", png(fewer(bits), bits, 0), full_range(fewer(bits), bits))
        indices = INDICES & 2**bits - 1
        colours = PALETTE[: 2**bits]
        yield read(f"png palette {bits}", png(indices, bits, 3, before=palette_chunk(colours)), colours[indices])
    yield read("png grey 16", png(DEEP, 16, 0), _DEEP_8, 1)
    yield read("png rgb 8", png(RGB, 8, 2), RGB)
    yield read("png rgb 16", png(DEEP_RGB, 16, 2), full_range(DEEP_RGB, 16), 1)
    yield read("png grey alpha 8", png(_LA, 8, 4), GREY)
    yield read("png grey alpha 16", png(np.dstack([DEEP, _OPAQUE.astype(np.uint16) * 257]), 16, 4), _DEEP_8, 1)
    yield read("png rgba 8", png(_RGBA, 8, 6), RGB)
    rgba = np.dstack([DEEP_RGB, _OPAQUE.astype(np.uint16) * 257])
    yield read("png rgba 16", png(rgba, 16, 6), full_range(DEEP_RGB, 16), 1)
    yield read(
        "png palette of 3 colours in 8 bits",
        png(INDICES % 3, 8, 3, before=palette_chunk(PALETTE[:3])),
        PALETTE[INDICES % 3],
    )


def _layouts() -> Iterator[File]:
    yield read("png grey 1 interlaced", png(fewer(1), 1, 0, interlaced=True), full_range(fewer(1), 1))
    yield read("png grey 16 interlaced", png(DEEP, 16, 0, interlaced=True), _DEEP_8, 1)
    colours = PALETTE[:16]
    interlaced = png(INDICES % 16, 4, 3, interlaced=True, before=palette_chunk(colours))
    yield read("png palette 4 interlaced", interlaced, colours[INDICES % 16])
    yield read("png rgb 8 interlaced", png(RGB, 8, 2, interlaced=True, filters=(0, 1, 2, 3, 4)), RGB)
    yield read("png grey alpha 8 interlaced", png(_LA, 8, 4, interlaced=True), GREY)
    yield read(
        "png rgba 16 interlaced",
        png(np.dstack([DEEP_RGB, DEEP | 0xFFFF]), 16, 6, interlaced=True),
        full_range(DEEP_RGB, 16),
        1,
    )
    for number, name in enumerate(("none", "sub", "up", "average", "paeth")):
        yield read(f"png filter {name}", png(RGB, 8, 2, filters=(number,)), RGB)
    yield read("png filters mixed", png(DEEP_RGB, 16, 2, filters=(4, 3, 2, 1, 0)), full_range(DEEP_RGB, 16), 1)
    yield read("png several idats, some empty", png(RGB, 8, 2, idats=(0, 1, 0, 0, 7, 100, 0)), RGB)
    yield read("png last idat empty", png(RGB, 8, 2, idats=(len(_IDAT),)), RGB)
    for height, width in ((8, 9), (9, 15), (11, 33)):
        part = RGB[:height, 3 : 3 + width]
        yield read(f"png {width} x {height}", png(part, 8, 2, filters=(4,)), part)
        yield read(f"png {width} x {height} interlaced", png(part, 8, 2, interlaced=True), part)
        bits = fewer(1)[:height, 3 : 3 + width]
        yield read(f"png grey 1 {width} x {height}", png(bits, 1, 0), full_range(bits, 1))
    yield refused("png 3 x 3", png(RGB[:3, :3], 8, 2), "image_too_small")


def _transparent_levels() -> Iterator[File]:
    """A letter on a ground whose level is transparent: dark letters lie on white, and white ones on black."""
    for bits in (1, 2, 4, 8, 16):
        top = 2**bits - 1
        light = top if bits == 1 else top - (1 << bits - 2)
        levels = np.where(TEXT, 0, light)
        data = png(levels, bits, 0, before=chunk(b"tRNS", struct.pack(">H", light)))
        yield read(f"png grey {bits} tRNS light", data, np.where(TEXT, 0, 255))
        levels = np.where(TEXT, top, 0)
        data = png(levels, bits, 0, before=chunk(b"tRNS", struct.pack(">H", 0)))
        yield read(f"png grey {bits} tRNS dark", data, np.where(TEXT, 255, 0))
    near = np.where(TEXT, 0, 60001)
    data = png(near, 16, 0, before=chunk(b"tRNS", struct.pack(">H", 60000)))
    yield read("png grey 16 with a level near the transparent one", data, full_range(near, 16), 1)
    ground = (200, 220, 240)
    for bits, factor in ((8, 1), (16, 257)):
        samples = np.where(TEXT[:, :, None], (10, 20, 120), ground) * factor
        transparent = chunk(b"tRNS", struct.pack(">3H", *(factor * level for level in ground)))
        expected = np.where(TEXT[:, :, None], (10, 20, 120), 255)
        yield read(f"png rgb {bits} tRNS", png(samples, bits, 2, before=transparent), expected)
    near_rgb = np.where(TEXT[:, :, None], 0, (51401, 56540, 61680))
    transparent = chunk(b"tRNS", struct.pack(">3H", 51400, 56540, 61680))
    data = png(near_rgb, 16, 2, before=transparent)
    yield read("png rgb 16 with a colour near the transparent one", data, full_range(near_rgb, 16), 1)
    yield from _transparent_palettes()


def _transparent_palettes() -> Iterator[File]:
    colours = np.array([(30, 0, 60), (200, 210, 220), (90, 20, 30), (0, 0, 0)], np.uint8)
    indices = np.where(TEXT, 0, 1)
    indices[28:] = 2
    alpha = np.array([255, 0, 128, 255], np.uint8)
    expected = over(255, colours[indices], alpha[indices])
    for bits in (2, 4, 8):
        before = palette_chunk(colours) + chunk(b"tRNS", alpha.tobytes())
        yield read(f"png palette {bits} tRNS", png(indices, bits, 3, before=before), expected, 1)
    before = palette_chunk(colours[:2]) + chunk(b"tRNS", b"\xff\0")
    shown = np.where(TEXT[:, :, None], colours[0], 255)
    yield read("png palette 1 tRNS", png(np.where(TEXT, 0, 1), 1, 3, before=before), shown)
    before = palette_chunk(colours) + chunk(b"tRNS", b"\xff")  # shorter than the palette: the others are opaque
    yield read("png palette tRNS of one entry", png(indices, 8, 3, before=before), colours[indices])


def _shown(levels: np.ndarray, gamma: float) -> np.ndarray:
    """As a browser shows them: level ** (1 / (gamma * 2.2))."""
    return 255 * (levels / 255.0) ** (1 / (gamma * 2.2))


def _gamma(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(100_000 * gamma)))


def _gammas() -> Iterator[File]:
    yield read("png gAMA 1/2.2", png(RGB, 8, 2, before=_gamma(0.45455)), RGB, 1)
    yield read("png gAMA 1.0 rgb", png(RGB, 8, 2, before=_gamma(1.0)), _shown(RGB, 1.0), 3)
    yield read("png gAMA 0.35 grey", png(GREY, 8, 0, before=_gamma(0.35)), _shown(GREY, 0.35), 3)
    yield read("png gAMA 1.0 grey 16", png(DEEP, 16, 0, before=_gamma(1.0)), _shown(DEEP / 257, 1.0), 3)
    before = _gamma(0.7) + palette_chunk(PALETTE)
    yield read("png gAMA 0.7 palette", png(INDICES, 8, 3, before=before), _shown(PALETTE[INDICES], 0.7), 3)
    data = png(_RGBA, 8, 6, before=_gamma(1.0))
    yield read("png gAMA 1.0 rgba", data, _shown(RGB, 1.0), 3)
    yield read("png gAMA with sRGB", png(RGB, 8, 2, before=chunk(b"sRGB", b"\0") + _gamma(1.0)), RGB)
    yield read("png gAMA of 0", png(RGB, 8, 2, before=_gamma(0)), RGB)
    yield read("png gAMA cut off", png(RGB, 8, 2, before=chunk(b"gAMA", b"\0\0")), RGB)


def _chunks() -> Iterator[File]:
    large = b"text " * 420_000  # 2 MiB
    for kind in (b"tEXt", b"zTXt", b"iTXt", b"iTXz"):
        yield read(f"png {kind.decode()} of 2 MiB", png(RGB, 8, 2, before=text_chunk(kind, "Comment", large)), RGB)
    yield read(
        "png zTXt of 2 MiB after the pixels", png(RGB, 8, 2, after=text_chunk(b"zTXt", "Comment", large)), RGB
    )
    many = text_chunk(b"zTXt", "Comment", bytes(200_000)) * 500
    yield read("png 500 zTXt of 100 MB in all", png(RGB, 8, 2, before=many), RGB)
    yield read("png 3000 tEXt", png(RGB, 8, 2, before=text_chunk(b"tEXt", "Comment", b"word") * 3000), RGB)
    damaged = {
        "zTXt not compressed": chunk(b"zTXt", b"a\0\0not compressed"),
        "zTXt of an unknown method": chunk(b"zTXt", b"a\0\7" + zlib.compress(b"text")),
        "zTXt empty": chunk(b"zTXt", b""),
        "tEXt without key": chunk(b"tEXt", b"\0text"),
        "iTXt cut off": chunk(b"iTXt", b"key\0\1"),
        "iTXt not UTF-8": chunk(b"iTXt", b"key\0\0\0\0\0\xff\xfe\xff"),
        "iCCP not compressed": chunk(b"iCCP", b"name\0\0not compressed"),
        "eXIf cut off": chunk(b"eXIf", b"MM\0"),
        "pHYs too short": chunk(b"pHYs", b"\0"),
        "unknown ancillary chunk": chunk(b"teSt", b"anything"),
        "tIME, sBIT, bKGD and pHYs": chunk(b"tIME", bytes(7))
        + chunk(b"sBIT", b"\x05\x06\x05")
        + chunk(b"bKGD", bytes(6))
        + chunk(b"pHYs", struct.pack(">IIB", 3000, 1000, 1)),
        "tEXt with a wrong checksum": chunk(b"tEXt", b"Comment\0text", damaged=True),
        "unknown chunk with a wrong checksum": chunk(b"teSt", b"anything", damaged=True),
    }
    for name, found in damaged.items():
        yield read(f"png {name}", png(RGB, 8, 2, before=found), RGB)
    yield read(
        "png tEXt with a wrong checksum after the pixels",
        png(RGB, 8, 2, after=damaged["tEXt with a wrong checksum"]),
        RGB,
    )
    yield read("png without IEND", png(RGB, 8, 2, end=b""), RGB)
    yield read("png before garbage", png(RGB, 8, 2) + b"garbage" * 50, RGB)
    yield read("png before another png", png(RGB, 8, 2) + png(GREY, 8, 0), RGB)
    ihdr, idat, end = chunk(b"IHDR", _IHDR), chunk(b"IDAT", _IDAT), chunk(b"IEND", b"")
    start = b"\x89PNG\r\n\x1a\n"
    wrong = {
        "IHDR": start + chunk(b"IHDR", _IHDR, damaged=True) + idat + end,
        "IDAT": start + ihdr + chunk(b"IDAT", _IDAT, damaged=True) + end,
        "a later IDAT": start + ihdr + chunk(b"IDAT", _IDAT[:50]) + chunk(b"IDAT", _IDAT[50:], damaged=True) + end,
        "PLTE": png(INDICES, 8, 3, before=chunk(b"PLTE", PALETTE.tobytes(), damaged=True)),
    }
    for name, data in wrong.items():
        yield refused(f"png wrong checksum of {name}", data, "undecodable_image")
