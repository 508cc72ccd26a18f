"""TIFF: every depth, both byte orders and photometrics, palettes, alpha, planes, tiles, strips, compressions."""

import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tests.corpus.drawing import (
    DEEP,
    DEEP_RGB,
    GREY,
    INDICES,
    PALETTE,
    RGB,
    SMOOTH,
    TEXT,
    File,
    fewer,
    full_range,
    over,
    read,
    refused,
    saved,
)
from tests.corpus.tiff_writer import packbits, plain_tiff, tags_of, tiff
from tests.corpus.writers import packed

_BITS = TEXT.astype(np.uint8)


def files() -> Iterator[File]:
    yield from _greys()
    yield from _colours()
    yield from _numbers()
    yield from _alphas()
    yield from _layouts()
    yield from _compressions()


def _greys() -> Iterator[File]:
    for bits in (1, 2, 4, 8, 12, 16):
        levels = (DEEP >> 4) if bits == 12 else DEEP if bits == 16 else fewer(bits)
        shown = full_range(levels, bits)
        for order, name in (("<", "little"), (">", "big")):
            tolerance = 1 if bits > 8 else 0
            plain = plain_tiff(levels, bits, 1, order=order)
            inverted = plain_tiff(2**bits - 1 - levels.astype(np.int64), bits, 0, order=order)
            for data, more in ((plain, ""), (inverted, " white is 0")):
                file = read(f"tiff grey {bits}{more} {name}-endian", data, shown, tolerance)
                # Pillow has 12 bits only in one of the four forms.
                yield (
                    replace(file, codes=("unsupported_format",)) if bits == 12 and (more or order == ">") else file
                )


