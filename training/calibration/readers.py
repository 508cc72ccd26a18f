"""Recognisers on every core: a pool of processes, each of which opens a recogniser once.

with shared_readers(["rapidocr-v6", "tesseract"]) as readers:
    readers["tesseract"].for_script("chinese").read(crops)
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import chain
from multiprocessing import get_context

import numpy as np

from model_store.pixels import Rgb
from training.data.parallel import end_with_parent
from training.errors import ConfigError
from training.ocr import ConfidentReader, Reading, Tesseract, open_reader

READER_NAMES = {"rapidocr-v6": "PP-OCRv6", "rapidocr-v4": "PP-OCRv4", "tesseract": "Tesseract"}  # in charts


class SharedReader:
    """A `ConfidentReader` that distributes crops over the processes of a pool."""

    def __init__(self, name: str, script: str, pool: ProcessPoolExecutor) -> None:
        self.name = name
        self.version = _opened(name, script).version
        self._script = script
        self._pool = pool

    def for_script(self, script: str) -> SharedReader:
        return SharedReader(self.name, script, self._pool)

    def read(self, crops: Sequence[Rgb]) -> list[str]:
        """One text for each crop, uint8 (H, W, 3), in order."""
        return [reading.text for reading in self.read_with_confidence(crops)]

    def read_with_confidence(self, crops: Sequence[Rgb]) -> list[Reading]:
        """One reading for each crop, uint8 (H, W, 3), in order."""
        parts = np.array_split(np.arange(len(crops)), os.cpu_count() or 1)
        shares = [[crops[place] for place in part] for part in parts if len(part)]
        return list(chain.from_iterable(self._pool.map(partial(_read, self.name, self._script), shares)))


@contextmanager
def shared_readers(names: Sequence[str], scripts: Sequence[str]) -> Iterator[dict[str, SharedReader]]:
    """Readers by name, in order. Raises ConfigError for an unknown name, MissingExtra for a missing package."""
    for name in names:
        for script in scripts:
            _opened(name, script)
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        yield {name: SharedReader(name, "latin", pool) for name in names}


def is_read(text: str, label: str) -> bool:
    """True if reading and label have the same letters and digits, of any script, apart from case."""
    return _letters(text) == _letters(label)


def _letters(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())


def _read(name: str, script: str, crops: list[Rgb]) -> list[Reading]:
    return _opened(name, script).read_with_confidence(crops)


@lru_cache
def _opened(name: str, script: str) -> ConfidentReader:
    """PP-OCR reads every script here with one model; Tesseract needs one for each language."""
    if name == Tesseract.name and script == "chinese":
        return Tesseract("chi_sim")
    if script != "latin":
        return _opened(name, "latin")
    reader = open_reader(name)
    if not isinstance(reader, ConfidentReader):
        raise ConfigError(f"the recogniser {name!r} gives no confidence; choose among {', '.join(READER_NAMES)}")
    return reader
