"""Damaged pictures: small valid files of every accepted format, and any number of seeded mutations of them.

The files of tests/corpus are mutated too.

for data in mutants(seed=0, inputs=50_000):
    probe(data, ...).decode()
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from tests.app.http.test_bad_input import chunk, hollow_png
from tests.corpus.files import files as corpus_files

MOST_BYTES = 100_000  # of one input; limits the time that a decoder needs
_LARGE = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]
_INFLATES = zlib.compress(bytes(50_000_000), 9)  # 50 kB compressed
_EXIF = b"Exif\0\0II*\0\x08\0\0\0"


def saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def seeds() -> dict[str, bytes]:
    """Files of every format, mode and compression that the service decodes, and several that it must refuse."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {
        "png": saved(rgb, "PNG", exif=exif),
        "png palette": saved(rgb.convert("P"), "PNG", transparency=3),
        "png grey alpha": saved(rgb.convert("LA"), "PNG"),
        "png 16 bits": saved(Image.new("I;16", (9, 9), 900), "PNG"),
        "jpeg": saved(rgb, "JPEG", exif=exif),
        "jpeg progressive": saved(rgb, "JPEG", progressive=True),
        "jpeg cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "webp": saved(rgb, "WEBP", exif=exif),
        "webp lossless alpha": saved(rgb.convert("RGBA"), "WEBP", lossless=True),
        "bmp": saved(rgb, "BMP"),
        "bmp palette": saved(rgb.convert("P"), "BMP"),
        "gif": saved(rgb.convert("P"), "GIF", transparency=1),
        "gif of frames": saved(rgb, "GIF", save_all=True, append_images=[rgb.rotate(180)]),
        "png of frames": saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)]),
        "webp of frames": saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)]),
        "tiff of frames": saved(rgb, "TIFF", save_all=True, append_images=[rgb.rotate(180)]),
    }
    for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        found[f"tiff {name}"] = saved(rgb, "TIFF", compression=name, exif=exif)
    for name in ("group3", "group4"):
        found[f"tiff {name}"] = saved(rgb.convert("1"), "TIFF", compression=name)
    return found | _bombs(rgb)


def _bombs(rgb: Image.Image) -> dict[str, bytes]:
    """Small files that claim or expand to much: pixels, compressed texts and profiles, endless directories."""
    start, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 12, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(61 * 12)))
    loop = _EXIF + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)  # a directory that contains itself
    many = _EXIF + struct.pack("<H", 4000) + struct.pack("<HHII", 0x0112, 2, 0xFFFFFF0, 8) * 4000
    jpeg, png = saved(rgb, "JPEG"), saved(rgb, "PNG")
    tiff = struct.pack("<2sHIH", b"II", 42, 8, 2) + struct.pack("<HHII", 256, 4, 0xFFFFFFF, 8) * 2
    return {
        "bomb of pixels": hollow_png(60_000, 60_000),
        "bomb in the pixels": start + header + chunk(b"IDAT", _INFLATES) + end,
        "bomb in a text": start + header + chunk(b"zTXt", b"a\0\0" + _INFLATES) + pixels + end,
        "bomb in a profile": start + header + chunk(b"iCCP", b"a\0\0" + _INFLATES) + pixels + end,
        "exif that holds itself": saved(rgb, "JPEG", exif=loop),
        "exif of many": saved(rgb, "JPEG", exif=many[:65_000]),
        "exif of many in a png": start + header + chunk(b"eXIf", many[6:]) + pixels + end,
        "tiff that counts too far": tiff + bytes(100),
        "tiff that holds itself": saved(rgb, "TIFF")[:-4] + struct.pack("<I", 8),
        "gif of a large screen": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0xF7, 0, 0) + bytes(768) + b",",
        "png before a zip": png + b"PK\x03\x04" + bytes(40),
        "jpeg before a png": jpeg + png,
        "pdf in a jpeg": jpeg[:2] + b"\xff\xfe\x00\x0a%PDF-1.7" + jpeg[2:],
        "page in a gif": saved(rgb.convert("P"), "GIF", comment=b"<script>alert(1)</script>"),
    }


def mutants(*, seed: int, inputs: int) -> Iterator[bytes]:
    """The valid files, then files with one to four random changes. The same seed gives the same files."""
    chance = random.Random(seed)
    valid = list(seeds().values())
    yield from valid[:inputs]
    files = valid + [file.data for file in corpus_files().values() if file.check or file.rgb is not None]
    for _ in range(inputs - len(valid)):
        data = bytearray(chance.choice(files))
        for _ in range(chance.randint(1, 4)):
            chance.choice(_CHANGES)(chance, data, files)
        if chance.random() < 0.8:
            _mend_png(data)
        yield bytes(data[:MOST_BYTES])


def _place(chance: random.Random, data: bytearray) -> int:
    """A random position; half of the time among the first 200 bytes, where the sizes and counts are."""
    return chance.randrange(max(1, min(len(data), 200) if chance.random() < 0.5 else len(data)))


def _flip(chance: random.Random, data: bytearray, files: list[bytes]) -> None:
    for _ in range(chance.randint(1, 8)):
        if data:
            data[_place(chance, data)] = chance.randrange(256)


def _number(chance: random.Random, data: bytearray, files: list[bytes]) -> None:
    form = chance.choice("BHI")
    limit = 256 ** struct.calcsize(form) - 1
    at = _place(chance, data)
    number = struct.pack(chance.choice("<>") + form, min(limit, chance.choice(_LARGE)))
    data[at : at + len(number)] = number


def _cut(chance: random.Random, data: bytearray, files: list[bytes]) -> None:
    del data[_place(chance, data) :]


def _remove(chance: random.Random, data: bytearray, files: list[bytes]) -> None:
    at = _place(chance, data)
    del data[at : at + chance.randint(1, 64)]


def _repeat(chance: random.Random, data: bytearray, files: list[bytes]) -> None:
    at = _place(chance, data)
    data[at:at] = data[at : at + chance.randint(1, 64)] * chance.choice([1, 2, 100])


def _graft(chance: random.Random, data: bytearray, files: list[bytes]) -> None:
    other = chance.choice(files)
    start = chance.randrange(len(other))
    at = _place(chance, data)
    data[at : at + chance.randint(0, 64)] = other[start : start + chance.randint(1, 2000)]


_CHANGES: tuple[Callable[[random.Random, bytearray, list[bytes]], None], ...] = (
    _flip,
    _flip,
    _number,
    _number,
    _cut,
    _remove,
    _repeat,
    _graft,
)


def _mend_png(data: bytearray) -> None:
    """Correct the checksums, so that the decoder parses a damaged chunk instead of refusing it."""
    at = 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            return
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
