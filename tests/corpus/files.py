"""All files of the corpus."""

from functools import lru_cache

from tests.corpus import avif, bitmaps, colour, damaged, frames, jpeg, orientation, png, tiff, transparency
from tests.corpus.drawing import File

_TABLES = (png, jpeg, avif, tiff, bitmaps, orientation, colour, transparency, frames, damaged)


@lru_cache(maxsize=1)
def files() -> dict[str, File]:
    """By name. The names of two files never differ in their case or punctuation alone."""
    every = [file for table in _TABLES for file in table.files()]
    found = {file.name: file for file in every}
    assert len(found) == len(every), "two files have the same name"
    return found
