"""Files of several pictures: pages and animations are refused; thumbnails, masks and gain maps are left out."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from tests.corpus.bitmap_writers import gif, gif_frame
from tests.corpus.drawing import GREY, INDICES, PALETTE, RGB, SMOOTH, TEXT, File, read, refused, saved
from tests.corpus.tiff_writer import tags_of, tiff
from tests.corpus.writers import chunk, mpo, packed, png, riff

_MAIN = (tags_of(RGB, 8, 2), [packed(RGB, 8)])
_HALF = np.ascontiguousarray(255 - RGB[::2, ::2])
_SIZE = GREY.shape


def files() -> Iterator[File]:
    yield from _animations()
    yield from _pages()
    yield from _phones()


def _frames(image_format: str, number: int, **options: Any) -> bytes:
    frames = [Image.fromarray(np.roll(RGB, 5 * i, axis=1)) for i in range(number)]
    return saved(RGB, image_format, save_all=True, append_images=frames[1:], duration=100, **options)


def _animations() -> Iterator[File]:
    two = gif(gif_frame(INDICES), gif_frame(INDICES[::-1]), size=_SIZE, palette=PALETTE, loops=True)
    yield refused("gif of two frames", two, "unsupported_format", says="frame")
    one = gif(gif_frame(INDICES), size=_SIZE, palette=PALETTE, loops=True)
    yield read("gif of one frame that loops", one, PALETTE[INDICES])
    yield refused("png of three frames", _frames("PNG", 3), "unsupported_format", says="frame")
    yield read("png animation of one frame", _animated_png(), RGB)
    yield refused("webp of two frames", _frames("WEBP", 2, lossless=True), "unsupported_format", says="frame")
    yield read("webp animation of one frame", _animated_webp(), RGB)


def _animated_png() -> bytes:
    control = chunk(b"acTL", struct.pack(">II", 1, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 48, 32, 0, 0, 1, 10, 0, 0))
    return png(RGB, 8, 2, before=control + frame)


def _animated_webp() -> bytes:
    still = saved(RGB, "WEBP", lossless=True)
    inner = still[12:]
    size = (47).to_bytes(3, "little") + (31).to_bytes(3, "little")
    frame = bytes(6) + size + (100).to_bytes(3, "little") + b"\2" + inner
    return riff((b"VP8X", b"\2\0\0\0" + size), (b"ANIM", bytes(6)), (b"ANMF", frame))


def _page(samples: np.ndarray, photometric: int, more: Mapping[str, Any]) -> tuple[dict[int, Any], list[bytes]]:
    bits = 1 if photometric == 4 else 8
    return tags_of(samples, bits, photometric, **more), [packed(samples, bits)]


def _pages() -> Iterator[File]:
    other = _page(255 - RGB, 2, {})
    thumbnail = _page(_HALF, 2, {"t254": 1})
    mask = _page(TEXT.astype(np.uint8), 4, {"t254": 4})
    second = _page(255 - RGB, 2, {"t254": 2, "t297": [1, 2]})
    first = _page(RGB, 2, {"t254": 2, "t297": [0, 2]})
    yield refused("tiff of two pages", tiff(_MAIN, other), "unsupported_format", says="pages|frames")
    yield refused("tiff of two numbered pages", tiff(first, second), "unsupported_format", says="pages|frames")
    yield refused("tiff of two pages and a thumbnail", tiff(_MAIN, thumbnail, other), "unsupported_format")
    pillows = saved(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())])
    yield refused("tiff of two pages by pillow", pillows, "unsupported_format")
    yield read("tiff thumbnail after its page", tiff(_MAIN, thumbnail), RGB)
    yield read("tiff thumbnail before its page", tiff(thumbnail, _MAIN), RGB)
    yield read("tiff thumbnail before its page big-endian", tiff(thumbnail, _MAIN, order=">"), RGB)
    yield read("tiff thumbnails around their page", tiff(thumbnail, _MAIN, thumbnail), RGB)
    yield read("tiff mask after its page", tiff(_MAIN, mask), RGB)
    yield read("tiff mask before its page", tiff(mask, _MAIN), RGB)
    old = _page(_HALF, 2, {"t255": 2})
    yield read("tiff thumbnail in the old way", tiff(_MAIN, old), RGB)
    yield read("tiff page that is number 1 of 1", tiff(_page(RGB, 2, {"t254": 2, "t297": [0, 1]})), RGB)
    turned = tags_of(np.rot90(RGB), 8, 2, t274=6), [packed(np.rot90(RGB), 8)]
    yield read("tiff turned page behind a thumbnail", tiff(thumbnail, turned), RGB)
    yield read("bigtiff thumbnail before its page", tiff(thumbnail, _MAIN, big=True), RGB)
    plain = tiff(_MAIN)
    (at,) = struct.unpack_from("<I", plain, 4)
    next_at = len(plain) - 4
    for name, place in {"itself": at, "zeros": 20 + next_at, "pixels": 1000, "its end": 10**6}.items():
        data = plain[:next_at] + struct.pack("<I", place) + bytes(64)
        yield read(f"tiff whose next directory is {name}", data, RGB)
    yield read("tiff of a thumbnail alone", tiff(_page(RGB, 2, {"t254": 1})), RGB)


def _phones() -> Iterator[File]:
    main = saved(SMOOTH, "JPEG", quality=95, subsampling=0)
    second = saved(255 - SMOOTH, "JPEG")
    small = saved(SMOOTH[::4, ::4, 1], "JPEG")
    yield read("mpo gain map", mpo(main, small, 0x000000), SMOOTH, 4)
    yield read("mpo thumbnail of VGA size", mpo(main, small, 0x010001), SMOOTH, 4)
    yield read("mpo thumbnail of full HD size", mpo(main, second, 0x010002), SMOOTH, 4)
    yield refused("mpo stereo pair", mpo(main, second, 0x020002), "unsupported_format")
    yield refused("mpo panorama", mpo(main, second, 0x020001), "unsupported_format")
    yield refused("mpo of several angles", mpo(main, second, 0x020003), "unsupported_format")
    cut = mpo(main, small, 0)
    yield read("mpo whose second picture is cut off", cut[: -len(small) // 2], SMOOTH, 4)
