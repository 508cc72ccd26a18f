"""Damaged files, files of other kinds, and files that declare impossible or enormous sizes."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tests.corpus.bitmap_writers import bmp, bmp_rows, gif, gif_codes, gif_frame
from tests.corpus.drawing import GREY, INDICES, PALETTE, RGB, SMOOTH, File, refused, saved
from tests.corpus.tiff_writer import plain_tiff, tags_of, tiff
from tests.corpus.writers import chunk, extended, packed, png, png_rows, riff

_NOISE = np.random.default_rng(3).integers(0, 256, RGB.shape, np.uint8)
_START = b"\x89PNG\r\n\x1a\n"
_END = chunk(b"IEND", b"")


def files() -> Iterator[File]:
    yield from _cut_off()
    yield from _png_data()
    yield from _tiff_data()
    yield from _other_data()
    yield from _scans()
    yield from _sizes()
    yield from _other_kinds()


def _bad(name: str, data: bytes) -> File:
    return refused(name, data, "undecodable_image")


def _cut_off() -> Iterator[File]:
    whole = {
        "png": png(RGB, 8, 2),
        "png interlaced": png(RGB, 8, 2, interlaced=True),
        "jpeg": saved(RGB, "JPEG", quality=95),
        "jpeg progressive": saved(RGB, "JPEG", quality=95, progressive=True),
        "webp lossless": saved(RGB, "WEBP", lossless=True),
        "webp lossy": saved(RGB, "WEBP", quality=95),
        "bmp": bmp(bmp_rows(RGB, 8), GREY.shape, 24),
        "gif": gif(gif_frame(INDICES), size=GREY.shape, palette=PALETTE),
        "tiff lzw": saved(RGB, "TIFF", compression="tiff_lzw"),
        "tiff with directory first": _directory_first(),
        "tiff": plain_tiff(RGB, 8, 2),
    }
    for name, data in whole.items():
        yield _bad(f"{name} cut off at half", data[: len(data) // 2])
        yield _bad(f"{name} cut off after 30 bytes", data[:30])
    for name in ("png", "jpeg", "bmp", "webp lossless"):
        yield _bad(f"{name} cut off near its end", whole[name][:-40])


def _directory_first() -> bytes:
    """The pixels lie at the end, so that half of the file has the whole directory."""
    tags = tags_of(RGB, 8, 2)
    del tags[258]
    numbers = {**tags, 258: 8, 273: 8 + 2 + 12 * 9 + 4, 279: RGB.size}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(numbers.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(numbers)) + entries + bytes(4) + packed(RGB, 8)


def _png_data() -> Iterator[File]:
    """Damage below right checksums of the chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 48, 32, 8, 2, 0, 0, 0))
    rows = png_rows(RGB, 8)
    deflated = zlib.compress(rows)
    stored = zlib.compress(rows, 0)
    broken = bytearray(deflated)
    broken[40:60] = b"\xff" * 20
    wrong_sum = stored[:-4] + bytes(4)
    flipped = stored[:500] + bytes([stored[500] ^ 255]) + stored[501:]
    found = {
        "flipped bytes": bytes(broken),
        "a flipped byte that only Adler-32 notices": flipped,
        "a wrong Adler-32": wrong_sum,
        "missing rows": zlib.compress(rows[: len(rows) // 2]),
        "a row's filter of 9": zlib.compress(b"\x09" + rows[1:]),
        "no zlib header": b"\0\0" + deflated[2:],
        "nothing": b"",
    }
    for name, data in found.items():
        yield _bad(f"png idat of {name}", _START + header + chunk(b"IDAT", data) + _END)
    yield _bad("png without idat", _START + header + _END)
    yield _bad("png without palette", png(INDICES, 8, 3))
    yield _bad("png without header", _START + chunk(b"IDAT", deflated) + _END)
    for name, fields in {
        "depth of 3": (48, 32, 3, 0, 0, 0, 0),
        "colour type 5": (48, 32, 8, 5, 0, 0, 0),
        "rgb of 4 bits": (48, 32, 4, 2, 0, 0, 0),
    }.items():
        data = _START + chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + chunk(b"IDAT", deflated) + _END
        yield refused(f"png {name}", data, "undecodable_image", "unsupported_format")


def _tiff_data() -> Iterator[File]:
    noisy = packed(_NOISE, 8)
    deflated = bytearray(zlib.compress(packed(RGB, 8)))
    deflated[30:60] = b"\xff" * 30
    yield _bad("tiff deflate with flipped bytes", tiff((tags_of(RGB, 8, 2, t259=8), [bytes(deflated)])))
    yield _bad("tiff deflate cut off", tiff((tags_of(RGB, 8, 2, t259=8), [zlib.compress(noisy)[:1000]])))
    bits = np.random.default_rng(4).integers(0, 2, GREY.shape).astype(bool)
    for name, pixels, option in (
        ("lzw", _NOISE, "tiff_lzw"),
        ("lzma", RGB, "lzma"),
        ("g4", bits, "group4"),
        ("g3", bits, "group3"),
    ):
        data = saved(pixels, "TIFF", compression=option)
        at, length = _strip(data)
        middle = at + length // 2
        for name_of, damage in {"zeros": b"\0" * 24, "ones": b"\xff" * 24}.items():
            if (name, name_of) in {("g4", "ones"), ("g3", "ones"), ("g3", "zeros"), ("lzw", "zeros")}:
                continue  # valid codes of other pixels
            damaged = data[:middle] + damage + data[middle + 24 :]
            yield _bad(f"tiff {name} overwritten with {name_of}", damaged)
    tags, strips = tags_of(RGB, 8, 2), [packed(RGB, 8)]
    yield _bad("tiff strip shorter than its rows", tiff((tags, [strips[0][:1000]])))
    data = plain_tiff(RGB, 8, 2)
    yield _bad("tiff whose directory lies behind its end", data[:4] + b"\xff\xff\xff\x7f" + data[8:])
    many = plain_tiff(RGB, 8, 2, t277=39_427)
    yield refused("tiff of 39427 samples a pixel", many, "undecodable_image", "unsupported_format")
    yield _bad("tiff without directory", b"II*\0\0\0\0\0" + bytes(100))
    yield _bad("tiff header alone", b"II*\0\x08\0\0\0")


def _strip(tiff_file: bytes) -> tuple[int, int]:
    """Position and length of the first strip of a little-endian TIFF."""
    (at,) = struct.unpack_from("<I", tiff_file, 4)
    found = {}
    for i in range(struct.unpack_from("<H", tiff_file, at)[0]):
        tag, kind, _, value = struct.unpack_from("<HHII", tiff_file, at + 2 + 12 * i)
        found[tag] = value & 0xFFFF if kind == 3 else value
    return found[273], found[279]


def _other_data() -> Iterator[File]:
    codes = bytearray(gif_codes(INDICES))
    codes[200:230] = b"\xff" * 30  # codes that the table does not have yet
    body = b"".join(bytes([len(codes[at : at + 255])]) + codes[at : at + 255] for at in range(0, len(codes), 255))
    whole = gif_frame(INDICES)
    start = whole[: whole.index(b"\x08", 9) + 1]
    yield _bad("gif with codes that do not exist", gif(start + body + b"\0", size=GREY.shape, palette=PALETTE))
    yield _bad("gif without frame", gif(size=GREY.shape, palette=PALETTE))
    yield _bad("gif header alone", b"GIF89a")
    lossless = saved(_NOISE, "WEBP", lossless=True)
    broken = lossless[:26] + b"\xff" * 60 + lossless[86:]
    yield _bad("webp lossless with overwritten codes", broken)
    yield _bad("webp without bitstream", riff((b"JUNK", b"anything")))
    yield _bad("webp lossy with a wrong start code", _changed(saved(RGB, "WEBP"), 23, b"\0\0\0"))
    yield _bad("webp canvas larger than its frame", extended(saved(RGB, "WEBP"), size=(64, 96), exif=b"Exif\0\0"))
    data = bmp(bmp_rows(RGB, 8), GREY.shape, 24)
    yield _bad("bmp of 3 bits", _changed(data, 28, b"\x03\0"))
    yield _bad("bmp pixels behind its end", _changed(data, 10, b"\xff\xff\xff\x7f"))
    yield refused(
        "bmp compression 9", _changed(data, 30, b"\x09\0\0\0"), "undecodable_image", "unsupported_format"
    )


def _changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _scans() -> Iterator[File]:
    """Damage that only libjpeg's warnings tell; any pixels are right, too."""
    data = saved(SMOOTH, "JPEG", quality=95)
    at = data.index(b"\xff\xda") + 40
    for name, damage in {"zeros": bytes(30), "ones": b"\xff\x00" * 15, "an end mark": b"\xff\xd9"}.items():
        file = _bad(f"jpeg scan overwritten with {name}", _changed(data, at, damage))
        yield replace(file, rgb=SMOOTH, tolerance=255)
    yield _bad("jpeg without quantisation", data.replace(b"\xff\xdb", b"\xff\xe9"))
    yield _bad("jpeg without scan", data[: data.index(b"\xff\xda")])
    yield _bad("jpeg header alone", data[:20])


def _sizes() -> Iterator[File]:
    for name, (width, height) in {"0 x 32": (0, 32), "48 x 0": (48, 0), "0 x 0": (0, 0)}.items():
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        data = _START + header + chunk(b"IDAT", zlib.compress(png_rows(RGB, 8))) + _END
        yield refused(f"png of {name}", data, "undecodable_image", "image_too_small")
    jpeg, picture = saved(RGB, "JPEG"), bmp(bmp_rows(RGB, 8), GREY.shape, 24)
    sof = jpeg.index(b"\xff\xc0") + 5
    webp = saved(RGB, "WEBP", lossless=True)
    animation = gif(gif_frame(INDICES), size=(65_535, 65_535), palette=PALETTE)
    tags = tags_of(RGB, 8, 2) | {256: 100_000, 257: 100_000}
    enormous = {
        "png": _START
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
        + _END,
        "png of 2 ** 31 - 1": _START
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 1, 0, 0, 0, 0))
        + _END,
        "jpeg": _changed(jpeg, sof, struct.pack(">HH", 65_500, 65_500)),
        "bmp": _changed(picture, 18, struct.pack("<ii", 60_000, 60_000)),
        "gif": animation,
        "tiff": tiff((tags, [packed(RGB, 8)])),
        "webp": _changed(webp, 21, struct.pack("<I", 16_000 | 16_000 << 14)[:3]),
    }
    for name, data in enormous.items():
        more = ("undecodable_image",) if "2 **" in name else ()  # larger than Pillow counts
        yield refused(f"enormous {name}", data, "too_many_pixels", *more)
    wide = png(np.zeros((2100, 2000), np.uint8), 1, 0)
    yield refused("png of 4.2 million pixels", wide, "too_many_pixels")
    yield refused("jpeg of 0 x 0", _changed(jpeg, sof, bytes(4)), "undecodable_image", "image_too_small")
    yield refused("bmp of 0 x 0", _changed(picture, 18, bytes(8)), "undecodable_image", "image_too_small")


