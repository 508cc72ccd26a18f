"""A guard against GIFs of a million tiny blocks, each of which Pillow reads on its own. Source: GIF89a, 1990."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from model_store.errors import UndecodablePicture

SIGNATURE = b"GIF8"
MAX_BLOCKS = 16_384  # and one for 128 bytes; encoders fill blocks of 255 bytes, and XMP has some of 60
_EXTENSION, _FRAME, _END = 0x21, 0x2C, 0x3B


def check(gif: bytes) -> None:
    """Raises UndecodablePicture for too many blocks before the second frame, where Pillow stops."""
    limit = MAX_BLOCKS + len(gif) // 128
    if sum(1 for _ in islice(_blocks(gif), limit)) == limit:
        raise UndecodablePicture(f"The GIF has more than {limit} blocks.")


def _blocks(gif: bytes) -> Iterator[int]:
    """The position behind each block, and behind each byte between them."""
    frames = 0
    with suppress(IndexError):  # cut off, as Pillow will find too
        at = 13 + _palette_bytes(gif[10])
        while frames < 2 and (kind := gif[at]) != _END:
            frames += kind == _FRAME
            at += {_FRAME: 11, _EXTENSION: 2}.get(kind, 1) + (_palette_bytes(gif[at + 9]) if kind == _FRAME else 0)
            while kind in (_FRAME, _EXTENSION) and (length := gif[at]):
                at += 1 + length
                yield at
            at += kind in (_FRAME, _EXTENSION)  # the empty block at the end
            yield at


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
