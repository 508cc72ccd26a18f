"""TIFF and BigTIFF byte by byte: pages of any tags, in strips or tiles."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from tests.corpus.writers import Samples, packed, pieces

Tags = Mapping[int, Any]  # a number, numbers, or bytes
_LONG = {256, 257, 273, 278, 279, 322, 323, 324, 325, 254}
_BYTES = {700: 1, 34675: 7}


def tiff(*pages: tuple[Tags, Sequence[bytes]], order: str = "<", big: bool = False) -> bytes:
    """Pages of tags and strips; with tag 322, the strips are tiles. big: BigTIFF."""
    head = 16 if big else 8
    data = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42))
    data += struct.pack(f"{order}HHQ", 8, 0, 0) if big else bytes(4)
    link = 8 if big else 4  # the place of the next directory's offset
    for tags, strips in pages:
        places = []
        for strip in strips:
            places.append(len(data))
            data += strip + bytes(len(strip) % 2)
        tiled = 322 in tags
        own = {**tags, 324 if tiled else 273: places, 325 if tiled else 279: [len(strip) for strip in strips]}
        entries = []
        for tag, value in sorted(own.items()):
            kind, count, content = _tiff_value(tag, value, order)
            inline = 8 if big else 4
            if len(content) > inline:
                at = len(data)
                data += content + bytes(len(content) % 2)
                content = struct.pack(f"{order}{'Q' if big else 'I'}", at)
            entries.append(
                struct.pack(f"{order}HH{'Q' if big else 'I'}", tag, kind, count) + content.ljust(inline, b"\0")
            )
        struct.pack_into(f"{order}{'Q' if big else 'I'}", data, link, len(data))
        data += struct.pack(f"{order}{'Q' if big else 'H'}", len(entries)) + b"".join(entries)
        link = len(data)
        data += bytes(8 if big else 4)
    assert len(data) > head
    return bytes(data)


def _tiff_value(tag: int, value: Any, order: str) -> tuple[int, int, bytes]:
    if tag in _BYTES:
        return _BYTES[tag], len(value), value
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    kind, form = (4, "I") if tag in _LONG else (3, "H")
    return kind, len(numbers), struct.pack(f"{order}{len(numbers)}{form}", *numbers)


def tags_of(samples: Samples, bits: int, photometric: int, **more: Any) -> dict[int, Any]:
    """The tags of a page; more: as t317=2. A strip holds the whole picture unless t278 says otherwise."""
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    tags: dict[int, Any] = {256: samples.shape[1], 257: samples.shape[0], 258: [bits] * channels, 259: 1}
    tags |= {262: photometric, 277: channels, 278: samples.shape[0]}
    return tags | {int(name[1:]): value for name, value in more.items()}


def plain_tiff(samples: Samples, bits: int, photometric: int, *, order: str = "<", **more: Any) -> bytes:
    """One uncompressed strip."""
    return tiff((tags_of(samples, bits, photometric, **more), [packed(samples, bits, order)]), order=order)


def packbits(data: bytes) -> bytes:
    """Literal runs and, at the start, one repeated byte, so that both codes occur."""
    repeated = len(data) - len(data.lstrip(data[:1]))
    repeated = min(repeated, 128)
    start = bytes([257 - repeated]) + data[:1] if repeated > 1 else b""
    rest = data[repeated:] if start else data
    return start + b"".join(bytes([len(part) - 1]) + part for part in pieces(rest, 128))