def _colours() -> Iterator[File]:
    for order, name in (("<", "little"), (">", "big")):
        yield read(f"tiff rgb 8 {name}-endian", plain_tiff(RGB, 8, 2, order=order), RGB)
        deep = plain_tiff(DEEP_RGB, 16, 2, order=order)
        yield read(f"tiff rgb 16 {name}-endian", deep, full_range(DEEP_RGB, 16), 1)
        for bits in (4, 8):
            colours = PALETTE[: 2**bits]
            table = (colours.T.astype(int) * 257).reshape(-1).tolist()
            indices = INDICES & 2**bits - 1
            data = plain_tiff(indices, bits, 3, order=order, t320=table)
            yield read(f"tiff palette {bits} {name}-endian", data, colours[indices])
    table = PALETTE.T.astype(int).reshape(-1).tolist()
    yield read("tiff palette 8 whose white is 255", plain_tiff(INDICES, 8, 3, t320=table), PALETTE[INDICES])
    red, green, blue = np.moveaxis(SMOOTH.astype(float), 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    ycbcr = np.rint(np.dstack([luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402])).astype(int)
    data = plain_tiff(ycbcr, 8, 6, t530=[1, 1])
    yield read("tiff ycbcr", data, SMOOTH, 3)


def _numbers() -> Iterator[File]:
    floats = (GREY / np.float32(255)).astype(np.float32)
    for order, name in (("<", "little"), (">", "big")):
        tags = tags_of(GREY, 32, 1, t339=3)
        data = tiff((tags, [floats.astype(f"{order}f4").tobytes()]), order=order)
        yield read(f"tiff float {name}-endian", data, GREY)
        deflated = zlib.compress(floats.astype(f"{order}f4").tobytes())
        data = tiff(({**tags, 259: 8}, [deflated]), order=order)
        yield read(f"tiff float deflate {name}-endian", data, GREY)
    tags = tags_of(GREY, 32, 1, t339=3)
    overshoot = floats * np.float32(1.2) - np.float32(0.1)
    data = tiff((tags, [overshoot.astype("<f4").tobytes()]))
    yield read("tiff float a little beyond 0 and 1", data, np.rint(255 * overshoot.clip(0, 1)), 1)
    inverted = tags_of(GREY, 32, 0, t339=3)
    yield read("tiff float white is 0", tiff((inverted, [(1 - floats).astype("<f4").tobytes()])), GREY, 1)
    for name, factor in {"0 to 255": 255, "0 to 2": 2, "nan": np.nan}.items():
        content = (floats * np.float32(factor)).astype("<f4").tobytes()
        yield refused(f"tiff float {name}", tiff((tags, [content])), "unsupported_format")
    for form, name in ((1, "unsigned"), (2, "signed")):
        data = plain_tiff(GREY.astype(np.uint32) << 16, 32, 1, t339=form)
        yield refused(f"tiff {name} integers of 32 bits", data, "unsupported_format")


def _alphas() -> Iterator[File]:
    alpha = np.where(TEXT, 255, 128).astype(np.uint8)
    black = np.where(TEXT, 255, 0).astype(np.uint8)
    expected = over(255, RGB, alpha)
    yield read("tiff rgba unassociated", plain_tiff(np.dstack([RGB, alpha]), 8, 2, t338=2), expected, 1)
    premultiplied = np.rint(RGB * (alpha[:, :, None] / 255))
    yield read("tiff rgba associated", plain_tiff(np.dstack([premultiplied, alpha]), 8, 2, t338=1), expected, 2)
    clear = np.dstack([np.zeros_like(RGB), black])
    shown = np.where(TEXT, 0, 255)
    yield read("tiff rgba black text", plain_tiff(clear, 8, 2, t338=2), shown)
    yield read("tiff rgba black text associated", plain_tiff(clear, 8, 2, t338=1), shown)
    grey_alpha = np.dstack([np.zeros_like(GREY), black])
    yield read("tiff grey alpha black text", plain_tiff(grey_alpha, 8, 1, t338=2), shown)
    yield read("tiff rgb and an unspecified sample", plain_tiff(np.dstack([RGB, alpha]), 8, 2, t338=0), RGB)
    deep = np.dstack([DEEP_RGB, np.full_like(DEEP, 65535)])
    yield read("tiff rgba 16", plain_tiff(deep, 16, 2, t338=2), full_range(DEEP_RGB, 16), 1)


def _layouts() -> Iterator[File]:
    planes = [packed(plane, 8) for plane in np.moveaxis(RGB, 2, 0)]
    yield read("tiff planar", tiff((tags_of(RGB, 8, 2, t284=2), planes)), RGB)
    planes = [packed(plane, 16, "<") for plane in np.moveaxis(DEEP_RGB, 2, 0)]
    file = read("tiff planar 16", tiff((tags_of(DEEP_RGB, 16, 2, t284=2), planes)), full_range(DEEP_RGB, 16), 1)
    yield replace(file, codes=("unsupported_format",), says="planes")
    planes = [zlib.compress(plane) for plane in planes]
    data = tiff((tags_of(DEEP_RGB, 16, 2, t284=2, t259=8), planes))
    yield read("tiff planar 16 deflate", data, full_range(DEEP_RGB, 16), 1)
    strips = [packed(RGB[at : at + 5], 8) for at in range(0, 32, 5)]
    yield read("tiff strips of 5 rows", tiff((tags_of(RGB, 8, 2, t278=5), strips)), RGB)
    yield read("tiff tiles", _tiled(RGB, 8, 2), RGB)
    yield read("tiff tiles of grey 16", _tiled(DEEP, 16, 1), full_range(DEEP, 16), 1)
    yield read("tiff tiles beyond the edge", _tiled(RGB[:27, :41], 8, 2), RGB[:27, :41])
    yield read("bigtiff little-endian", tiff((tags_of(RGB, 8, 2), [packed(RGB, 8)]), big=True), RGB)
    big = read("bigtiff big-endian", tiff((tags_of(RGB, 8, 2), [packed(RGB, 8)]), order=">", big=True), RGB)
    yield replace(big, codes=("unsupported_format",))
    rows = tags_of(RGB, 8, 2)
    del rows[278]
    yield read("tiff without rows per strip", tiff((rows, [packed(RGB, 8)])), RGB)


def _tiled(samples: np.ndarray, bits: int, photometric: int) -> bytes:
    """In tiles of 16 x 16."""
    padding = [(0, -samples.shape[0] % 16), (0, -samples.shape[1] % 16), (0, 0)][: samples.ndim]
    padded = np.pad(samples, padding)
    places = [(y, x) for y in range(0, padded.shape[0], 16) for x in range(0, padded.shape[1], 16)]
    tiles = [packed(padded[y : y + 16, x : x + 16], bits, "<") for y, x in places]
    tags = tags_of(samples, bits, photometric, t322=16, t323=16)
    del tags[278]
    return tiff((tags, tiles))


def _compressions() -> Iterator[File]:
    raw = packed(RGB, 8)
    yield read("tiff deflate of adobe", tiff((tags_of(RGB, 8, 2, t259=8), [zlib.compress(raw)])), RGB)
    yield read("tiff deflate of old", tiff((tags_of(RGB, 8, 2, t259=32946), [zlib.compress(raw)])), RGB)
    steps = np.concatenate([RGB[:, :1], np.diff(RGB.astype(int), axis=1) % 256], axis=1)
    data = tiff((tags_of(RGB, 8, 2, t259=8, t317=2), [zlib.compress(packed(steps, 8))]))
    yield read("tiff deflate with predictor", data, RGB)
    rows = b"".join(packbits(packed(row[None], 8)) for row in RGB)
    yield read("tiff packbits", tiff((tags_of(RGB, 8, 2, t259=32773), [rows])), RGB)
    for name in ("tiff_lzw", "lzma", "zstd"):
        yield read(f"tiff {name.removeprefix('tiff_')}", saved(RGB, "TIFF", compression=name), RGB)
    for name in ("group3", "group4", "tiff_ccitt", "tiff_lzw", "packbits"):
        yield read(f"tiff 1 bit {name.removeprefix('tiff_')}", saved(TEXT, "TIFF", compression=name), 255 * _BITS)
    yield read("tiff jpeg", saved(SMOOTH, "TIFF", compression="jpeg", quality=95), SMOOTH, 12)
    yield read(
        "tiff grey jpeg", saved(SMOOTH[:, :, 1], "TIFF", compression="jpeg", quality=100), SMOOTH[:, :, 1], 3
    )
    for name, number in {"webp": 50001, "jpeg 2000": 34712, "of 9999": 9999}.items():
        data = tiff((tags_of(RGB, 8, 2, t259=number), [raw]))
        yield refused(f"tiff compression {name}", data, "undecodable_image", "unsupported_format")