def _other_kinds() -> Iterator[File]:
    yield refused("empty", b"", "empty_body")
    yield _bad("text", b"This is a text and no picture.")
    yield _bad("one byte", b"\x89")
    yield _bad("zeros", bytes(1000))
    yield _bad("html", b"<!doctype html><html><body>404</body></html>")
    yield _bad("json", b'{"image": "data:image/png;base64,"}')
    known = {
        "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "SVG ": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "PSD": b"8BPS\0\1" + bytes(20),
        "JPEG XL": b"\xff\x0a\xfa\x1f" + bytes(20),
        "JPEG XL ": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20),
        "JPEG 2000 ": b"\xff\x4f\xff\x51" + bytes(40),
        "ICO": b"\0\0\1\0\1\0\x10\x10" + bytes(20),
        "PNM": b"P6\n9 9\n255\n" + bytes(243),
        "OpenEXR": b"v/1\1\2\0\0\0" + bytes(20),
        "JPEG XR": b"II\xbc\1\x20\0\0\0" + bytes(40),
    }
    for name, data in known.items():
        says = "PDF.*(render|pdftoppm)" if name == "PDF" else name.strip()
        number = " (second form)" if name.endswith(" ") else ""
        yield refused(f"{name.strip()}{number}", data, "unsupported_format", says=says)
    for name, brand in {"HEIC": b"heic", "AVIF": b"avif"}.items():
        data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand + b"mif1"
        yield refused(f"{name} header alone", data, "unsupported_format", "undecodable_image")
