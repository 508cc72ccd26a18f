"""Helpers of `bulk` and `upscale` for the files that go in."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from app.errors import StartupError

T = TypeVar("T")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last may be shorter; as `itertools.batched` of Python 3.12."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch


def claim(targets: dict[T, T], target: T, source: T) -> None:
    """Note the source of a target. Raises StartupError if another source has the same target."""
    if target in targets:
        raise StartupError(f"{targets[target]} and {source} would both become {target}; process them separately.")
    targets[target] = source
