"""BMP and GIF: every depth, masks, run lengths, row orders, palettes, interlacing and transparency."""

import struct
from collections.abc import Iterator

import numpy as np

from tests.corpus.bitmap_writers import bmp, bmp_rows, gif, gif_frame
from tests.corpus.drawing import GREY, INDICES, PALETTE, RGB, TEXT, File, read

_SIZE = GREY.shape
_BGR = RGB[:, :, ::-1]
_QUADS = {
    bits: np.hstack([PALETTE[: 2**bits, ::-1], np.zeros((2**bits, 1), np.uint8)]).tobytes() for bits in (1, 4, 8)
}


def files() -> Iterator[File]:
    yield from _bmps()
    yield from _gifs()


def _bmps() -> Iterator[File]:
    for bits in (1, 4, 8):
        indices = INDICES & 2**bits - 1
        data = bmp(bmp_rows(indices, bits), _SIZE, bits, palette=_QUADS[bits])
        yield read(f"bmp palette {bits}", data, PALETTE[indices])
    yield read("bmp 24", bmp(bmp_rows(_BGR, 8), _SIZE, 24), RGB)
    yield read("bmp 24 top-down", bmp(bmp_rows(_BGR, 8, top_down=True), _SIZE, 24, top_down=True), RGB)
    odd = RGB[:13, :11]
    yield read("bmp 24 of 11 x 13", bmp(bmp_rows(odd[:, :, ::-1], 8), odd.shape[:2], 24), odd)
    for name, depths in {"555": (5, 5, 5), "565": (5, 6, 5)}.items():
        levels = [RGB[:, :, i].astype(int) >> 8 - depth for i, depth in enumerate(depths)]
        words = levels[0] << depths[1] + 5 | levels[1] << 5 | levels[2]
        shown = np.dstack([255 * level / (2**depth - 1) for level, depth in zip(levels, depths, strict=True)])
        masks = (0x7C00, 0x3E0, 0x1F) if name == "555" else (0xF800, 0x7E0, 0x1F)
        data = bmp(bmp_rows(words, 16), _SIZE, 16, compression=3, masks=masks)
        yield read(f"bmp 16 with masks of {name}", data, np.rint(shown), 2)
        if name == "555":
            yield read("bmp 16", bmp(bmp_rows(words, 16), _SIZE, 16), np.rint(shown), 2)
    opaque, clear = np.full_like(GREY, 255), np.zeros_like(GREY)
    for name, fourth in {"0": clear, "255": opaque}.items():
        data = bmp(bmp_rows(np.dstack([_BGR, fourth]), 8), _SIZE, 32)
        yield read(f"bmp 32 whose fourth byte is {name}", data, RGB)
    masks = (0xFF0000, 0xFF00, 0xFF)
    data = bmp(bmp_rows(np.dstack([_BGR, clear]), 8), _SIZE, 32, compression=3, masks=masks)
    yield read("bmp 32 with masks", data, RGB)
    with_alpha = (*masks, 0xFF000000)
    for name, fourth in {"0": clear, "255": opaque}.items():
        data = bmp(bmp_rows(np.dstack([_BGR, fourth]), 8), _SIZE, 32, compression=3, masks=with_alpha)
        yield read(f"bmp 32 alpha {name} everywhere", data, RGB)
    alpha = np.where(TEXT, 255, 0).astype(np.uint8)
    black = np.dstack([np.zeros_like(RGB), alpha])
    data = bmp(bmp_rows(black, 8), _SIZE, 32, compression=3, masks=with_alpha)
    yield read("bmp 32 black text on alpha", data, np.where(TEXT, 0, 255))
    yield read("bmp rle 8", bmp(_run_lengths(GREY), _SIZE, 8, palette=_greys(), compression=1), GREY)
    core = struct.pack("<IHHHH", 12, 48, 32, 1, 24)
    data = b"BM" + struct.pack("<IHHI", 26 + RGB.size, 0, 0, 26) + core + bmp_rows(_BGR, 8)
    yield read("bmp of os/2", data, RGB)


def _greys() -> bytes:
    return b"".join(bytes([level, level, level, 0]) for level in range(256))


def _run_lengths(levels: np.ndarray) -> bytes:
    """RLE8: runs of equal levels; single levels in pairs as absolute runs of four."""
    data = b""
    for row in levels[::-1]:
        data += b"\0\x04" + row[:4].tobytes()  # four levels as they are
        at = 4
        while at < len(row):
            run = 1
            while at + run < len(row) and row[at + run] == row[at] and run < 255:
                run += 1
            data += bytes([run, row[at]])
            at += run
        data += b"\0\0"
    return data + b"\0\1"


def _gifs() -> Iterator[File]:
    shown = PALETTE[INDICES]
    yield read("gif", gif(gif_frame(INDICES), size=_SIZE, palette=PALETTE), shown)
    yield read("gif interlaced", gif(gif_frame(INDICES, interlaced=True), size=_SIZE, palette=PALETTE), shown)
    yield read("gif local palette", gif(gif_frame(INDICES, palette=PALETTE), size=_SIZE), shown)
    both = gif(gif_frame(INDICES, palette=PALETTE), size=_SIZE, palette=PALETTE[::-1])
    yield read("gif local palette before the global one", both, shown)
    small = INDICES[:, :] & 3
    yield read("gif palette of 4", gif(gif_frame(small), size=_SIZE, palette=PALETTE[:4]), PALETTE[small])
    indices = np.where(TEXT, 1, 0)
    colours = np.array([(255, 255, 255), (0, 0, 0), (200, 0, 0), (255, 255, 0)], np.uint8)
    data = gif(gif_frame(indices, transparent=0), size=_SIZE, palette=colours)
    yield read("gif black text on transparent", data, np.where(TEXT, 0, 255))
    dark = np.where(TEXT, 0, 1)
    data = gif(gif_frame(dark, transparent=1), size=_SIZE, palette=colours)
    yield read("gif white text on transparent", data, np.where(TEXT, 255, 0))
    unused = gif(gif_frame(indices, transparent=3), size=_SIZE, palette=colours)
    yield read("gif whose transparent colour is not used", unused, np.where(TEXT, 0, 255))
    comment = b"!\xfe\x07comment\0"
    yield read("gif comment", gif(comment, gif_frame(INDICES), size=_SIZE, palette=PALETTE), shown)
    yield read("gif before garbage", gif(gif_frame(INDICES), size=_SIZE, palette=PALETTE) + b"garbage" * 9, shown)
    yield read("gif without end mark", gif(gif_frame(INDICES), size=_SIZE, palette=PALETTE, end=b""), shown)
    old = gif(gif_frame(INDICES), size=_SIZE, palette=PALETTE).replace(b"GIF89a", b"GIF87a")
    yield read("gif of 1987", old, shown)
